"""The claims' verdicts as pages and captions read them, from ``claims.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hebae.base.errors import UserError
from hebae.base.text import number, with_interval

COLUMNS = (
    "claim",
    "figure",
    "statement",
    "measure",
    "estimate",
    "ci_low",
    "ci_high",
    "n_seeds",
    "verdict",
)
Row = dict[str, str]


class Kind(NamedTuple):
    """A kind of verdict: how it begins, the sign beside its words, and its colours."""

    begins: str
    symbol: str
    style: str


KINDS = (
    Kind("holds", "✓", "holds"),
    Kind("does not hold", "✗", "fails"),
    Kind("undecided", "?", "undecided"),
    Kind("not run here", "–", "notrun"),
)


@dataclass(frozen=True)
class Verdict:
    """A row of ``claims.csv``: what an experiment says of a claim by one measure.

    ``estimate``, ``low`` and ``high`` are None where there is none.
    """

    claim: str
    figure: str
    statement: str
    measure: str
    estimate: float | None
    low: float | None
    high: float | None
    n_seeds: int
    verdict: str
    kind: Kind

    @property
    def value(self) -> str:
        """The estimate with its interval, as far as there are any."""
        if self.estimate is None:
            return ""
        if self.low is None or self.high is None:
            return number(self.estimate)
        return with_interval(self.estimate, self.low, self.high)


def read_rows(path: Path, columns: Iterable[str], delimiter: str = ",") -> list[Row]:
    """The rows of a table that must have these columns.

    Raises:
        UserError: for a file that is missing, is no table, or lacks a column.
    """
    try:
        stream = io.StringIO(path.read_text("utf-8"), newline="")
        reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
        rows = list(reader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table: {error}") from None
    for column in columns:
        if column not in (reader.fieldnames or ()):
            raise UserError(f"{path}: no column {column!r}; delete the file, and it is made again")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{path}: row {line} has not as many fields as there are columns")
    return rows


def optional_number(text: str) -> float | None:
    """A number, or None where the field is empty."""
    return float(text) if text else None


def read_verdicts(path: Path) -> list[Verdict]:
    """What ``claims.csv`` says, in its order.

    Raises:
        UserError: for a file that is not that table.
    """
    verdicts = []
    for line, row in enumerate(read_rows(path, COLUMNS), 2):
        try:
            verdicts.append(
                Verdict(
                    claim=row["claim"],
                    figure=row["figure"],
                    statement=row["statement"],
                    measure=row["measure"],
                    estimate=optional_number(row["estimate"]),
                    low=optional_number(row["ci_low"]),
                    high=optional_number(row["ci_high"]),
                    n_seeds=int(row["n_seeds"]),
                    verdict=row["verdict"],
                    kind=next(kind for kind in KINDS if row["verdict"].startswith(kind.begins)),
                )
            )
        except ValueError as error:
            raise UserError(f"{path}: row {line}: {error}") from None
        except StopIteration:
            raise UserError(f"{path}: row {line}: unknown verdict {row['verdict']!r}") from None
    return verdicts


def counts(verdicts: Iterable[Verdict]) -> dict[Kind, int]:
    """How many there are of each kind, the kinds in their order."""
    found = [verdict.kind for verdict in verdicts]
    return {kind: found.count(kind) for kind in KINDS}
