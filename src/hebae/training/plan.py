"""The plan that a workflow makes for trainings: a file that they read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.fields import from_json, to_json
from hebae.config.run import Run
from hebae.training.finished import Decides, Finished, Store, key_of, take, unlike


@dataclass(frozen=True)
class Instead:
    """A finished training that is taken if the one asked for is not in the store."""

    key: str
    agreed: bool
    """Whether the user has agreed to keep it although it differs. If not, it is taken only if it
    turns out not to differ."""


@dataclass(frozen=True)
class Plan:
    """What trainings of an experiment have to know besides what they are asked for."""

    packs: tuple[tuple[Run, ...], ...] = ()
    """Runs that are trained together (:mod:`hebae.training.packs`)."""
    instead: dict[str, Instead] = field(default_factory=dict)
    """Finished trainings to take, by the folder of the run or network that asks for them."""
    train: bool = True
    """Whether anything may be trained."""
    runs: tuple[str, ...] = ()
    """The folders below ``runs/`` of all runs of the experiment, finished or not."""

    def companions(self, run: Run) -> tuple[Run, ...]:
        """The pack of a run, including the run; only the run if it is in no pack."""
        return next((pack for pack in self.packs if run in pack), (run,))


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan."""
    files.write_bytes(path, (to_json(plan) + "\n").encode())


def read_plan(path: Path | None) -> Plan:
    """Read a plan; without one, every run is trained separately. Raises UserError."""
    if path is None:
        return Plan()
    try:
        return from_json(Plan, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Plan()
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def taken(
    store: Store,
    plan: Plan,
    decides: Decides,
    output: Path,
    run: Run | None = None,
    image_shape: Sequence[int] | None = None,
    label: str | None = None,
) -> bool:
    """Take a training from the store, if it is finished already; return whether it was.

    Args:
        store: the finished trainings.
        plan: may name another training to take if the one asked for is not in the store.
        decides: what decides the training that is asked for.
        output: the folder of the run or feature network.
        run: the run; None for a feature network.
        image_shape: the shape of the images of a run.
        label: folder of a feature network below ``results/<experiment>``.

    Raises:
        UserError: if it would have to be trained but nothing may be trained.
    """
    label = label or f"runs/{run.path}"
    shape = None if run is None else list(image_shape)
    exact, instead = key_of(decides), plan.instead.get(label)
    candidates = [store.get(exact)]
    if not plan.train:
        candidates += store.alike(decides)
    elif instead is not None:
        other = store.get(instead.key)
        candidates.append(other)
        if other is not None and candidates[0] is None:
            _check_kept(label, other, instead, decides, shape)
    for finished in filter(None, candidates):
        # checked first: an archive may state any shape, and memory is taken before weights are read
        if shape is not None and finished.record.get("image_shape") != shape:
            continue
        if take(finished, output, run, decides):
            kept = "" if finished.key == exact else ", not quite as asked, and is kept as it is"
            print(f"{label} was trained already{kept}; its files are put back", file=sys.stderr)
            return True
        print(f"dropping a damaged training: {finished.folder}", file=sys.stderr, flush=True)
        store.drop(finished.folder.name)
    if not plan.train:
        raise UserError(
            f"{label}: runs=restore trains nothing, and there is no finished training of this "
            "config on these images; import an archive that has it, or train with runs=train"
        )
    return False


def _check_kept(
    label: str, other: Finished, instead: Instead, decides: Decides, shape: list[int] | None
) -> None:
    """Raise UserError if another training would be taken or lost without the user's word."""
    if shape is not None and other.record.get("image_shape") != shape:
        raise UserError(
            f"{label}: it was trained on images of another shape, so it cannot be kept; add "
            "--config replace=True to train it again"
        )
    if not instead.agreed and (reasons := unlike(other.decides, decides)):
        raise UserError(
            f"{label}: its finished training differs from what is asked ({'; '.join(reasons)}), "
            "and was not replaced; add --config keep=True to keep it, or replace=True to train it "
            "again"
        )
