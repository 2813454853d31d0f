"""README's table of verdicts: ``python -m hebae.publish.readme_table --help``.

Prints the two Markdown tables with which README opens, from ``docs/results/*/tables/claims.csv``:
each claim's verdicts in short, and each measure's with the estimate that it rests on. With
``--into README.md`` they replace what stands there between the two comments that mark their place.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.text import counted
from hebae.claims.measures import MEASURES
from hebae.claims.read import Claims
from hebae.claims.verdicts import Finding, Verdict, counts, read_findings
from hebae.publish.results import CONFIG, PUBLISHED, checkout_claims, read_experiment

Published = Mapping[str, Sequence[Finding]]
BEGIN, END = (
    "<!-- verdicts: python -m hebae.publish.readme_table --into README.md -->",
    "<!-- end -->",
)


def short_cell(findings: Sequence[Finding]) -> str:
    """A claim's verdicts in words: by the paper's measures, and by the fair ones below."""
    texts = []
    for reading, label in (("paper", ""), ("fair", "*fair:* ")):
        run = [one for one in findings if one.value and one.reading == reading]
        said = [
            f"{verdict.sign} {verdict}" + f" ({n} of {len(run)})" * (n < len(run))
            for verdict, n in counts(run).items()
            if n
        ]
        if said:
            texts.append(label + ", ".join(said))
    return "<br>".join(texts) or Verdict.NOT_RUN.sign


def long_cell(findings: Sequence[Finding]) -> str:
    """A claim's verdicts by one measure, each with the estimate that it rests on."""
    texts = [
        f"{one.shown.sign} {one.text}<br><sub>{one.part}: {one.value}</sub>"
        for one in findings
        if one.value
    ]
    return "<br>".join(texts) or Verdict.NOT_RUN.sign


def read_published(folders: Sequence[Path]) -> Published:
    """The verdicts of published experiments, each under what heads its column."""
    read = {folder: read_findings(folder / "tables/claims.csv") for folder in folders}
    return {_title(folder, findings): findings for folder, findings in read.items()}


def by_claim(claims: Claims, published: Published) -> str:
    """A row a claim of the papers, a column an experiment: the verdicts alone."""
    rows = []
    for claim in claims.claims:
        if not claim.in_a_paper:
            continue
        cells = [
            short_cell([one for one in findings if one.claim == claim.id])
            for findings in published.values()
        ]
        said = f"{claim.statement} <sub>{claim.where}</sub>"
        if claim.withdrawn:
            said += f"<br>*Withdrawn: {claim.withdrawn}.*"
        rows.append([said, *cells])
    return _markdown(["claim", *published], rows)


def by_measure(claims: Claims, published: Published) -> str:
    """A row a claim and measure that any of the experiments has judged, a column an experiment."""
    rows = []
    for claim in claims.claims:
        statement = claim.statement
        for name in claim.measures:
            cells = [
                long_cell([one for one in of if (one.claim, one.measure) == (claim.id, name)])
                for of in published.values()
            ]
            if set(cells) == {Verdict.NOT_RUN.sign}:
                continue
            measure = MEASURES[name]
            text = measure.text.replace("|", "\\|") + " *(fair)*" * (measure.reading == "fair")
            rows.append([statement, text, *cells])
            statement = ""  # said once
    return _markdown(["claim", "measure", *published], rows)


def verdict_tables(claims: Claims, folders: Sequence[Path]) -> str:
    """The verdicts in short, and folded away below them those of every measure."""
    published = read_published(folders)
    return "\n\n".join(
        (
            by_claim(claims, published),
            "<details><summary>By every measure, with estimates and intervals</summary>",
            by_measure(claims, published),
            "</details>",
        )
    )


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _title(folder: Path, findings: Sequence[Finding]) -> str:
    experiment = read_experiment(folder / CONFIG)
    titles = dict.fromkeys(
        experiment.datasets[experiment.figures[finding.figure]].title
        for finding in findings
        if finding.n_seeds and finding.figure in experiment.figures
    )
    seeds = counted(max((finding.n_seeds for finding in findings), default=0), "seed")
    return f"[{experiment.name}](docs/results/{folder.name}/): {'; '.join((*titles, seeds))}"


def around_tables(path: Path) -> tuple[str, str, str]:
    """What a file has before the tables, the tables, and what it has behind them.

    Raises:
        UserError: for a file without the two comments.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    tables, end, behind = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{path}: has no place for the tables, {BEGIN} and {END}")
    return before, tables, behind


def experiments_in(path: Path) -> list[str]:
    """The experiments that the tables of a file have, in their order."""
    tables = around_tables(path)[1]
    return list(dict.fromkeys(re.findall(r"\]\(docs/results/([^/)]+)/\)", tables)))


def replace_tables(path: Path, text: str) -> None:
    """Replace what stands between the two comments."""
    before, _, behind = around_tables(path)
    files.write_bytes(path, f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}".encode())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The verdicts of published experiments.")
    parser.add_argument(
        "experiments",
        nargs="*",
        help="in this order; where none is named, those that the file has, or else all",
    )
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="folder of all of them")
    parser.add_argument("--into", type=Path, help="file whose tables to replace")
    options = parser.parse_args(arguments)
    names = (
        options.experiments
        or (options.into and experiments_in(options.into))
        or sorted(path.parent.name for path in options.published.glob(f"*/{CONFIG}"))
    )
    text = verdict_tables(checkout_claims(), [options.published / name for name in names])
    if options.into:
        replace_tables(options.into, text)
    else:
        print(text)


if __name__ == "__main__":
    command(main)
