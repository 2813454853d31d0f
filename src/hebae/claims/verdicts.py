"""The words of a verdict, and ``claims.csv`` as pages and tables read it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hebae.base.errors import UserError
from hebae.base.text import listed, number, with_interval
from hebae.claims.measures import MEASURES

COLUMNS = (
    "claim",
    "figure",
    "dataset",
    "latent_dim",
    "statement",
    "measure",
    "part",
    "reading",
    "estimate",
    "ci_low",
    "ci_high",
    "beside",
    "n_seeds",
    "seeds_needed",
    "verdict",
    "note",
    "withdrawn",
)
PART_COLUMNS = (
    "claim",
    "figure",
    "dataset",
    "latent_dim",
    "measure",
    "reading",
    "where",
    "part",
    "n_seeds",
    "estimate",
    "ci_low",
    "ci_high",
    "test",
    "effect",
    "p_above",
    "p_below",
    "p_holm",
)
"""The columns of ``claims.csv`` and of ``claim_parts.csv``."""
FEWEST = 4
"""The fewest seeds that can decide a claim, as ``seeds:`` in config/claims.yaml asks."""
MOST = 200
"""The most seeds that are asked for; where more are needed, their number is infinite."""
WAITS = "waits for"
"""How the note of a test begins of which runs are missing."""
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

    A claim that was not run has no ``dataset`` and no ``latent_dim``. ``part`` is the part that the
    verdict rests on, with its ``estimate`` and interval (``low`` to ``high``), which may be None.
    ``beside`` has numbers to read with it. ``seeds_needed`` counts all seeds, not only additional
    ones: the fewest that can decide the claim where it has fewer, else the number that would
    probably decide it (infinite above MOST). It is None where the claim is not undecided, or where
    no number of seeds decides it. ``note`` says what a reader must know, or why the claim was not
    run. ``withdrawn`` is the reason for withdrawing the verdict, or empty.
    """

    claim: str
    figure: str
    dataset: str
    latent_dim: int | None
    statement: str
    measure: str
    part: str
    reading: str
    estimate: float | None
    low: float | None
    high: float | None
    beside: str
    n_seeds: int
    seeds_needed: float | None
    verdict: Verdict
    note: str
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
    def place(self) -> str:
        """The latent dimension, as z = 8; empty for a claim that was not run."""
        return "" if self.latent_dim is None else f"z = {self.latent_dim}"

    @property
    def measured(self) -> str:
        """What the estimate is of: the measure in words, the part, the latent dimension."""
        said = ", ".join(filter(None, (self.part, self.place)))
        return ": ".join(filter(None, (MEASURES[self.measure].text, said)))

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
    def waits(self) -> bool:
        """Whether runs are missing, so that it was not judged yet."""
        return self.note.startswith(WAITS)

    @property
    def remark(self) -> str:
        """How many seeds an undecided claim needs; empty for other verdicts."""
        if self.shown is not Verdict.UNDECIDED or self.seeds_needed is None:
            return ""
        if math.isinf(self.seeds_needed):
            return f"more than {MOST} seeds in all would probably be needed"
        if self.too_few:
            return f"at least {self.seeds_needed:g} seeds are needed to decide"
        return f"{self.seeds_needed:g} seeds in all would probably decide"

    @property
    def text(self) -> str:
        """The verdict, with the remark and the note where there are any."""
        return "; ".join(filter(None, (self.shown, self.remark, self.note)))


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
    if seeds_needed is not None and verdict is not Verdict.UNDECIDED:
        raise ValueError("seeds are needed where a claim is undecided, and nowhere else")
    return Finding(
        claim=row["claim"],
        figure=row["figure"],
        dataset=row["dataset"],
        latent_dim=int(row["latent_dim"]) if row["latent_dim"] else None,
        statement=row["statement"],
        measure=row["measure"],
        part=row["part"],
        reading=row["reading"],
        estimate=optional_number(row["estimate"]),
        low=optional_number(row["ci_low"]),
        high=optional_number(row["ci_high"]),
        beside=row["beside"],
        n_seeds=int(row["n_seeds"]),
        seeds_needed=seeds_needed,
        verdict=verdict,
        note=row["note"],
        withdrawn=row["withdrawn"],
    )


def counts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """How many there are of each verdict as shown, the verdicts in their order."""
    found = [finding.shown for finding in findings]
    return {verdict: found.count(verdict) for verdict in Verdict}


WORDS = {
    Verdict.HOLDS: ("holds", "holds at"),
    Verdict.FAILS: ("does not hold", "not at"),
    Verdict.UNDECIDED: ("undecided", "undecided at"),
    Verdict.WITHDRAWN: ("withdrawn", "withdrawn at"),
}
"""How a verdict begins a list of latent dimensions, and how it goes on after another one."""


def across(findings: Sequence[Finding]) -> str:
    """One claim by one measure on one dataset: "✓ holds at z = 16, ✗ not at 8 and 10".

    A single word where the verdict is the same at every latent dimension.
    """
    at: dict[Verdict, list[int]] = {verdict: [] for verdict in Verdict}
    for finding in findings:
        if finding.latent_dim is not None:
            at[finding.shown].append(finding.latent_dim)
    found = {verdict: dims for verdict, dims in at.items() if dims}
    if not found:
        return Verdict.NOT_RUN.sign
    texts = []
    for verdict, dims in found.items():
        first, after = WORDS[verdict]
        words = f"{after} " if texts else f"{first} at z = "
        said = str(verdict) if len(found) == 1 else words + listed(sorted(dims))
        texts.append(f"{verdict.sign} {said}")
    return ", ".join(texts)
