"""Downloads, attempted several times with pauses between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from hebae.base.errors import UserError

Result = TypeVar("Result")

ATTEMPTS = 3
BACKOFF_SECONDS = 1.0  # before the second attempt; doubles from there


class FetchError(Exception):
    """The download failed, or gave another file; the message says why."""


def unwritable(what: str, folder: Path, error: OSError) -> UserError:
    """The error for a folder to which a download cannot be written."""
    return UserError(
        f"{what} cannot be written to {folder} ({error}); "
        "make it writable or choose another data_dir"
    )


def attempt(fetch: Callable[..., Result], *arguments: object) -> Result:
    """Call `fetch` until it raises no :class:`FetchError`; in the end raise the last one."""
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=BACKOFF_SECONDS),
        retry=retry_if_exception_type(FetchError),
        reraise=True,
    )(fetch, *arguments)
