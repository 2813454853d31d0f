"""Shows what is training now, on any terminal: ``python -m hebae.training.status --help``.

It reads the progress files of trainings (:mod:`hebae.training.now`), the plan, the records of
finished runs and the last lines of logs. It needs only the standard library, so any Python 3.11 can
run it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hebae.base.errors import UserError, command
from hebae.base.lock import is_held
from hebae.base.text import counted, lasted
from hebae.training.now import NAME, Now, RunNow, read_now
from hebae.training.plan import read_plan

LATE = 60.0
"""Seconds without news after which a training is shown as silent."""
REDRAWN = 2.0
"""Seconds between two updates of ``--watch``."""
NAMED = 3
"""The largest number of waiting runs, and of failed runs, that are named."""
LOG_BYTES = 4096
"""The number of bytes that are read from the end of a log."""
HEADER = ("run", "epoch", "test images", "s/epoch", "left", "where")
NARROW = 16
"""The least length to which the name of a run is shortened, on a narrow terminal."""
EXPERIMENT = r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z"
"""The pattern of an experiment's name, as in workflow/schemas/config.schema.yaml."""


class Underway(NamedTuple):
    """A training that is running or was killed."""

    now: Now
    age: float
    """Seconds since its last news."""
    here: bool
    """Whether it runs, or ran, on this machine."""
    alive: bool | None
    """Whether it is running; None if its machine cannot be asked."""

    @property
    def silent(self) -> bool:
        """Whether it has been silent for long on a machine that cannot be asked."""
        return self.alive is None and self.age > LATE

    @property
    def running(self) -> bool:
        return self.alive is not False and not self.silent


class Failed(NamedTuple):
    """A run whose training has failed since the last call."""

    run: str
    age: float
    """Seconds since it failed."""
    reason: str
    """The last line of its log."""


class State(NamedTuple):
    """The state of an experiment."""

    name: str
    trainings: list[Underway]
    """The trainings, the running ones first."""
    planned: tuple[str, ...]
    """The paths of all runs of its last plan."""
    finished: set[str]
    waiting: list[str]
    """Runs that are neither finished, nor training, nor failed."""
    failed: list[Failed]
    made: bool | None
    """Whether a Snakemake is making the experiment; None if unknown."""


def read_state(folder: Path) -> State:
    """The state of the experiment in a folder of results; unreadable files are left out."""
    trainings = sorted(_trainings(folder), key=lambda each: each.alive is False)
    planned: tuple[str, ...] = ()
    with contextlib.suppress(OSError, UserError):
        planned = read_plan(folder / "plan.json").runs
    finished = {run for run in planned if (folder / "runs" / run / "run.json").is_file()}
    busy = {run.path for each in trainings if each.alive is not False for run in each.now.runs}
    # without killed trainings that were finished since, or are no longer asked for
    stopped = set(planned) - finished - busy
    trainings = [
        each
        for each in trainings
        if each.alive is not False or any(run.path in stopped for run in each.now.runs)
    ]
    failed = [each for run in planned if run in stopped and (each := _failed(folder, run))]
    failures = {each.run for each in failed}
    waiting = [run for run in planned if run in stopped and run not in failures]
    made = is_held(folder / ".lock")
    return State(folder.name, trainings, planned, finished, waiting, failed, made)


def _trainings(folder: Path) -> Iterator[Underway]:
    # not rglob, which fails where a training that ends removes its folder meanwhile
    walk = os.walk(folder / "checkpoints")
    for path in sorted(Path(where, NAME) for where, _, names in walk if NAME in names):
        try:
            now = read_now(path)
            age = max(0.0, time.time() - path.stat().st_mtime)
        except (OSError, UserError):
            continue  # it has just ended, or the disk was full
        here = now.host == platform.node()
        held = is_held(path.with_name("lock"))
        # a lock that looks free from here may be held on another machine
        alive = held if here else held or None
        yield Underway(now, age, here, alive)


def _failed(folder: Path, run: str) -> Failed | None:
    """The error at the end of a run's log, if it was written since the last plan."""
    log = folder / "logs" / run / "train.log"
    try:
        written = log.stat().st_mtime
        if written < (folder / "plan.json").stat().st_mtime:
            return None
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_BYTES))
            lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    traceback = any(line.startswith("Traceback") for line in lines)
    if not lines or not (traceback or lines[-1].startswith("error:")):
        return None
    return Failed(run, max(0.0, time.time() - written), lines[-1].removeprefix("error: "))


# What is printed


def lines_of(states: Sequence[State], width: int | None = None) -> list[str]:
    """The lines to print about some experiments.

    Args:
        states: the state of each.
        width: columns of the terminal; None if lines may be of any length.
    """
    states = [state for state in states if state.planned or state.trainings]
    lines: list[str] = []
    if not any(each.running for state in states for each in state.trainings):
        lines.append("nothing is training")
    for state in states:
        lines += [""] * bool(lines) + [_summary(state)]
        if rows := [row for each in state.trainings for row in _rows(each, state)]:
            lines += [f"  {line}" for line in table([HEADER, *rows], width and width - 2)]
        lines += [f"  {line}" for line in _others(state)]
    return lines


