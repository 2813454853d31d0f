"""The progress of a run: which jobs ended, run or failed, and how long the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hebae.base.text import counted, lasted
from hebae.workflow.estimate import Estimate, Work, roughly
from hebae.workflow.jobs import Job, by_stage

WORTH_SAYING = 30
"""Seconds that all jobs of known kinds will take at least, where there are others."""
SOME = 3
"""After so many jobs have ended, it is known how many run at once."""


class Running(NamedTuple):
    """A job that runs, or waits on a cluster."""

    words: str
    since: float


class RunProgress:
    """The progress of the jobs of a run.

    Args:
        jobs: all jobs that are to be done.
        estimate: what is known about how long they take.
        cores: how many run at once, until that has been observed; None if unknown.
        clock: gives seconds since some moment.
    """

    def __init__(
        self,
        jobs: Iterable[Job] = (),
        estimate: Estimate | None = None,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = {job.number: job for job in jobs}
        self.estimate = estimate or Estimate()
        self.cores = cores
        self.clock = clock
        self.started = clock()
        self.done: set[int] = set()
        self.running: dict[int, Running] = {}
        self.failed: dict[int, str] = {}
        """The failed jobs, in words, that are not tried again."""
        self._busy = 0.0
        self._stages: set[str] = set()

    def begin(self, number: int, words: str) -> bool:
        """Note that one of `jobs` begins; return whether it is the first of its stage."""
        if number not in self.jobs:
            return False
        stage = self.jobs[number].stage
        first = stage not in self._stages
        self._stages.add(stage)
        self.running[number] = Running(words, self.clock())
        self.failed.pop(number, None)
        return first

    def finish(self, number: int) -> None:
        """Note that a job has succeeded."""
        if number not in self.jobs:
            return
        self.done.add(number)
        if (seconds := self._end(number)) is not None:
            self.estimate.ended(self.jobs[number].work, seconds)

    def fail(self, number: int) -> None:
        """Note that a job has failed; :meth:`begin` takes that back if it is tried again."""
        if number in self.jobs:
            ran = self.running.get(number)
            self.failed[number] = self.jobs[number].rule if ran is None else ran.words
            self._end(number)

    def _end(self, number: int) -> float | None:
        ran = self.running.pop(number, None)
        if ran is None:
            return None
        seconds = self.clock() - ran.since
        self._busy += seconds
        return seconds

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.started

    @property
    def waiting(self) -> list[Job]:
        """Jobs that have neither ended nor begun."""
        begun = self.done | self.running.keys() | self.failed.keys()
        return [job for number, job in self.jobs.items() if number not in begun]

    def parallel(self) -> float | None:
        """How many jobs run at once, as observed so far."""
        if len(self.done) < SOME or self.seconds <= 0:
            return self.cores
        now = self.clock()
        busy = self._busy + sum(now - ran.since for ran in list(self.running.values()))
        return max(1.0, busy / self.seconds)

    def _left(self) -> tuple[list[Work], list[tuple[Work, float]]]:
        """The waiting jobs, and the running jobs with their seconds so far."""
        now = self.clock()
        running = [
            (self.jobs[number].work, now - ran.since) for number, ran in list(self.running.items())
        ]
        return [job.work for job in self.waiting], running

    def left(self) -> float | None:
        """Seconds until all is done; None if no sensible estimate is possible."""
        parallel = self.parallel()
        return None if parallel is None else self.estimate.left(*self._left(), parallel)

    def how_far(self) -> str:
        """The progress in words: 41 of 289 jobs."""
        return f"{len(self.done):,} of {counted(len(self.jobs), 'job')}"

    def time_left(self) -> str:
        """The time left in words, such as "about 3 min left"; empty without a sensible estimate.

        It is "more than 3 min left" if trainings of some dataset have never run.
        """
        if (left := self.left()) is not None:
            return f"{roughly(left)} left"
        parallel = self.parallel()
        least = self.estimate.least_left(*self._left(), parallel) if parallel else 0.0
        if least < WORTH_SAYING:
            return ""
        return f"more than {roughly(least).removeprefix('about ')} left"

    def now(self, most: int) -> list[str]:
        """The running jobs, the longest first, in so many lines; one more line counts the rest."""
        words = [ran.words for ran in list(self.running.values())]
        more = len(words) - most
        return words[:most] + [f"and {more} more"] * (more > 0)

    def line(self) -> str:
        """One line: the progress, the time so far, the time left, and what runs."""
        parts = [f"{self.how_far()} done after {lasted(self.seconds)}"]
        if left := self.time_left():
            parts.append(left)
        line = ", ".join(parts)
        # on a cluster, submitted jobs may still wait
        label = "now" if self.cores else "submitted"
        return f"; {label}: ".join(filter(None, (line, ", ".join(self.now(1)))))

    def not_made(self) -> str:
        """What was not made because of a failure: tables 5, figures 2 (fig2a, fig2b)."""
        found = []
        waiting = self.waiting
        for stage, number in by_stage(waiting).items():
            names = [job.rule for job in waiting if job.stage == stage]
            single = stage == "figures" and number <= 12
            found.append(f"{stage} {number}" + f" ({', '.join(names)})" * single)
        return ", ".join(found)
