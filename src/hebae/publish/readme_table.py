"""Tables of verdicts in documents: ``python -m hebae.publish.readme_table --help``.

All are made of ``docs/results/*/tables/claims.csv``, and leave out what was run nowhere. README
has each of the paper's claims with its verdicts in short (:func:`by_claim`).
``docs/results/README.md`` has claims by each measure, with the estimate that the verdict rests on
(:func:`by_measure`), and ``docs/infovae.md`` has those of InfoVAE's paper (:func:`on_infovae`). A
document marks the place of a table by two comments, and ``--into`` replaces what stands between
them.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.text import counted, listed
from hebae.claims.read import Claim, Claims
from hebae.claims.verdicts import Finding, Verdict, across, counts, read_findings
from hebae.config.experiment import Experiment
from hebae.publish.page import PAGE, escaped, markdown_table, measure_text
from hebae.publish.results import (
    CONFIG,
    PUBLISHED,
    all_published,
    checkout_claims,
    read_experiment,
)

Published = Mapping[Path, Sequence[Finding]]
"""The verdicts of published experiments, by their folders."""


def read_published(folders: Sequence[Path]) -> Published:
    """The verdicts of published experiments."""
    return {folder: read_findings(folder / "tables/claims.csv") for folder in folders}


def by_claim(claims: Claims, published: Published, document: Path) -> str:
    """A row a claim of the paper that any of the experiments has judged: the verdicts alone."""
    shown = [claim for claim in claims.claims if of_the_paper(claim)]
    of = _on(shown, published)
    rows = []
    for claim in shown:
        cells = [
            short_cell(_about(claim, findings), latent_dims_of(findings))
            for findings in of.values()
        ]
        if _any_run(cells):
            rows.append([claim.statement, *cells])
    return markdown_table(["claim of the paper", *_titles(of, document)], rows)


def by_measure(claims: Claims, published: Published, document: Path) -> str:
    """A row a claim and measure, a column an experiment; :func:`on_infovae` has InfoVAE's."""
    shown = [claim for claim in claims.claims if not of_infovae(claim)]
    return _by_measure(shown, published, document)


def on_infovae(claims: Claims, published: Published, document: Path) -> str:
    """A row a claim of InfoVAE's paper and measure, a column an experiment."""
    return _by_measure([one for one in claims.claims if of_infovae(one)], published, document)


def _by_measure(shown: Sequence[Claim], published: Published, document: Path) -> str:
    of = _on(shown, published)
    rows = []
    for claim in shown:
        said = f"{claim.statement} <sub>{claim.where}</sub>"
        for name in claim.measures:
            cells = [
                long_cell([one for one in _about(claim, findings) if one.measure == name])
                for findings in of.values()
            ]
            if _any_run(cells):
                rows.append([said, measure_text(name), *cells])
                said = ""  # said once
    table = markdown_table(["claim", "measure", *_titles(of, document)], rows)
    reasons = dict.fromkeys(
        f"⊘ Withdrawn: {escaped(one.withdrawn)}."
        for findings in of.values()
        for one in findings
        if one.withdrawn
    )
    return "\n\n".join((table, *reasons))


def _on(shown: Sequence[Claim], published: Published) -> Published:
    """What was found on these claims."""
    names = {claim.id for claim in shown}
    return {
        folder: [one for one in findings if one.claim in names]
        for folder, findings in published.items()
    }


TABLES: dict[str, Callable[[Claims, Published, Path], str]] = {
    "verdicts": by_claim,
    "verdicts by measure": by_measure,
    "verdicts on InfoVAE": on_infovae,
}
"""By the name in the comment that marks a table's place."""
PLACE = re.compile(
    rf"(<!-- ({'|'.join(TABLES)}): python -m hebae\.publish\.readme_table --into [\w./-]+ -->\n)"
    r"(.*?)(<!-- end -->)",
    re.DOTALL,
)


def _any_run(cells: Sequence[str]) -> bool:
    return set(cells) != {Verdict.NOT_RUN.sign}


def of_the_paper(claim: Claim) -> bool:
    """Whether the HEBAE paper makes a claim: not InfoVAE's, not the released code, not we."""
    return claim.where.startswith("paper")


def of_infovae(claim: Claim) -> bool:
    """Whether InfoVAE's paper makes a claim."""
    return claim.where.startswith("info")


def latent_dims_of(findings: Sequence[Finding]) -> set[int]:
    """The latent dimensions at which anything was judged."""
    return {
        one.latent_dim
        for one in findings
        if one.n_seeds and not one.waits and one.latent_dim is not None
    }


def only_at(findings: Sequence[Finding], latent_dims: Collection[int]) -> str:
    """ " at z = 10", where a column has verdicts at more latent dimensions than these."""
    own = latent_dims_of(findings)
    return f" at z = {listed(sorted(own))}" if own and own < set(latent_dims) else ""


