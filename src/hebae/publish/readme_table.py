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
from hebae.base.checkout import CHECKOUT
from hebae.base.errors import UserError, command
from hebae.base.text import counted
from hebae.claims.measures import MEASURES
from hebae.claims.read import Claims, read_claims
from hebae.claims.verdicts import KINDS, Verdict, counts, read_verdicts
from hebae.publish.results import CONFIG, PUBLISHED, read_experiment

Published = Mapping[str, Sequence[Verdict]]
NOT_RUN = KINDS[-1].symbol
READINGS = {measure.text: measure.reading for measure in MEASURES.values()}
BEGIN, END = (
    "<!-- verdicts: python -m hebae.publish.readme_table --into README.md -->",
    "<!-- end -->",
)


def cell(verdicts: Sequence[Verdict]) -> str:
    """A claim's verdicts by one measure, each with the estimate that it rests on."""
    texts = []
    for verdict in verdicts:
        if verdict.value:
            said = verdict.verdict.replace("more seeds needed: ", "seeds: ")
            what = verdict.measure.partition(": ")[2]
            texts.append(f"{verdict.kind.symbol} {said}<br><sub>{what}: {verdict.value}</sub>")
    return "<br>".join(texts) or NOT_RUN


def short_cell(verdicts: Sequence[Verdict]) -> str:
    """A claim's verdicts in words: by the paper's measures, and by the fair ones below."""
    texts = []
    for reading, label in (("paper", ""), ("fair", "*fair:* ")):
        of = [
            verdict
            for verdict in verdicts
            if verdict.value and READINGS[_name(verdict.measure)] == reading
        ]
        said = [
            f"{kind.symbol} {kind.begins}" + f" ({n} of {len(of)})" * (n < len(of))
            for kind, n in counts(of).items()
            if n
        ]
        if said:
            texts.append(label + ", ".join(said))
    return "<br>".join(texts) or NOT_RUN


def read_published(folders: Sequence[Path]) -> Published:
    """The verdicts of published experiments, each under what heads its column."""
    read = {folder: read_verdicts(folder / "tables/claims.csv") for folder in folders}
    return {_title(folder, verdicts): verdicts for folder, verdicts in read.items()}


def overview(claims: Claims, published: Published) -> str:
    """A row a claim of the papers, a column an experiment: the verdicts alone."""
    rows = []
    for claim in claims.claims:
        if not claim.in_a_paper:
            continue
        cells = [
            short_cell([one for one in of if one.claim == claim.id]) for of in published.values()
        ]
        rows.append([f"{claim.statement} <sub>{claim.where}</sub>", *cells])
    return _markdown(["claim", *published], rows)


def table(claims: Claims, published: Published) -> str:
    """A row a claim and measure that any of the experiments has judged, a column an experiment."""
    rows = []
    for claim in claims.claims:
        statement = claim.statement
        for measure in claim.measures:
            text, reading = MEASURES[measure].text, MEASURES[measure].reading
            cells = [
                cell([one for one in of if (one.claim, _name(one.measure)) == (claim.id, text)])
                for of in published.values()
            ]
            if set(cells) == {NOT_RUN}:
                continue
            text = text.replace("|", "\\|") + " *(fair)*" * (reading == "fair")
            rows.append([statement, text, *cells])
            statement = ""  # said once
    return _markdown(["claim", "measure", *published], rows)


def both(claims: Claims, folders: Sequence[Path]) -> str:
    """The verdicts in short, and folded away below them those of every measure."""
    published = read_published(folders)
    return "\n\n".join(
        (
            overview(claims, published),
            "<details><summary>By every measure, with estimates and intervals</summary>",
            table(claims, published),
            "</details>",
        )
    )


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
    seeds = counted(max((verdict.n_seeds for verdict in verdicts), default=0), "seed")
    return f"[{experiment.name}](docs/results/{folder.name}/): {'; '.join((*titles, seeds))}"


def place(path: Path) -> tuple[str, str, str]:
    """What a file has before the place of the tables, there, and behind it.

    Raises:
        UserError: for a file without the two comments.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    there, end, behind = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{path}: has no place for the tables, {BEGIN} and {END}")
    return before, there, behind


def shown(path: Path) -> list[str]:
    """The experiments that the tables of a file have, in their order."""
    return list(dict.fromkeys(re.findall(r"\]\(docs/results/([^/)]+)/\)", place(path)[1])))


def into(path: Path, text: str) -> None:
    """Replace what stands between the two comments."""
    before, _, behind = place(path)
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
    claims = read_claims(
        CHECKOUT / "config/claims.yaml", CHECKOUT / "workflow/schemas/claims.schema.yaml"
    )
    names = (
        options.experiments
        or (options.into and shown(options.into))
        or sorted(path.parent.name for path in options.published.glob(f"*/{CONFIG}"))
    )
    text = both(claims, [options.published / name for name in names])
    if options.into:
        into(options.into, text)
    else:
        print(text)


if __name__ == "__main__":
    command(main)
