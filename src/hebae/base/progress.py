"""The progress of a step, on stderr: a bar on a terminal, an occasional line in a log."""

from __future__ import annotations

import sys
import time
from math import inf

from tqdm import tqdm

EVERY = 10.0
"""The least number of seconds between two lines in a log."""


class Progress:
    """Counts up to ``total``; to be used in a ``with`` statement.

    Args:
        what: the name of the work.
        total: the number of units in all.
        unit: what is counted, in the singular.
        done: the number of units that are done already.
        every: least number of seconds between two lines in a log; infinite means no lines.
    """

    def __init__(
        self, what: str, total: int, unit: str, done: int = 0, every: float = EVERY
    ) -> None:
        self.what, self.total, self.unit, self.every = what, total, unit, every
        self.first = self.done = done
        self.on_terminal = sys.stderr.isatty()
        self.started = self.reported = time.monotonic()
        self.bar = tqdm(
            desc=what,
            total=total,
            initial=done,
            unit=unit,
            disable=not self.on_terminal,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, number: int = 1) -> None:
        """Count `number` more units as done."""
        self.done += number
        self.bar.update(number)
        if self.on_terminal or self.every == inf:
            return
        now = time.monotonic()
        if now - self.reported >= self.every or self.done == self.total:
            self.reported = now
            left = (now - self.started) * (self.total - self.done) / max(1, self.done - self.first)
            self.say(f"{self.what}: {self.done}/{self.total} {self.unit}s  {left:.0f} s left")

    def say(self, line: str, short: str = "") -> None:
        """Print a line in a log; on a terminal, show its short form on the bar."""
        if self.on_terminal:
            self.bar.set_postfix_str(short)
        else:
            print(line, file=sys.stderr, flush=True)
