"""Errors a person can cause, and how a command reports them."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Callable


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
        sys.exit(f"error: {error}")
    except OSError as error:
        # "[Errno 28] No space left on device: 'path'" says what and where already
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        sys.exit(f"error: {error}" + full * "; make room, and give the same command again")
    except KeyboardInterrupt:
        sys.exit(130)