def short_cell(findings: Sequence[Finding], latent_dims: Collection[int]) -> str:
    """A claim's verdicts in words: by the paper's measures, and by fair ones where they differ.

    ``latent_dims`` are those of the column, which need no mention.
    """
    paper, fair = (
        _said([one for one in findings if one.value and one.reading == reading], latent_dims)
        for reading in ("paper", "fair")
    )
    if not paper and not fair:
        return Verdict.NOT_RUN.sign
    return paper if fair in ("", paper) else f"{paper}, *fair:* {fair}".removeprefix(", ")


def _said(findings: Sequence[Finding], latent_dims: Collection[int]) -> str:
    """Where the verdicts hold; how many there are of each where measures or datasets differ."""
    texts = {across(group) for group in _by_test(findings)}
    if len(texts) < 2:
        text = "".join(texts)
        return text if " at z = " in text else text + only_at(findings, latent_dims)
    return ", ".join(
        f"{verdict.sign} {verdict} ({n} of {len(findings)})"
        for verdict, n in counts(findings).items()
        if n
    )


def _by_test(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings of each measure on each dataset: one for each latent dimension."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.dataset, one.measure), []).append(one)
    return list(groups.values())


def long_cell(findings: Sequence[Finding]) -> str:
    """A claim's verdicts by one measure, each with the estimate that it rests on."""
    texts = []
    for group in _by_test([one for one in findings if one.value]):
        texts.append(across(group))
        for one in group:
            said = filter(None, (one.remark, one.note, one.beside))
            about = ", ".join(filter(None, (one.part, one.place)))
            texts.append(f"<sub>{escaped('; '.join((f'{about}: {one.value}', *said)))}</sub>")
    return "<br>".join(texts) or Verdict.NOT_RUN.sign


def _about(claim: Claim, findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.claim == claim.id]


def _titles(published: Published, document: Path) -> list[str]:
    """What heads the columns: a name with a link to the page, and what the verdicts rest on."""
    return [_title(folder, findings, document) for folder, findings in published.items()]


def _title(folder: Path, findings: Sequence[Finding], document: Path) -> str:
    """The dataset names the experiment where one alone was judged."""
    experiment = read_experiment(folder / CONFIG)
    datasets = dict.fromkeys(
        experiment.datasets[finding.dataset].title for finding in findings if finding.n_seeds
    )
    name = next(iter(datasets)) if len(datasets) == 1 else experiment.name
    page = Path(os.path.relpath(folder / PAGE, document.parent)).as_posix()
    return f"[{escaped(name)}]({page}), {scope(experiment, findings)}"


def scope(experiment: Experiment, findings: Sequence[Finding]) -> str:
    """What the verdicts rest on: "z = 10, 6 seeds".

    The latent dimensions are left out where all that the judged datasets have were judged.
    """
    run = [finding for finding in findings if finding.n_seeds]
    judged = [finding for finding in run if not finding.waits] or run
    seeds = counted(max((finding.n_seeds for finding in judged), default=0), "seed")
    places = {(finding.dataset, finding.latent_dim) for finding in judged}
    asked = {(name, dim) for name, _ in places for dim in experiment.datasets[name].latent_dims}
    if places == asked:
        return seeds
    return f"z = {listed(sorted({dim for _, dim in places if dim is not None}))}, {seeds}"


def experiments_in(text: str) -> list[str]:
    """The experiments to whose pages the head of a table links, in their order."""
    head = text.strip().partition("\n")[0]
    # a dataset's title may have such brackets too, but the first of them escaped
    return re.findall(rf"(?<!\\)\]\((?:[^)]*/)?([^/()]+)/{re.escape(PAGE)}\)", head)


def filled(document: Path, names: Sequence[str], published: Path) -> str:
    """The text of a document with its tables made anew.

    Args:
        document: a file with a place for a table.
        names: experiments; where there are none, those that each table has, or else all.
        published: the folder of all of them.

    Raises:
        UserError: for a file without such a place.
    """
    claims = checkout_claims()

    def fill(place: re.Match[str]) -> str:
        begin, name, before, end = place.groups()
        of = names or experiments_in(before) or all_published(published)
        table = TABLES[name](claims, read_published([published / one for one in of]), document)
        return f"{begin}\n{table}\n\n{end}"

    text, places = PLACE.subn(fill, document.read_text(encoding="utf-8"))
    if not places:
        raise UserError(
            f"{document}: has no place for a table: <!-- NAME: python -m "
            f"hebae.publish.readme_table --into {document} --> and <!-- end -->, "
            f"where NAME is one of: {', '.join(TABLES)}"
        )
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tables of verdicts of published experiments.")
    parser.add_argument(
        "experiments",
        nargs="*",
        help="in this order; where none is named, those that each table has, or else all",
    )
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="folder of all of them")
    parser.add_argument("--into", type=Path, required=True, help="file whose tables to replace")
    options = parser.parse_args(arguments)
    text = filled(options.into, options.experiments, options.published)
    files.write_bytes(options.into, text.encode())


if __name__ == "__main__":
    command(main)
