"""Claims a folder of results, so that one process at a time makes it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from hebae.base.errors import UserError
from hebae.base.lock import Held, hold


def claim(experiment: str, results: Path) -> TextIO:
    """Claim the results of an experiment for this process.

    Raises:
        UserError: if another process is making them.
    """
    try:
        return hold(results / ".lock")
    except Held as holder:
        raise UserError(
            f"{experiment} is being made by another Snakemake ({holder}); "
            "wait until it ends, or end it there with Ctrl-C"
        ) from None


def remove_stale_locks(locks: Path, claimed: Iterable[Path]) -> int:
    """Remove the locks of a killed Snakemake on folders that this process has claimed.

    Args:
        locks: Snakemake's folder of locks. Each lock is a list of files, and names no process.
        claimed: the folders, relative as Snakemake writes them.

    Returns:
        The number of removed locks.
    """
    prefixes = tuple(f"{folder}{os.sep}" for folder in claimed)
    removed = 0
    for path in sorted(locks.glob("*.lock")):
        try:
            stale = any(
                line.startswith(prefixes) for line in path.read_text(encoding="utf-8").splitlines()
            )
            if stale:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another Snakemake, for another experiment, has ended
    return removed


def check_writable(folder: Path) -> None:
    """Check that results can be written, before hours of training.

    Raises:
        UserError: if `folder`, or the folder in which it will be made, cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"cannot write below {folder}: {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise UserError(f"cannot write below {folder}: {there} is read-only for this user")


def date_now(folders: Iterable[Path]) -> int:
    """Give files that are dated in the future today's date, and return their number.

    Snakemake takes everything made from such a file for outdated, and deletes it. After a clock has
    been set back, that could be hours of training.
    """
    now = time.time()
    dated = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                # a file of another user, or one that is gone by now
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime > now and not path.is_symlink():
                        os.utime(path, (now, now))
                        dated += 1
    return dated
