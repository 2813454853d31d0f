"""Errors a person can cause, and how a command reports them."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of a disk, or of what a user may have of it."""

UNSAID = 28
"""Exit status of a command where the disk is so full that its log could not say so."""


class UserError(Exception):
    """Something a person can put right. One line: what is wrong, where, what to do."""


def print_in_any_locale() -> None:
    """Have signs that the terminal's locale lacks printed as \\u03bb: they would be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def command(main: Callable[[], None]) -> None:
    """Run a command's ``main``: one line on stderr and a non-zero status, no traceback.

    Anything that is not a :class:`UserError`, a failed file operation or an interrupt is a
    defect of ours and keeps its traceback.
    """
    print_in_any_locale()
    try:
        main()
    except UserError as error:
        _end(f"error: {error}")
    except OSError as error:
        # "[Errno 28] No space left on device: 'path'" says what and where already
        full = error.errno in FULL
        _end(f"error: {error}" + full * "; make room, and give the same command again")
    except KeyboardInterrupt:
        sys.exit(130)


def _end(line: str) -> NoReturn:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError as error:
        # at once: in an orderly end Python would try again, and end with a status of its own
        os._exit(UNSAID if error.errno in FULL else 1)
    sys.exit(1)
