"""Reading the tidy tables that an experiment's runs are collected into."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hebae.base.errors import UserError


def read_table(path: Path) -> pd.DataFrame:
    """A tidy table; ``attrs["file"]`` is its path, for messages."""
    identity = {"dataset": str, "model": str, "latent_dim": int, "seed": int}
    try:
        table = pd.read_csv(path, dtype=identity, converters={"weight": float})
    except FileNotFoundError:
        raise UserError(f"{path}: no such table") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the table is empty") from None
    except ValueError as error:  # pandas' ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path}: not a table: {' '.join(str(error).split())}") from None
    if table.empty:
        raise UserError(f"{path}: the table is empty")
    table.attrs["file"] = str(path)
    return table