def _summary(state: State) -> str:
    training = sum(len(each.now.runs) for each in state.trainings if each.running)
    silent = sum(len(each.now.runs) for each in state.trainings if each.silent)
    said = f"{state.name}: "
    if state.planned:
        said += f"{len(state.finished)} of {counted(len(state.planned), 'run')} finished"
    else:
        said += "not planned by the workflow"
    parts = {
        "training": training,
        "silent": silent,
        "waiting": len(state.waiting),
        "failed": len(state.failed),
    }
    return ", ".join([said, *(f"{number} {what}" for what, number in parts.items() if number)])


def _others(state: State) -> Iterator[str]:
    """Lines about waiting and failed runs."""
    if state.waiting:
        more = len(state.waiting) - NAMED
        yield f"waiting: {', '.join(state.waiting[:NAMED])}" + f" and {more} more" * (more > 0)
        if state.made is False and not any(each.running for each in state.trainings):
            yield "no Snakemake is running; to go on, give its command again"
    for each in state.failed[:NAMED]:
        run = "" if each.run in each.reason else f"{each.run}: "
        yield f"failed {_ago(each.age)}: {run}{each.reason}"
    if (more := len(state.failed) - NAMED) > 0:
        yield f"and {more} more failed; results/{state.name}/logs has the reasons"


def _rows(training: Underway, state: State) -> Iterator[tuple[str, ...]]:
    """A row for each run of a training."""
    now = training.now
    stopped = training.alive is False
    for run in now.runs:
        if stopped and run.path in state.finished:
            continue
        left = now.pace and max(0.0, now.pace * (now.epochs - now.epoch) - training.age)
        yield (
            run.path,
            f"{round(now.epoch, 1):g}/{now.epochs}",
            _score(run),
            "" if now.pace is None else f"{now.pace:.3g}",
            "" if left is None or stopped else lasted(left),
            _where(training),
        )


def _score(run: RunNow) -> str:
    """The bound, or the reconstruction error of a run without a bound."""
    if run.failed or run.value is None:
        return "failed" if run.failed else ""
    return f"{'bound' if run.measure == 'bound' else 'error'} {run.value:.5g}"


def _where(training: Underway) -> str:
    """Where a training runs, and whether it is alive."""
    now = training.now
    place = f"process {now.process}" + ("" if training.here else f" on {now.host}")
    if now.slurm_job is not None:
        place = f"SLURM job {now.slurm_job} on {now.host}"
    if len(now.runs) > 1:
        place += f", pack of {len(now.runs)}"
    if training.alive is False:
        return f"killed, last sign {_ago(training.age)}"
    return place + f", no sign for {lasted(training.age)}" * (training.age > LATE)


def _ago(seconds: float) -> str:
    return f"{lasted(seconds)} ago"


def table(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Rows as aligned lines; if they are wider than `width`, names are cut at the beginning."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    over = 0 if width is None else sum(widths) + 2 * (len(widths) - 1) - width
    if over > 0:
        widths[0] = max(min(widths[0], NARROW), widths[0] - over)
    names = (name if len(name) <= widths[0] else "…" + name[1 - widths[0] :] for name, *_ in rows)
    return [
        "  ".join(map(str.ljust, (name, *rest), widths)).rstrip()
        for name, (_, *rest) in zip(names, rows, strict=True)
    ]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


# The command


def experiments(results: Path, name: str | None) -> Iterable[Path]:
    """The folders of all experiments, or of one."""
    if name is not None:
        return [results / name]
    with contextlib.suppress(OSError):
        return sorted(
            path
            for path in results.iterdir()
            if (path / "plan.json").is_file() or (path / "checkpoints").is_dir()
        )
    return []


def named_in(config: Path) -> str:
    """The name of the experiment in a config. Raises UserError."""
    try:
        import yaml  # imported only here, so that everything else works without PyYAML
    except ImportError:
        raise UserError(
            "PyYAML is not installed, so no config can be read; use --experiment NAME"
        ) from None
    try:
        name = yaml.safe_load(config.read_text(encoding="utf-8"))["experiment"]
        if re.match(EXPERIMENT, name):  # a TypeError where it is no text
            return name
    except FileNotFoundError:
        raise UserError(f"{config}: no such config") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError):
        pass  # YAML has a ValueError for a date that is none
    raise UserError(f"{config}: it names no experiment")


def picture(results: Path, name: str | None, width: int | None) -> list[str]:
    """The text to print now."""
    return lines_of([read_state(folder) for folder in experiments(results, name)], width)


def watch(results: Path, name: str | None) -> None:
    """Print it repeatedly, in one place on a terminal, until Ctrl-C."""
    on_terminal = sys.stdout.isatty()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            size = shutil.get_terminal_size()
            lines = picture(results, name, size.columns if on_terminal else None)
            if on_terminal:
                lines = [_cut(line, size.columns) for line in lines[: size.lines - 1]]
                # move home, clear each line to its end, and clear what was below
                print("\033[H" + "".join(f"{line}\033[K\n" for line in lines), end="\033[J")
            else:
                print(*lines, "", sep="\n")
            sys.stdout.flush()
            time.sleep(REDRAWN)
    print()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.training.status", description="Show what is training now."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--experiment", help="show only this experiment")
    which.add_argument("--config", type=Path, help="show only the experiment of this config")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of all results"
    )
    parser.add_argument(
        "--watch", action="store_true", help=f"update every {REDRAWN:.0f} s, until Ctrl-C"
    )
    options = parser.parse_args(arguments)
    name = options.experiment if options.config is None else named_in(options.config)
    if options.watch:
        watch(options.results, name)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(*picture(options.results, name, width), sep="\n")


if __name__ == "__main__":
    command(main)
