"""Files and folders that this user may not read, also where the user is root."""

import io
import os
from pathlib import Path


def close(monkeypatch, path: Path) -> None:
    """Have every attempt to open a path fail as one on a closed file does."""

    def refusing(open_):
        def refuse(name, *arguments, **options):
            if not isinstance(name, int) and Path(name) == path:
                raise PermissionError(13, "Permission denied", str(name))
            return open_(name, *arguments, **options)

        return refuse

    for module in (os, io):
        monkeypatch.setattr(module, "open", refusing(module.open))
