"""Choosing and checking the rows of tables that a figure or another reader is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.run import Run


def rows(
    tables: Mapping[str, pd.DataFrame],
    name: str,
    runs: Collection[Run],
    values: Sequence[str],
    by: Sequence[str] = (),
    each: Callable[[Run], int] | None = None,
    finite: bool = True,
    texts: Sequence[str] = (),
    **equal: str,
) -> pd.DataFrame:
    """The rows of some runs in which the columns `equal` have these values.

    Args:
        values: columns of numbers. Single ones may be missing or infinite (a run that diverged):
            they are NaN.
        by: columns of numbers that tell the rows of a run apart.
        each: how many rows a run has; where absent, all runs must have the same number.
        finite: whether every model must have finite values.
        texts: other columns that there must be, left as they are.

    Raises:
        UserError: naming the file and what it lacks.
    """
    table = tables[name]
    file = table.attrs.get("file", name)
    keys = pd.DataFrame([run.identity for run in runs]).astype({"weight": float})
    for column in (*keys, *by, *values, *texts, *equal):
        if column not in table:
            raise UserError(f"{file}: no column {column!r}")
    for column, value in equal.items():
        table = table[table[column] == value]
    table = keys.merge(table, how="left", indicator="found")
    table = table[table.pop("found") == "both"]
    counts = table.groupby(list(keys)).size().reindex(pd.MultiIndex.from_frame(keys), fill_value=0)
    for run, found in zip(runs, counts, strict=True):
        expected = each(run) if each else max(1, counts.max())
        if found != expected:
            of = "".join(f", {column} {value}" for column, value in equal.items())
            raise UserError(f"{file}: {run.path}{of}: {counted(found, 'row')}, expected {expected}")
    twice = table[table.duplicated([*keys, *by])]
    if not twice.empty:
        where = ", ".join(f"{column} {twice[column].iloc[0]}" for column in (*keys, *by))
        raise UserError(f"{file}: two rows with {where}")
    group = [key for key in keys if key != "seed"]
    alike = table.groupby([*group, *by])["seed"].transform("size")
    if by and (alike != table.groupby(group)["seed"].transform("nunique")).any():
        raise UserError(f"{file}: the seeds of a model differ in {' and '.join(by)}")
    for column in (*by, *values):
        try:
            numbers = table[column].astype(float)
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}: column {column!r}: {error}") from None
        table[column] = numbers.where(np.isfinite(numbers))
        some = np.isfinite(table[column]).groupby(table["model"]).any()
        for model in some.index[~some] if finite else ():
            raise UserError(f"{file}: no finite {column} of {model}")
    return table
