"""Checkpoints, from which a killed training continues.

The workflow does not declare their folder, because Snakemake deletes declared outputs if a job
fails. Their key is a hash of everything that decides the run, so a changed config, dataset or line
of code starts from the beginning.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import pickle
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from hebae.base import files
from hebae.base.errors import UserError

SHARE_OF_TIME = 0.01  # the largest share of a training that goes into writing checkpoints
FULL = (errno.ENOSPC, errno.EDQUOT)


class Checkpoints:
    """The two newest checkpoints of a run.

    Args:
        folder: the run's own folder. Checkpoints with other keys stay in it until a training ends,
            so a config that is changed back continues where it was.
        key: identifies the training.
        every: least number of seconds between two writes. An epoch that ends sooner is not written,
            and is trained again if the process dies. If writing is slow, the pauses are longer
            (:data:`SHARE_OF_TIME`). 0 writes after every epoch.
    """

    def __init__(self, folder: Path, key: str, every: float) -> None:
        self.folder = folder
        self.path = folder / f"{key}.pt"
        self.previous = folder / f"{key}.previous.pt"
        self.every = every
        self._next = time.monotonic() + every

    def load(self) -> dict[str, Any] | None:
        """The last intact state, or None if there is none.

        A file begins with the SHA-256 of the rest, because PyTorch reads damaged tensors silently.
        """
        for path in (self.path, self.previous):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            digest, state = content[:32], content[32:]
            if hashlib.sha256(state).digest() == digest:
                # weights_only: a checkpoint is data, never code
                with contextlib.suppress(pickle.UnpicklingError):
                    return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
            print(f"removing a damaged checkpoint: {path}", file=sys.stderr, flush=True)
            path.unlink()
        return None

    def offer(self, state: dict[str, Any]) -> None:
        """Write the state, unless the last write is too recent.

        Raises:
            UserError: if there is no space for it; the last checkpoint is kept.
        """
        started = time.monotonic()
        if started < self._next:
            return
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        try:
            self._write(content)
        except OSError as error:
            if error.errno not in FULL:
                raise
            # one new checkpoint is worth more than two old ones
            if self.path.exists():
                self.previous.unlink(missing_ok=True)
            try:
                self._write(content)
            except OSError as error:
                free = shutil.disk_usage(self.folder).free
                kept = (
                    "the last one is kept: " if self.path.exists() or self.previous.exists() else ""
                )
                raise UserError(
                    f"no space for a checkpoint of {len(content) / 1e6:.1f} MB in {self.folder} "
                    f"({free / 1e6:.1f} MB free): {error.strerror}; {kept}"
                    "make room, and give the same command again"
                ) from None
        ended = time.monotonic()
        if self.every:
            self._next = ended + max(self.every, (ended - started) / SHARE_OF_TIME)

    def _write(self, content: memoryview) -> None:
        with files.replacing(self.path, keep=self.previous) as stream:
            stream.write(hashlib.sha256(content).digest())
            stream.write(content)

    def clear(self) -> None:
        """Delete the checkpoints of a finished run."""
        for path in self.folder.glob("*.pt"):
            path.unlink(missing_ok=True)
