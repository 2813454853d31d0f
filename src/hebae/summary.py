"""The verdicts of published experiments side by side: ``python -m hebae.summary --help``.

Prints the Markdown table with which README opens, from ``docs/results/*/tables/claims.csv``. With
``--into README.md`` it replaces what stands there between the two comments that mark its place.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from hebae import files
from hebae.checkout import CHECKOUT
from hebae.claims import MEASURES, Claims, read_claims
from hebae.errors import UserError, command
from hebae.published import CONFIG, PUBLISHED, read_experiment
from hebae.report.verdicts import Verdict, read_verdicts

BEGIN, END = "<!-- verdicts: python -m hebae.summary --into README.md -->", "<!-- end -->"


def cell(verdicts: Sequence[Verdict]) -> str:
    """A claim's verdicts by one measure, each with the estimate that it rests on."""
    texts = []
    for verdict in verdicts:
        if verdict.value:
            said = verdict.verdict.replace("more seeds needed: ", "seeds: ")
            what = verdict.measure.partition(": ")[2]
            texts.append(f"{verdict.kind.symbol} {said}<br><sub>{what}: {verdict.value}</sub>")
    return "<br>".join(texts) or "–"


def table(claims: Claims, folders: Sequence[Path]) -> str:
    """A row a claim and measure that any of the experiments has judged, a column an experiment."""
    published = {folder: read_verdicts(folder / "tables/claims.csv") for folder in folders}
    titles = [_title(folder, of) for folder, of in published.items()]
    lines = ["| claim | measure | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for claim in claims.claims:
        statement = claim.statement
        for measure in claim.measures:
            text, reading = MEASURES[measure].text, MEASURES[measure].reading
            cells = [
                cell([one for one in of if (one.claim, _name(one.measure)) == (claim.id, text)])
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


def _title(folder: Path, verdicts: Sequence[Verdict]) -> str:
    experiment = read_experiment(folder / CONFIG)
    titles = dict.fromkeys(
        experiment.datasets[experiment.figures[verdict.figure]].title
        for verdict in verdicts
        if verdict.n_seeds and verdict.figure in experiment.figures
    )
    return f"[{experiment.name}](docs/results/{folder.name}/): {', '.join(titles)}"


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
