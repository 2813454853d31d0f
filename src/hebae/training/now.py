"""The progress of a training in a small file, which ``make status`` reads.

The file is beside the training's lock. It is removed when the training ends, with or without an
error, and stays if the training is killed. It changes no result: :func:`told` wraps the arguments
of the loop, which does not know about the file. A training continues if the file cannot be written.

The reader (:mod:`hebae.training.status`) uses this module too, so it imports no PyTorch.
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
"""The least number of seconds between two writes, at the end of an epoch and within one."""
SHARE_OF_TIME, LONGEST = 0.01, 30.0
"""The largest share of a training that goes into writing, and the longest pause between two writes,
in seconds. If writing is slow, the pauses are longer."""


@dataclass(frozen=True)
class RunNow:
    """The score of a run so far."""

    path: str
    measure: str | None = None
    """What ``value`` measures on test images: ``bound``, or ``reconstruction`` if there is none."""
    value: float | None = None
    failed: bool = False
    """Whether it cannot be trained to the end, while the other runs of its pack continue."""


@dataclass(frozen=True)
class Now:
    """The progress of a training, and where it runs."""

    host: str
    process: int
    slurm_job: str | None
    epochs: int
    epoch: float
    """The number of epochs done, with the share of the current epoch."""
    pace: float | None
    """Seconds for one epoch of all runs together; None if nothing is done yet."""
    runs: tuple[RunNow, ...]
    """The runs; several if they are trained as one stack."""


def read_now(path: Path) -> Now:
    """Read the progress of a training. Raises OSError, or UserError for another kind of file."""
    return from_json(Now, path.read_bytes().decode("utf-8", "replace"))


def slurm_job(
    environment: Mapping[str, str] = os.environ, cgroup: Path = Path("/proc/self/cgroup")
) -> str | None:
    """The SLURM job in which this process runs; None if that is unknown.

    Snakemake removes SLURM's variables from the environment of its jobs. If SLURM uses control
    groups, their names have the number of the job too.
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
    """Wrap a trainee and its checkpoints for :func:`hebae.training.loop.fit`, to report progress.

    The wrapped ones behave like the given ones. The file is in the folder of the checkpoints.
    """
    note = _Note(checkpoints.folder / NAME, trainee.runs)
    try:
        yield _ToldTrainee(trainee, note), _ToldCheckpoints(checkpoints, note)
    finally:
        note.remove()


def _replace(path: Path, content: bytes) -> None:
    """Replace a file as a whole, without waiting for the disk as :mod:`hebae.base.files` does.

    The file need not survive a power cut, and a busy disk would take seconds. No other process
    writes it, because the training holds the lock beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.part")
    try:
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


class _Note:
    """Writes the file of a training."""

    def __init__(self, path: Path, runs: Sequence[Run]) -> None:
        self.path = path
        self.began = time.monotonic()
        self.now = Now(
            platform.node(), os.getpid(), slurm_job(), runs[0].training.epochs, 0.0, None,
            tuple(RunNow(run.path) for run in runs),
        )  # fmt: skip
        self._write()

    def within(self, done: float) -> None:
        """Note that this many epochs are done, counting the current one in part."""
        if self._may_write(WITHIN_EPOCH):
            epoch = round(done * self.now.epochs, 3)
            pace = self.now.pace
            if pace is None and epoch:
                pace = (time.monotonic() - self.began) / epoch
            self.now = dataclasses.replace(self.now, epoch=epoch, pace=pace)
            self._write()

    def after(self, state: Mapping[str, Any]) -> None:
        """Note the state at the end of an epoch."""
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
    """A run with its last score; the last row of each epoch belongs to the test images."""
    if not rows:
        return dataclasses.replace(run, failed=failed is not None)
    name = "elbo_paper" if rows[-1]["elbo_paper"] is not None else "reconstruction"
    measure = "bound" if name == "elbo_paper" else name
    return RunNow(run.path, measure, rows[-1][name], failed is not None)


class _ToldTrainee:
    """A trainee (:class:`hebae.training.loop.Trainee`) that reports each step."""

    def __init__(self, trainee: Trainee, note: _Note) -> None:
        self._trainee, self._note = trainee, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainee, name)

    def step(self, part: slice, progress: float, rate: float) -> Tensor:
        self._note.within(progress)
        return self._trainee.step(part, progress, rate)


class _ToldCheckpoints:
    """Checkpoints that report each epoch."""

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
