"""Errors that a user can cause, and how a command reports them."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk or a used-up quota."""

UNSAID = 28
"""Exit status if the disk is so full that a command could not write its message to the log."""


class UserError(Exception):
    """An error that a user can put right, in one line: what is wrong, where, what to do."""


def print_in_any_locale() -> None:
    """Print characters that the terminal's locale lacks as \\u03bb instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def command(main: Callable[[], None]) -> None:
    """Run a command's ``main``: one line on stderr and a non-zero status, no traceback.

    A :class:`UserError`, a failed file operation or an interrupt is reported in this way. Every
    other exception is a defect of ours and keeps its traceback.
    """
    print_in_any_locale()
    try:
        main()
    except UserError as error:
        _end(f"error: {error}")
    except OSError as error:
        # "[Errno 28] No space left on device: 'path'" already says what is wrong and where
        full = error.errno in FULL
        _end(f"error: {error}" + full * "; make room, and give the same command again")
    except KeyboardInterrupt:
        sys.exit(130)


def _end(line: str) -> NoReturn:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError as error:
        # at once: at a normal exit Python would try to write again and exit with its own status
        os._exit(UNSAID if error.errno in FULL else 1)
    sys.exit(1)
