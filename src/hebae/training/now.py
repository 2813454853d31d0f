"""What a training tells of itself while it runs: a small file, which ``make status`` reads.

It lies beside the training's lock. It goes when the training ends, in order or with an error, and
stays where the training is killed. It decides nothing: :func:`told` wraps what the loop is given,
the loop does not know of it, and a training goes on where the file cannot be written.

The reader (:mod:`hebae.training.status`) needs this module too: it imports no PyTorch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hebae.config.fields import from_json, to_json
from hebae.config.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from hebae.training.checkpoint import Checkpoints
    from hebae.training.loop import Trainee

NAME = "now.json"
EVERY_EPOCH, WITHIN_EPOCH = 1.0, 5.0
"""Least seconds between two writes, at the end of an epoch and within one."""
SHARE_OF_TIME, LONGEST = 0.01, 30.0
"""How much of a training may go into writing: where that is slow the pauses are longer, up to so
many seconds."""


@dataclass(frozen=True)
class RunNow:
    """How good a run is so far."""

    path: str
    measure: str | None = None
    """What ``value`` is, on the test images: ``bound``, or ``reconstruction`` without a bound."""
    value: float | None = None
    failed: bool = False
    """Whether it cannot be trained to its end, while others of its pack go on."""


@dataclass(frozen=True)
class Now:
    """How far a training is, and where it runs."""

    host: str
    process: int
    slurm_job: str | None
    epochs: int
    epoch: float
    """Epochs done, with the share of the one under way."""
    pace: float | None
    """Seconds an epoch of all runs together; None where nothing is done yet."""
    runs: tuple[RunNow, ...]
    """Several where they are trained as one stack."""


def read_now(path: Path) -> Now:
    """Read what a training told. Raises UserError where it is something else, or OSError."""
    return from_json(Now, path.read_bytes().decode("utf-8", "replace"))


def slurm_job(
    environment: Mapping[str, str] = os.environ, cgroup: Path = Path("/proc/self/cgroup")
) -> str | None:
    """The SLURM job that this process runs in, as far as that can be known.

    Snakemake takes SLURM's variables from its jobs. Where SLURM keeps jobs in control groups, their
    names have the number too.
    """
    for name in ("SLURM_JOB_ID", "SLURM_JOBID"):
        if environment.get(name, "").isdigit():
            return environment[name]
    try:
        groups = cgroup.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"slurm.*/job_(\d+)(?:/|$)", groups, re.MULTILINE)
    return found and found[1]


@contextlib.contextmanager
def told(trainee: Trainee, checkpoints: Checkpoints) -> Iterator[tuple[Trainee, Checkpoints]]:
    """A trainee and its checkpoints for :func:`hebae.training.loop.fit`, whose progress is told.

    They do what those given do. The file lies in the folder of the checkpoints.
    """
    note = _Note(checkpoints.folder / NAME, trainee.runs)
    try:
        yield _ToldTrainee(trainee, note), _ToldCheckpoints(checkpoints, note)
    finally:
        note.remove()


def _replace(path: Path, content: bytes) -> None:
    """Write a file, whole or not, without waiting for the disk as :mod:`hebae.base.files` does.

    It need not outlive a power cut, and a busy disk would take seconds. Nobody else writes it: who
    trains holds the lock beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.part")
    try:
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


class _Note:
    """The file of a training."""

    def __init__(self, path: Path, runs: Sequence[Run]) -> None:
        self.path = path
        self.began = time.monotonic()
        self.now = Now(
            platform.node(), os.getpid(), slurm_job(), runs[0].training.epochs, 0.0, None,
            tuple(RunNow(run.path) for run in runs),
        )  # fmt: skip
        self._write()

    def within(self, done: float) -> None:
        """This share of all steps is done."""
        if self._may_write(WITHIN_EPOCH):
            epoch = round(done * self.now.epochs, 3)
            pace = self.now.pace
            if pace is None and epoch:
                pace = (time.monotonic() - self.began) / epoch
            self.now = dataclasses.replace(self.now, epoch=epoch, pace=pace)
            self._write()

    def after(self, state: Mapping[str, Any]) -> None:
        """This is the state at the end of an epoch."""
        runs = zip(self.now.runs, state["rows"], state["failed"], strict=True)
        done = state["epoch"] + 1
        self.now = dataclasses.replace(
            self.now,
            epoch=done,
            pace=len(self.now.runs) * state["seconds"] / done,
            runs=tuple(_scored(run, rows, failed) for run, rows, failed in runs),
        )
        if self._may_write(EVERY_EPOCH):
            self._write()

    def _may_write(self, least: float) -> bool:
        pause = max(least, min(LONGEST, self._took / SHARE_OF_TIME))
        return time.monotonic() - self._ended >= pause

    def _write(self) -> None:
        started = time.monotonic()
        # a full or read-only disk is no reason to stop a training
        with contextlib.suppress(OSError):
            _replace(self.path, (to_json(self.now) + "\n").encode())
        self._ended = time.monotonic()
        self._took = self._ended - started

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _scored(run: RunNow, rows: Sequence[Mapping[str, Any]], failed: str | None) -> RunNow:
    """A run with its last score; the last row of each epoch is of the test images."""
    if not rows:
        return dataclasses.replace(run, failed=failed is not None)
    name = "elbo_paper" if rows[-1]["elbo_paper"] is not None else "reconstruction"
    measure = "bound" if name == "elbo_paper" else name
    return RunNow(run.path, measure, rows[-1][name], failed is not None)


class _ToldTrainee:
    """A trainee (:class:`hebae.training.loop.Trainee`) that tells of each step."""

    def __init__(self, trainee: Trainee, note: _Note) -> None:
        self._trainee, self._note = trainee, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainee, name)

    def step(self, part: slice, progress: float, rate: float) -> Tensor:
        self._note.within(progress)
        return self._trainee.step(part, progress, rate)


class _ToldCheckpoints:
    """Checkpoints that tell of each epoch."""

    def __init__(self, checkpoints: Checkpoints, note: _Note) -> None:
        self._checkpoints, self._note = checkpoints, note

    def load(self) -> dict[str, Any] | None:
        state = self._checkpoints.load()
        if state is not None:
            self._note.after(state)
        return state

    def offer(self, state: dict[str, Any]) -> None:
        self._note.after(state)
        self._checkpoints.offer(state)
