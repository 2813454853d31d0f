"""Estimates how long jobs take, from jobs of the same kind in this run or in earlier runs."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

TRAIN = "train"
"""The step whose seconds count for each epoch, because configs differ in their number."""
TAKEN = "taken"
"""The step of a training that is taken from the store of finished ones."""
TAKING = 2.0
"""Seconds of such a step, as long as none has been measured."""
SHARED = ("tables", "figures", "report")
"""Groups of steps of a few seconds, which take about equally long."""
ENOUGH = 3
"""After so many jobs of a kind have ended, they count more than those of earlier runs."""


class Kind(NamedTuple):
    """A kind of jobs that take about equally long."""

    group: str
    """Its dataset; for steps of all datasets, one of SHARED."""
    step: str


class Work(NamedTuple):
    """The work of a job."""

    kind: Kind
    size: float = 1
    """Epochs of a training; 1 of any other step."""


class Forecast(NamedTuple):
    """How long some jobs will take, one after the other."""

    seconds: float
    """Seconds of the jobs of known kinds."""
    unknown: int
    """The number of jobs of kinds that have never run."""


def kind_of(benchmark: PurePath) -> Kind:
    """The kind of a job, from the file in which Snakemake notes its time.

    Args:
        benchmark: ``results/<experiment>/benchmarks/<group>/…/<step>.tsv``.
    """
    return Kind(benchmark.parts[3], benchmark.stem)


class Estimate:
    """What is known about how long jobs take.

    Args:
        earlier: seconds for each unit of size in earlier runs, by kind.
    """

    def __init__(self, earlier: Mapping[Kind, float] | None = None) -> None:
        self.earlier = dict(earlier or {})
        self._ended: defaultdict[Kind, list[tuple[float, float]]] = defaultdict(list)

    def ended(self, work: Work, seconds: float) -> None:
        """Note that a job has ended in this run."""
        self._ended[work.kind].append((seconds, work.size))

    def expected(self, work: Work) -> float | None:
        """Seconds of a job; None if no job of its kind has run.

        A mean rather than a median: if runs are trained together, one job takes the time of all of
        them, and the others take none.
        """
        kind, group = work.kind, work.kind.group
        ended = self._ended.get(kind, [])
        if len(ended) >= ENOUGH or (ended and kind not in self.earlier):
            return work.size * _pace(ended)
        if kind in self.earlier:
            return work.size * self.earlier[kind]
        if kind.step == TAKEN:
            return TAKING
        if group not in SHARED:
            return None
        alike = [pair for other, pairs in list(self._ended.items()) if other.group == group
                 for pair in pairs]  # fmt: skip
        alike += [(pace, 1) for other, pace in self.earlier.items() if other.group == group]
        return work.size * _pace(alike) if alike else None

    def forecast(self, works: Iterable[Work]) -> Forecast:
        """How long jobs will take, one after the other."""
        expected = [self.expected(work) for work in works]
        known = [seconds for seconds in expected if seconds is not None]
        return Forecast(sum(known), len(expected) - len(known))

    def _expected_or_alike(self, work: Work) -> float | None:
        """Seconds of a job, or of the same step for other datasets in this run."""
        expected = self.expected(work)
        if expected is not None or work.kind.step == TRAIN:
            return expected
        alike = [
            pair
            for kind, pairs in list(self._ended.items())
            if kind.step == work.kind.step
            for pair in pairs
        ]
        return work.size * _pace(alike) if alike else None

    def left(
        self,
        waiting: Iterable[Work],
        running: Iterable[tuple[Work, float]],
        parallel: float,
    ) -> float | None:
        """Seconds until all is done; None if no sensible estimate is possible.

        A step of an unknown kind, other than a training, is taken to last as long as the same step
        for other datasets in this run. Without such a step it lasts as long as all others on
        average, provided that such guesses are at most half of all.

        Args:
            waiting: jobs that have not begun.
            running: jobs that run, each with its seconds so far.
            parallel: how many run at once.
        """
        waiting, running = list(waiting), list(running)
        works = waiting + [work for work, _ in running]
        if not works:
            return 0.0
        expected = {work: self._expected_or_alike(work) for work in set(works)}
        known = [seconds for work in works if (seconds := expected[work]) is not None]
        untrained = any(of is None and work.kind.step == TRAIN for work, of in expected.items())
        if untrained or len(known) < len(works) - len(known):
            return None
        average = sum(known) / len(known)

        def of(work: Work) -> float:
            seconds = expected[work]
            return average if seconds is None else seconds

        # a job that takes longer than expected is not about to end for that reason
        rest = [max(of(work) - elapsed, elapsed / 10) for work, elapsed in running]
        total = sum(map(of, waiting)) + sum(rest)
        return max([total / parallel, *rest])

    def least_left(
        self,
        waiting: Iterable[Work],
        running: Iterable[tuple[Work, float]],
        parallel: float,
    ) -> float:
        """Seconds that jobs of known kinds will take; arguments as for :meth:`left`."""
        total = sum(self.expected(work) or 0.0 for work in waiting)
        total += sum(max(0.0, (self.expected(work) or 0.0) - past) for work, past in running)
        return total / parallel


def _pace(ended: Iterable[tuple[float, float]]) -> float:
    """Seconds for each unit of size."""
    seconds, sizes = zip(*ended, strict=True)
    return sum(seconds) / sum(sizes)


def read_earlier(results: Path, experiment: str) -> dict[Kind, float]:
    """Seconds for each unit of size in earlier runs, by kind.

    Jobs of the same experiment count. If it has none of a kind, jobs of other experiments count.
    Unreadable files are ignored. For a training, the seconds in its record count, because Snakemake
    may have noted only the time to take it from the store.

    Args:
        results: the folder of all results.
    """
    here: defaultdict[Kind, list[tuple[float, float]]] = defaultdict(list)
    there: defaultdict[Kind, list[tuple[float, float]]] = defaultdict(list)
    for path in results.glob("*/benchmarks/**/*.tsv"):
        name, _, *below = path.relative_to(results).parts
        try:
            kind = kind_of(PurePath("results", name, "benchmarks", *below))
            took = (_noted(path), 1.0)
            if kind.step == TRAIN:
                took = _training(results.joinpath(name, "runs", *below[:-1], "run.json"))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        if took[1] > 0 and math.isfinite(took[0]):
            (here if name == experiment else there)[kind].append(took)
    return {kind: _pace(ended) for kind, ended in (there | here).items()}


def _noted(path: Path) -> float:
    """Seconds in a benchmark file of Snakemake's."""
    with path.open(encoding="utf-8", newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"), {})["s"])


def _training(path: Path) -> tuple[float, float]:
    """Seconds and epochs of a run, from its record."""
    record = json.loads(path.read_bytes())
    # its last process took one, all of its epochs the other: it may have been interrupted
    seconds = max(float(record["wall_seconds"]), float(record["training_seconds"]))
    return seconds, float(record["run"]["training"]["epochs"])


def roughly(seconds: float) -> str:
    """An estimate in words, without false precision: about 40 s, about 12 min, about 3 h."""
    if seconds < 9.5:
        return "a few seconds"
    if seconds < 95:
        return f"about {round(seconds, -1):.0f} s"
    if seconds < 95 * 60:
        return f"about {seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"about {seconds / 3600:.0f} h"
    return f"about {seconds / 86400:.1f} days"
