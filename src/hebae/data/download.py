"""Asking for a file over the network: more than once, with pauses between."""

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
    """The file could not be had, or is not the one; the message says why."""


def unwritable(what: str, folder: Path, error: OSError) -> UserError:
    """The error for a folder that a download cannot be written to."""
    return UserError(
        f"{what} cannot be written to {folder} ({error}); "
        "make it writable or choose another data_dir"
    )


def attempt(fetch: Callable[..., Result], *arguments: object) -> Result:
    """Call `fetch` until it raises no :class:`FetchError`; the last one is raised."""
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=BACKOFF_SECONDS),
        retry=retry_if_exception_type(FetchError),
        reraise=True,
    )(fetch, *arguments)
