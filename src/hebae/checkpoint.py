"""Checkpoints: what a killed training continues from.

They live in a folder that the workflow does not declare, since declared outputs are deleted
when a job fails, and are keyed by a hash of everything that determines the run: a changed
config, dataset or line of code starts afresh.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from hebae import files


class Checkpoints:
    """The one newest checkpoint of a run.

    Args:
        folder: the run's own folder; what it holds under other keys can never be used again
            and is removed.
        key: names what is being trained.
        every: least number of seconds between two writes; an epoch that ends sooner is not
            written, and is trained again should the process die.
    """

    def __init__(self, folder: Path, key: str, every: float) -> None:
        self.folder = folder
        self.path = folder / f"{key}.pt"
        self.every = every
        self._written = time.monotonic()
        for path in folder.glob("*"):
            if path != self.path:
                path.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The last state written, or None where there is none that is whole.

        A file begins with the SHA-256 of the rest: PyTorch reads damaged tensors in silence.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        digest, state = content[:32], content[32:]
        if hashlib.sha256(state).digest() != digest:
            print(f"ignoring a damaged checkpoint: {self.path}", file=sys.stderr)
            return None
        return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)

    def offer(self, state: dict[str, Any]) -> None:
        """Write the state, unless the last write is too recent."""
        if time.monotonic() - self._written < self.every:
            return
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with files.replacing(self.path) as stream:
            stream.write(hashlib.sha256(buffer.getbuffer()).digest())
            stream.write(buffer.getbuffer())
        self._written = time.monotonic()

    def remove(self) -> None:
        """Forget everything: the run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
