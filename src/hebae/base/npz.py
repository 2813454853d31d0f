"""Arrays from .npz files that may be missing, cut short, altered or something else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names. Raises ValueError with a short reason in one line.

    Nothing in the file is executed, and the checksums of the archive are compared. A file that
    this user may not read is a PermissionError.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except PermissionError:
        raise  # which is no damage
    except Exception as error:  # numpy and zipfile state no list of what reading may raise
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise ValueError(reason or type(error).__name__) from None
