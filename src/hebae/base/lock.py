"""Locks that the kernel releases when their process ends, however it ends.

This is our own code because filelock does not name the holder, and raises if flock returns ENOLCK.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
import time
from pathlib import Path
from typing import TextIO


class Held(Exception):
    """Another process has the lock; the message names it."""


def hold(path: Path) -> TextIO:
    """Lock `path` until the returned file is closed or this process ends.

    The file names its holder. On a file system without locks, nothing is locked.

    Raises:
        Held: if another process has the lock, on this machine or on another one that shares the
            file system.
    """
    looked = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stream = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # the last holder has removed the folder in the meantime
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip()
            stream.close()
            if not looked:  # a call of is_held, which has the lock for a moment
                looked = True
                time.sleep(0.05)
                continue
            raise Held(holder or "another process") from None
        except OSError:
            return stream
        # the last holder may have removed the file in the meantime: then this lock is worthless
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                break
        stream.close()
    stream.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        stream.write(f"process {os.getpid()} on {platform.node()}, since {since}\n")
        stream.flush()
    except OSError as error:  # a write does not say where to
        error.filename = str(path)
        raise
    return stream


def is_held(path: Path) -> bool | None:
    """Whether a process has the lock; None if that cannot be known.

    For a lock of another machine, the answer is right only if the file system shares locks between
    machines. Otherwise the lock looks free.
    """
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # held until the file is closed
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def release(stream: TextIO, root: Path) -> None:
    """Release a lock, and remove its file and the folders that become empty, up to `root`."""
    path = Path(stream.name)
    path.unlink(missing_ok=True)
    for folder in path.parents:
        with contextlib.suppress(FileNotFoundError):
            if any(folder.iterdir()):
                break
            folder.rmdir()
        if folder == root:
            break
    stream.close()


def wait_for(path: Path, what: str, poll: float = 1.0) -> TextIO:
    """Like :func:`hold`, but wait while another process has the lock, and say so once.

    Such a process has outlived its Snakemake, which was killed. Killing the process too would lose
    what it did since its last checkpoint. Doing the same work a second time would waste a GPU.
    """
    told = False
    while True:
        try:
            return hold(path)
        except Held as holder:
            if not told:
                print(
                    f"{what} is already being made by {holder}; waiting",
                    file=sys.stderr,
                    flush=True,
                )
                told = True
            time.sleep(poll)
