"""Files and folders that this user may not read, also where the user is root."""

import io
import os
from pathlib import Path


def close(monkeypatch, path: Path) -> None:
    """Have every attempt to open a path, or to look into it, fail as on a closed one."""

    def refusing(function, closed):
        def refuse(name, *arguments, **options):
            if not isinstance(name, int) and closed(Path(name)):
                raise PermissionError(13, "Permission denied", str(name))
            return function(name, *arguments, **options)

        return refuse

    for module in (os, io):
        monkeypatch.setattr(module, "open", refusing(module.open, lambda name: name == path))
    access = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: Path(name) != path and access(name, mode))
    monkeypatch.setattr(os, "stat", refusing(os.stat, lambda name: name.parent == path))
