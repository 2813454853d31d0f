"""Checkpoints: what a killed training continues from.

They live in a folder that the workflow does not declare, since declared outputs are deleted
when a job fails, and are keyed by a hash of everything that determines the run: a changed
config, dataset or line of code starts afresh.
"""

from __future__ import annotations

import io
import pickle
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
        folder: the run's own folder.
        every: least number of seconds between two writes; an epoch that ends sooner is not
            written, and is trained again should the process die.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self.path = folder / "checkpoint.pt"
        self.every = every
        self._written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state written, or None where there is none that can be read."""
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            print(f"ignoring an unreadable checkpoint ({error}): {self.path}", file=sys.stderr)
            return None

    def offer(self, state: dict[str, Any]) -> None:
        """Write the state, unless the last write is too recent."""
        if time.monotonic() - self._written < self.every:
            return
        buffer = io.BytesIO()
        torch.save(state, buffer)
        files.write_bytes(self.path, buffer.getbuffer())
        self._written = time.monotonic()

    def remove(self) -> None:
        """Forget everything: the run is complete."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
