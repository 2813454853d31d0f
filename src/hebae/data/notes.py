"""Notes for the user about how raw data was understood."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """What a person should know of how raw data was understood."""

    text: str
    """A sentence. Its paths are relative to data_dir, so it is the same on every machine."""
    caption: str = ""
    """The words for captions of figures; empty for most notes."""


def notes_of(manifest: Path) -> tuple[Note, ...]:
    """The notes in a ``dataset.json``; empty if it is missing or older than notes are."""
    try:
        return tuple(Note(**note) for note in json.loads(manifest.read_bytes()).get("notes", ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return ()
