"""The verdicts of published experiments side by side: ``python -m hebae.summary --help``.

Prints the Markdown table with which README opens, from ``docs/results/*/tables/claims.csv``. With
``--into README.md`` it replaces what stands there between the two comments that mark its place.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hebae import files
from hebae.checkout import CHECKOUT
from hebae.claims import MEASURES, Claims, read_claims
from hebae.errors import UserError, command
from hebae.published import CONFIG, PUBLISHED, read_experiment

BEGIN, END = "<!-- verdicts: python -m hebae.summary --into README.md -->", "<!-- end -->"
MARKS = {"holds": "✓ holds", "does not hold": "✗ does not hold", "not run here": "–"}


def number(value: float) -> str:
    """Three digits, without an exponent where it can be."""
    if not math.isfinite(value):
        return str(value)
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}".replace("-", "−")


def cell(rows: pd.DataFrame) -> str:
    """A claim's verdict by one measure, with the estimate that it rests on."""
    texts = []
    for row in rows.itertuples():
        if row.verdict == "not run here":
            continue
        mark = MARKS.get(row.verdict, row.verdict.replace("more seeds needed: ", "seeds: "))
        interval = ""
        if math.isfinite(row.ci_low):
            interval = f" [{number(row.ci_low)}, {number(row.ci_high)}]"
        what = row.measure.partition(": ")[2]
        texts.append(f"{mark}<br><sub>{what}: {number(row.estimate)}{interval}</sub>")
    return "<br>".join(texts) or "–"


def table(claims: Claims, folders: Sequence[Path]) -> str:
    """A row a claim and measure that any of the experiments has judged, a column an experiment."""
    published = {folder: pd.read_csv(folder / "tables/claims.csv") for folder in folders}
    titles = [_title(folder, of) for folder, of in published.items()]
    lines = ["| claim | measure | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for claim in claims.claims:
        statement = claim.statement
        for measure in claim.measures:
            text, reading = MEASURES[measure].text, MEASURES[measure].reading
            cells = [
                cell(of[(of["claim"] == claim.id) & (of["measure"].map(_name) == text)])
                for of in published.values()
            ]
            if set(cells) == {"–"}:
                continue
            text = text.replace("|", "\\|")
            lines.append(
                f"| {statement} | {text}{' *(fair)*' * (reading == 'fair')} | "
                + " | ".join(cells)
                + " |"
            )
            statement = ""  # said once
    return "\n".join(lines)


def _name(measure: str) -> str:
    """A measure's text, without the part that a row names behind it."""
    known = [entry.text for entry in MEASURES.values() if measure.startswith(entry.text)]
    return max(known, key=len, default=measure)


def _title(folder: Path, claims: pd.DataFrame) -> str:
    experiment = read_experiment(folder / CONFIG)
    judged = claims[claims["n_seeds"] > 0]
    titles = dict.fromkeys(
        experiment.datasets[experiment.figures[figure]].title
        for figure in judged["figure"]
        if figure in experiment.figures
    )
    return f"[{experiment.name}](docs/results/{folder.name}/): {', '.join(titles)}"


def counts(claims: pd.DataFrame) -> dict[str, int]:
    """How many rows have which verdict."""
    kind = claims["verdict"].str.partition(" (")[0]
    return kind.value_counts().to_dict()


def into(path: Path, text: str) -> None:
    """Replace what stands between the two comments."""
    before = path.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(before):
        raise UserError(f"{path}: has no place for the table, {BEGIN} and {END}")
    files.write_bytes(path, pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", before).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The verdicts of published experiments.")
    parser.add_argument("experiments", nargs="*", help="in this order; all where none is named")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="folder of all of them")
    parser.add_argument("--into", type=Path, help="file whose table to replace")
    options = parser.parse_args(arguments)
    claims = read_claims(
        CHECKOUT / "config/claims.yaml", CHECKOUT / "workflow/schemas/claims.schema.yaml"
    )
    names = options.experiments or sorted(
        path.parent.name for path in options.published.glob(f"*/{CONFIG}")
    )
    text = table(claims, [options.published / name for name in names])
    if options.into:
        into(options.into, text)
    else:
        print(text)


if __name__ == "__main__":
    command(main)
