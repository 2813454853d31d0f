"""Shortens Snakemake's messages about failed jobs, and prints them in any locale."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hebae.base.errors import FULL, UNSAID, print_in_any_locale

SHOWN = 15
"""How many lines of the log of a failed job are shown."""

NO_SPACE = [os.strerror(number) for number in FULL]


def say_in_any_locale(handlers: Iterable[logging.Handler]) -> None:
    """Print Snakemake's messages in any locale, and write its log files in UTF-8."""
    print_in_any_locale()
    for handler in handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.stream.reconfigure(encoding="utf-8")
            handler.handleError = _unless_disk_is_full(handler.handleError)


def _unless_disk_is_full(
    complain: Callable[[logging.LogRecord], None],
) -> Callable[[logging.LogRecord], None]:
    """Print logging's traceback for a line that could not be written, unless the disk is full."""

    def handle(record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            complain(record)

    return handle


class FailedJobs(logging.Filter):
    """Shows the last lines of a failed job's log instead of all, and what the log cannot say.

    Add it to Snakemake's logger as a filter, and set ``show_logs`` to :meth:`last_lines`.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger
        self.before: dict[str, tuple[int, int] | None] = {}
        """The state of logs when their job began; they then belong to an earlier attempt."""
        self.full: str | None = None
        """The first log that says that the disk is full; empty if it could not be written."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, and note some of them."""
        if event_of(record) == "job_info":
            self.before.update({str(log): _state(Path(log)) for log in record.log or ()})
        elif self.full is None and f"non-zero exit status {UNSAID}" in record.getMessage():
            self.full = ""
            self.logger.error(
                "error: No space left on device: a job could not even write its log; make room "
                "where results/ is, and give the same command again"
            )
        return True

    def last_lines(self, logs: Iterable[str]) -> Iterator[str]:
        """The end of each log that this attempt has written."""
        for log in map(str, logs):
            path = Path(log)
            state = _state(path)
            if state is None or state == self.before.get(log):
                yield f"The job did not get as far as writing its log, {log}."
                continue
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
            if lines and any(reason in lines[-1] for reason in NO_SPACE):
                self.full = log if self.full is None else self.full
                if self.full != log:
                    yield f"{log}: no space left here either."
                    continue
            left = len(lines) - SHOWN
            yield f"{log}{f', its last {SHOWN} lines' if left > 0 else ''}:"
            yield from lines[-SHOWN:] or ["(it is empty)"]


def event_of(record: logging.LogRecord) -> Any:
    event = getattr(record, "event", None)
    return getattr(event, "value", event)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
