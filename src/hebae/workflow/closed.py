"""Folders that this user may not look into."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def closed_folder(paths: Iterable[str]) -> Path | None:
    """The first closed folder above one of the paths; None if there is none.

    Asked for a file, a closed folder answers that it is not there.
    """

    @cache
    def closed(folder: Path) -> Path | None:
        if folder == folder.parent:
            return None
        if above := closed(folder.parent):
            return above
        return folder if folder.is_dir() and not os.access(folder, os.X_OK) else None

    return next(filter(None, (closed(Path(path).parent) for path in paths)), None)
