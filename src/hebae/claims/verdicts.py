"""The words of a verdict, and ``claims.csv`` as pages and tables read it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hebae.base.errors import UserError
from hebae.base.text import number, with_interval
from hebae.claims.measures import MEASURES

COLUMNS = (
    "claim",
    "figure",
    "statement",
    "measure",
    "part",
    "reading",
    "estimate",
    "ci_low",
    "ci_high",
    "n_seeds",
    "seeds_needed",
    "verdict",
    "withdrawn",
)
FEWEST = 3
"""The fewest seeds that can decide a claim, as ``seeds:`` in config/claims.yaml asks."""
MOST = 200
"""The most seeds that are asked for; where more are needed, their number is infinite."""
Row = dict[str, str]


class Verdict(StrEnum):
    """The result of a test as a word, and the sign and the style that show it.

    Judging gives one of the first four. WITHDRAWN is shown instead where a claim's test was found
    to be wrong; the tables keep the verdict that was judged.
    """

    HOLDS = "holds", "✓", "holds"
    FAILS = "does not hold", "✗", "fails"
    UNDECIDED = "undecided", "?", "undecided"
    NOT_RUN = "not run here", "–", "notrun"
    WITHDRAWN = "withdrawn", "⊘", "withdrawn"

    sign: str
    style: str

    def __new__(cls, word: str, sign: str, style: str) -> Verdict:
        member = str.__new__(cls, word)
        member._value_, member.sign, member.style = word, sign, style
        return member


@dataclass(frozen=True)
class Finding:
    """A row of ``claims.csv``: what an experiment says of a claim by one measure.

    ``part`` is the part that the verdict rests on, with its ``estimate`` and interval (``low`` to
    ``high``), which may be None. ``seeds_needed`` counts all seeds, not only additional ones: the
    fewest that can decide the claim where it has fewer, else the number that would probably decide
    it (infinite above MOST). It is None unless the claim is undecided. ``withdrawn`` is the reason
    for withdrawing the verdict, or empty.
    """

    claim: str
    figure: str
    statement: str
    measure: str
    part: str
    reading: str
    estimate: float | None
    low: float | None
    high: float | None
    n_seeds: int
    seeds_needed: float | None
    verdict: Verdict
    withdrawn: str

    @property
    def value(self) -> str:
        """The estimate with its interval, as far as there are any."""
        if self.estimate is None:
            return ""
        if self.low is None or self.high is None:
            return number(self.estimate)
        return with_interval(self.estimate, self.low, self.high)

    @property
    def measured(self) -> str:
        """What the estimate is of: the measure in words, and the part."""
        text = MEASURES[self.measure].text
        return f"{text}: {self.part}" if self.part else text

    @property
    def shown(self) -> Verdict:
        """The verdict that readers see: WITHDRAWN where it is withdrawn."""
        withdrawn = self.withdrawn and self.verdict is not Verdict.NOT_RUN
        return Verdict.WITHDRAWN if withdrawn else self.verdict

    @property
    def too_few(self) -> bool:
        """Whether so few seeds were run that no values of theirs could decide the claim."""
        return self.n_seeds < FEWEST

    @property
    def remark(self) -> str:
        """How many seeds an undecided claim needs; empty for other verdicts."""
        if self.shown is not Verdict.UNDECIDED:
            return ""
        if math.isinf(self.seeds_needed):
            return f"more than {MOST} seeds in all would probably be needed"
        if self.too_few:
            return f"at least {self.seeds_needed:g} seeds are needed to decide"
        return f"{self.seeds_needed:g} seeds in all would probably decide"

    @property
    def text(self) -> str:
        """The verdict, with the remark where there is one."""
        return "; ".join(filter(None, (self.shown, self.remark)))


def read_rows(path: Path, columns: Iterable[str], delimiter: str = ",") -> list[Row]:
    """The rows of a table that must have these columns.

    Raises:
        UserError: for a file that is missing, is no table, or lacks a column.
    """
    try:
        stream = io.StringIO(path.read_text(encoding="utf-8"), newline="")
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


def read_findings(path: Path) -> list[Finding]:
    """What ``claims.csv`` says, in its order.

    Raises:
        UserError: for a file that is not that table.
    """
    findings = []
    for line, row in enumerate(read_rows(path, COLUMNS), 2):
        try:
            findings.append(_finding(row))
        except ValueError as error:
            raise UserError(f"{path}: row {line}: {error}") from None
    return findings


def _finding(row: Row) -> Finding:
    """A row, checked; what is wrong with it is a ValueError."""
    if row["measure"] not in MEASURES:
        raise ValueError(f"unknown measure {row['measure']!r}")
    verdict, seeds_needed = Verdict(row["verdict"]), optional_number(row["seeds_needed"])
    if verdict is Verdict.WITHDRAWN:
        raise ValueError("a claim is withdrawn in a column of its own")
    if (seeds_needed is None) == (verdict is Verdict.UNDECIDED):
        raise ValueError("seeds are needed where a claim is undecided, and nowhere else")
    return Finding(
        claim=row["claim"],
        figure=row["figure"],
        statement=row["statement"],
        measure=row["measure"],
        part=row["part"],
        reading=row["reading"],
        estimate=optional_number(row["estimate"]),
        low=optional_number(row["ci_low"]),
        high=optional_number(row["ci_high"]),
        n_seeds=int(row["n_seeds"]),
        seeds_needed=seeds_needed,
        verdict=verdict,
        withdrawn=row["withdrawn"],
    )


def counts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """How many there are of each verdict as shown, the verdicts in their order."""
    found = [finding.shown for finding in findings]
    return {verdict: found.count(verdict) for verdict in Verdict}
