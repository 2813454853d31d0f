"""A folder of results: made by one process at a time."""

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
    """Take an experiment's results for this process.

    Raises:
        UserError: where another process is at them.
    """
    try:
        return hold(results / ".lock")
    except Held as holder:
        raise UserError(
            f"{experiment} is being made by another Snakemake ({holder}); "
            "wait until it ends, or end it there with Ctrl-C"
        ) from None


def remove_stale_locks(locks: Path, claimed: Iterable[Path]) -> int:
    """Remove what a killed Snakemake left locked below folders that this process has claimed.

    Args:
        locks: Snakemake's folder of them, each a list of files; they name no process.
        claimed: folders, relative as Snakemake writes them.

    Returns:
        How many there were.
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
            continue  # another Snakemake, of another experiment, ended
    return removed


def check_writable(folder: Path) -> None:
    """Find out before hours of training whether results can be written at all.

    Raises:
        UserError: where `folder` or what it will be made in cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"cannot write below {folder}: {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise UserError(f"cannot write below {folder}: {there} is read-only for this user")


def date_now(folders: Iterable[Path]) -> int:
    """Date what is dated in the future now, and say how many files that were.

    Snakemake takes what is made from such a file for older than it, and deletes it: hours of
    training, where a clock has been set back.
    """
    now = time.time()
    dated = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                # another's file, or one that is gone by now
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime > now and not path.is_symlink():
                        os.utime(path, (now, now))
                        dated += 1
    return dated
