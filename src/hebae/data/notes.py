"""What a person should know of how raw data was understood."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """What a person should know of how raw data was understood."""

    text: str
    """A sentence; its paths are seen from the data_dir, so that it is the same on every machine."""
    caption: str = ""
    """What the caption of a figure says of it; most notes matter in none."""


def notes_of(manifest: Path) -> tuple[Note, ...]:
    """The notes in a ``dataset.json``; none where it is not there or from before there were any."""
    try:
        return tuple(Note(**note) for note in json.loads(manifest.read_bytes()).get("notes", ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return ()
