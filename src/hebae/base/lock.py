"""Locks that the kernel takes back when their process ends, however it ends.

Own code because filelock does not name the holder, and raises where flock answers ENOLCK.
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
    """Another process has the lock; the message says which."""


def hold(path: Path) -> TextIO:
    """Lock `path` until the returned file is closed or this process ends.

    The file names its holder. Where a file system knows no locks, nothing is locked.

    Raises:
        Held: where another process has it, on this machine or on another that shares the
            file system.
    """
    looked = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stream = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # its last holder has removed the folder in between
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip()
            stream.close()
            if not looked:  # by one who only asks is_held: it has the lock for a moment
                looked = True
                time.sleep(0.05)
                continue
            raise Held(holder or "another process") from None
        except OSError:
            return stream
        # its last holder may have removed it in between: then this is a lock on nothing
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
    """Whether a process has the lock; None where that cannot be known.

    On another machine's lock it is right where the file system passes locks on; one that keeps
    them to a machine has it look free.
    """
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until it is closed
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def release(stream: TextIO, root: Path) -> None:
    """Give a lock back, and remove its file and the folders that it leaves empty, up to `root`."""
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
    """Like :func:`hold`, and waits while another process has it, saying so once.

    Such a process is one whose Snakemake was killed alone. Killing it too would lose what it
    has done since its last checkpoint; doing the same beside it would waste a GPU.
    """
    told = False
    while True:
        try:
            return hold(path)
        except Held as holder:
            if not told:
                print(f"{what} is already made by {holder}; waiting", file=sys.stderr, flush=True)
                told = True
            time.sleep(poll)
