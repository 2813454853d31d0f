"""Where a run is told of: lines in a file or pipe, a live display at a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any, Protocol, TextIO

from hebae.base.text import counted, lasted
from hebae.workflow.estimate import roughly
from hebae.workflow.jobs import by_stage, listed_by_stage
from hebae.workflow.run_progress import RunProgress

SHOWN = 4
"""Jobs of those that run, at a terminal."""


class View(Protocol):
    """What shows how far a run is."""

    def say(self, text: str, look: str = "") -> None:
        """Print lines that last; `look` is one of LOOKS, or empty."""

    def begin(self, progress: RunProgress) -> None:
        """The first job is about to begin."""

    def began(self, words: str, stage: str, first: bool) -> None:
        """A job has begun, maybe the first of its stage."""

    def end(self) -> None:
        """No more jobs; lines can be printed still. To be called however a run ends."""


LOOKS = {"good": "bold green", "warning": "yellow", "failure": "bold red", "dim": "dim"}
"""What lines are for, and how a terminal shows that."""


def summary(progress: RunProgress) -> str:
    """What is to be done, and how long that may take."""
    jobs = counted(len(progress.jobs), "job")
    line = f"{jobs} to do: {listed_by_stage(progress.jobs.values())}"
    left = progress.left()
    return line if left is None else f"{line}; {roughly(left)}"


def pause(seconds: float) -> float:
    """Seconds between two lines that say how far a run is, after so many: more in a long run."""
    return min(600.0, max(30.0, seconds / 50))


class Lines:
    """Plain lines, few of them: one a stage, and now and then one that says how far it is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.progress = RunProgress()
        self._said = 0.0
        self._ended = threading.Event()

    def say(self, text: str, look: str = "") -> None:
        # as one string: other threads print too
        stream = self.stream or sys.stderr
        # a full disk or a closed pipe is no reason to end a run
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.write(f"{text}\n")
            stream.flush()

    def begin(self, progress: RunProgress) -> None:
        self.progress = progress
        self.say(summary(progress))
        threading.Thread(target=self._tick, daemon=True).start()

    def began(self, words: str, stage: str, first: bool) -> None:
        if first:
            number = by_stage(self.progress.jobs.values())[stage]
            of_stage = f"{stage}, {number} jobs" if number > 1 else stage
            so_far = f"{len(self.progress.done)}/{len(self.progress.jobs)}"
            self.say(f"[{so_far}] {of_stage}: {words}")
            self._said = self.progress.seconds

    def end(self) -> None:
        self._ended.set()

    def _tick(self) -> None:
        while not self._ended.wait(1):
            with contextlib.suppress(Exception):  # whatever is wrong is no reason to end a run
                self.look()

    def look(self) -> None:
        """Say how far it is, where nothing was said for long."""
        seconds = self.progress.seconds
        if seconds - self._said >= pause(seconds):
            self._said = seconds
            self.say(self.progress.line())


class Display:
    """A live display at a terminal: a bar and what runs, below lines that last. Needs rich."""

    def __init__(self, colours: bool = True) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, no_color=not colours or None, highlight=False)
        self.live: Any = None
        self.progress = RunProgress()

    def say(self, text: str, look: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(text, style=LOOKS.get(look, ""), overflow="fold"))

    def begin(self, progress: RunProgress) -> None:
        from rich.live import Live

        self.progress = progress
        self.say(summary(progress))
        self.live = Live(
            get_renderable=self.shown,
            console=self.console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # it may lead elsewhere
        )
        self.live.start()

    def began(self, words: str, stage: str, first: bool) -> None:
        pass

    def end(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def shown(self) -> Any:
        """The bar and what runs; nothing where that cannot be told."""
        with contextlib.suppress(Exception):
            return self._picture()
        return ""

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = self.progress
        total = len(progress.jobs)
        done = len(progress.done)
        texts = [
            progress.how_far(),
            f"{len(progress.failed)} failed" if progress.failed else "",
            lasted(progress.seconds),
            progress.time_left(),
        ]
        line = Table.grid(padding=(0, 1))
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.expand = True
        bar = ProgressBar(total=max(1, total), completed=done, finished_style="bar.complete")
        line.add_row(bar, Text(" · ".join(filter(None, texts))))
        running = [
            Text(f"  {words}", style="dim", no_wrap=True, overflow="ellipsis")
            for words in progress.now(SHOWN)
        ]
        return Group(line, *running)


def view_of(stream: TextIO | None, colours: bool = True) -> View:
    """A display where the stream is a terminal and rich is there; lines elsewhere."""
    terminal = stream is not None and stream.isatty()
    if terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        with contextlib.suppress(ImportError):
            return Display(colours)
    return Lines()
