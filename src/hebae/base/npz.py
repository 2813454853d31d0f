"""Reads arrays from .npz files that may be missing, cut short, altered or of another kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays with these names. Raises ValueError with a reason in one short line.

    Nothing in the file is executed, and the checksums of the archive are compared. Raises
    PermissionError for a file that this user may not read.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except PermissionError:
        raise  # the file is not damaged then
    except Exception as error:  # numpy and zipfile do not document what reading may raise
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise ValueError(reason or type(error).__name__) from None
