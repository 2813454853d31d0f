"""Shows a run: as lines in a file or pipe, as a live display on a terminal."""

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
"""The largest number of running jobs that a terminal shows."""


class View(Protocol):
    """Something that shows the progress of a run."""

    def say(self, text: str, look: str = "") -> None:
        """Print lines that stay; `look` is one of LOOKS, or empty."""

    def begin(self, progress: RunProgress) -> None:
        """The first job is about to begin."""

    def began(self, words: str, stage: str, first: bool) -> None:
        """A job has begun; it may be the first of its stage."""

    def end(self) -> None:
        """No more jobs follow; lines can still be printed. Call it however a run ends."""


LOOKS = {"good": "bold green", "warning": "yellow", "failure": "bold red", "dim": "dim"}
"""The purposes of lines, and how a terminal shows them."""


def summary(progress: RunProgress) -> str:
    """A line that says what is to be done, and how long that may take."""
    jobs = counted(len(progress.jobs), "job")
    line = f"{jobs} to do: {listed_by_stage(progress.jobs.values())}"
    left = progress.left()
    return line if left is None else f"{line}; {roughly(left)}"


def pause(seconds: float) -> float:
    """Seconds between two lines about progress, after so many seconds: more in a long run."""
    return min(600.0, max(30.0, seconds / 50))


class Lines:
    """A few plain lines: one for each stage, and an occasional line about progress."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.progress = RunProgress()
        self._said = 0.0
        self._ended = threading.Event()

    def say(self, text: str, look: str = "") -> None:
        # as one string, because other threads print too
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
            with contextlib.suppress(Exception):  # no error here is a reason to end a run
                self.look()

    def look(self) -> None:
        """Print the progress if nothing has been printed for long."""
        seconds = self.progress.seconds
        if seconds - self._said >= pause(seconds):
            self._said = seconds
            self.say(self.progress.line())


class Display:
    """A live display: a bar and the running jobs, below lines that stay. Needs rich."""

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
            redirect_stdout=False,  # it may be redirected
        )
        self.live.start()

    def began(self, words: str, stage: str, first: bool) -> None:
        pass

    def end(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def shown(self) -> Any:
        """The bar and the running jobs; empty if that fails."""
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
    """A display if the stream is a terminal and rich is installed, and lines otherwise."""
    terminal = stream is not None and stream.isatty()
    if terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        with contextlib.suppress(ImportError):
            return Display(colours)
    return Lines()
