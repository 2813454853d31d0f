"""Checks before a dataset is prepared, that is, before anything is deleted or downloaded."""

from __future__ import annotations

from pathlib import Path

from hebae.base.errors import UserError
from hebae.config.registry import DATASETS
from hebae.data.found import there
from hebae.data.raw import Settled

DEFAULT = Path("data")
"""The only ``data_dir`` that downloads may create."""


def check_data_dir(data_dir: Path) -> None:
    """Raise UserError if the user set a ``data_dir`` that does not exist: a mistyped one."""
    if data_dir != DEFAULT and not there(data_dir):
        raise UserError(
            f"data_dir {data_dir} is not there; correct it, or make the folder if raw data is to "
            "be downloaded to it"
        )


def check(label: str, source: str, data_dir: Path, folder: Path, settled: Settled) -> None:
    """Check that a dataset can be prepared, as far as that is known in advance.

    Args:
        folder: the folder of the prepared dataset. Snakemake empties it when the job begins.

    Raises:
        UserError: if it cannot be prepared, or if prepared arrays would be lost and raw data is
            gone.
    """
    entry = DATASETS[source]
    if entry.look or entry.raw:
        check_data_dir(data_dir)
    if not settled.whole and (folder / "dataset.json").exists():
        raise UserError(
            f"{folder} would be deleted and prepared anew, but the raw data of {label} is no "
            f"longer in {data_dir}: put it back or correct data_dir; or, to have what can be "
            f"downloaded, delete {folder} yourself"
        )


def downloads(source: str, data_dir: Path, settled: Settled) -> list[str]:
    """Messages about missing raw data, and about what will be downloaded."""
    if settled.missing:
        return [f"{', '.join(settled.missing)} not in {data_dir}: to be downloaded"]
    names = DATASETS[source].raw
    return [] if settled.whole else [f"{', '.join(names)} not in {data_dir} or its {source}"]
