"""Decides about the trainings of a plan: which are finished, which would replace a finished one.

No finished training is trained again unless the user agrees. This is decided before anything is
made, and in a dry run too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hebae.base.errors import UserError
from hebae.base.text import counted, duration
from hebae.config.experiment import Word
from hebae.training.finished import (
    Decides,
    Finished,
    Store,
    key_of,
    read,
    same_question,
    unlike,
)
from hebae.training.plan import Instead, Plan, read_plan

SHOWN = 4  # the number of differences that a message names


class Asked(NamedTuple):
    """A training of a plan."""

    label: str
    """Folder below ``results/<experiment>``."""
    decides: Decides
    """What decides it, as far as is known when planning."""


class Decision(NamedTuple):
    """The decision about the trainings of a plan."""

    trained: list[str]
    """The labels of the trainings to run."""
    instead: dict[str, Instead]
    """Finished trainings to take instead of those asked for, by label."""
    said: list[str]
    """Lines for the user."""
    replaced: list[str]
    """For each finished training that is trained again, what differs; empty if nothing."""


def place_of(results: Path, label: str, store: Store, before: Plan) -> Finished | None:
    """The finished training that belongs in a place, even if its files are gone from there.

    A run whose weights were deleted is known from its record. A run whose job was killed while it
    put them back is known from the plan of that time.
    """
    if place := read(results / label):
        return place
    if record := read(results / label, whole=False):
        return store.get(record.key)
    if label in before.instead:
        return store.get(before.instead[label].key)
    return None


def decide(asked: Sequence[Asked], results: Path, word: Word, keep: bool) -> Decision:
    """Decide about the trainings of a plan.

    Args:
        asked: the trainings, each once.
        results: folder ``results/<experiment>``.
        word: what the user decided about finished trainings.
        keep: whether to put the trainings in their places into the store, because carrying out the
            plan deletes them there.

    Raises:
        UserError: if a finished training would be replaced although the user did not agree, or if
            nothing may be trained but something would have to be.
    """
    store, before = Store(results.parent), plan_before(results)
    labels = {each.label for each in asked}
    # from jobs that were killed, until their places are filled
    instead = {
        label: other
        for label, other in before.instead.items()
        if label not in labels and read(results / label) is None
    }
    everything = list(store.all()) if asked else []
    kept = _by_config(everything)
    trained: list[str] = []
    found = 0
    otherwise: list[tuple[Finished, list[str]]] = []
    missing: list[Asked] = []
    places: list[Finished] = []
    replaced: list[str] = []
    for label, decides in asked:
        place = place_of(results, label, store, before)
        places += [place] * (place is not None)
        alike = kept[_config(decides)] + ([place] if place else [])
        other = [] if place is None else unlike(place.decides, decides)
        if any(not unlike(finished.decides, decides) for finished in alike):
            found += 1
            if place is not None and not other and word is not Word.REPLACE:
                # the job may still find a difference that the plan does not know of
                instead[label] = Instead(place.key, agreed=word is Word.KEEP)
        elif word is Word.RESTORE:
            if any(same_question(each.decides, decides) for each in alike):
                found += 1
            else:
                missing.append(Asked(label, decides))
        elif place is None or word is Word.REPLACE:
            trained.append(label)
            replaced += ["; ".join(other)] * (place is not None)
        else:
            instead[label] = Instead(place.key, agreed=True)
            if not place.agreed(decides):
                otherwise.append((place, other))
    if missing:
        raise UserError(_missing(missing, found, results, everything))
    if otherwise and word is not Word.KEEP:
        raise UserError(_refusal(otherwise, results))
    for place in places if keep else ():
        store.keep(place)
    said = []
    if found:
        said.append(f"{counted(found, 'finished training')} found and used, not trained again.")
    if otherwise:
        reasons = "; ".join(_reasons(otherwise))
        said.append(f"{counted(len(otherwise), 'finished training')} kept as found: {reasons}.")
    return Decision(trained, instead, said, replaced)


def plan_before(results: Path) -> Plan:
    """The plan of the last call; an empty one if there is none, or if another version wrote it."""
    try:
        return read_plan(results / "plan.json")
    except (OSError, UserError):
        return Plan()


def _config(decides: Decides) -> str:
    return key_of(decides["config"])


def _by_config(finished: Iterable[Finished]) -> defaultdict[str, list[Finished]]:
    found = defaultdict(list)
    for each in finished:
        found[_config(each.decides)].append(each)
    return found


def _reasons(found: Sequence[tuple[Finished, Sequence[str]]]) -> list[str]:
    """The differences, the most frequent first; with their number if not in all trainings."""
    counts = Counter(reason for _, reasons in found for reason in reasons)
    lines = [
        reason + (f" ({n} of them)" if n < len(found) else "") for reason, n in counts.most_common()
    ]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + [f"and {counted(more, 'other difference')}"] * (more > 0)


def _refusal(found: Sequence[tuple[Finished, Sequence[str]]], results: Path) -> str:
    total = sum(place.seconds for place, _ in found)
    took = f", which took {duration(total)} to train," if total else ""
    first = found[0][0]
    return "\n".join(
        [
            f"{counted(len(found), 'finished training')} of {results.name}{took} would be trained "
            f"again; nothing was changed. The first is {results / first.label}. What differs:",
            *(f"  {reason}" for reason in _reasons(found)),
            "To keep them as they are, add --config keep=True (the report says so).",
            "To train them again, add --config replace=True.",
        ]
    )


def _missing(missing: Sequence[Asked], found: int, results: Path, kept: Iterable[Finished]) -> str:
    first = missing[0]
    there = next((each for each in kept if each.label == first.label), None)
    otherwise = f" ({'; '.join(unlike(there.decides, first.decides)[:2])})" if there else ""
    named = ", ".join([first.label + otherwise, *(asked.label for asked in missing[1:3])])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return (
        f"runs=restore trains nothing, and {len(missing)} of the {len(missing) + found} trainings "
        f"asked for are not among the finished ones in {results.parent}: {named}{more}; import an "
        "archive that has them (make import ARCHIVE=…), or train them with runs=train"
    )
