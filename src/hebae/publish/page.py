"""The page of a published experiment: ``docs/results/<experiment>/README.md``.

:func:`page_of` makes it from what is published beside it, and from nothing else:
:mod:`hebae.publish.results` writes it, and compares it when it verifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from hebae.base.errors import UserError
from hebae.base.text import listed
from hebae.claims.measures import MEASURES
from hebae.claims.verdicts import Finding, Verdict, counts, read_findings
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS, FIGURES
from hebae.facts.published import CAUTION, beside_published
from hebae.report.record import read_record
from hebae.tables.read import read_table

PAGE = "README.md"
SPECIAL = re.compile(r"[\\`*_\[\]|]|<(?=\S)|&(?=[#\w])|~(?=\S)|(?<=\S)~")
"""What Markdown may take for inline markup."""
BLOCK = re.compile(r"^(\d+(?=[.)](?: |$))|(?=[#>+-]))")
"""The place in the text of a paragraph before a character that would begin a block."""
NOTE = "<!-- Written by `python -m hebae.publish.results pages`. -->"


def escaped(text: str) -> str:
    """Text that Markdown takes literally, in one line."""
    return BLOCK.sub(r"\1\\", SPECIAL.sub(r"\\\g<0>", " ".join(text.split())))


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown themselves."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure_text(name: str) -> str:
    """A measure in words; *fair* where it means the same for all models."""
    measure = MEASURES[name]
    return escaped(measure.text) + " *(fair)*" * (measure.reading == "fair")


def verdict_text(finding: Finding) -> str:
    """A verdict and what is said beside it."""
    return f"{finding.shown.sign} {finding.text}"


def page_of(experiment: Experiment, folder: Path) -> str:
    """The page of a published experiment.

    Args:
        experiment: what the published config asks for.
        folder: has ``config.yaml``, ``figures/*.png``, each with its ``.json``, and
            ``tables/claims.csv``.

    Raises:
        UserError: for a table of claims or a figure's JSON that is missing or damaged.
    """
    # in the order of the registry, which is the paper's
    figures = [
        name
        for name in FIGURES
        if name in experiment.figures and (folder / f"figures/{name}.png").is_file()
    ]
    findings = read_findings(folder / "tables/claims.csv")
    if unknown := {one.figure for one in findings} - FIGURES.keys():
        raise UserError(f"{folder}/tables/claims.csv: unknown figure {min(unknown)!r}")
    parts = [
        NOTE,
        f"# {experiment.name}",
        *_header(folder / "config.yaml"),
        _what_was_run(experiment, folder),
        "## Figures",
        *(_figure(name, experiment, folder) for name in figures),
        *(_left_out(name, experiment) for name in experiment.figures if name not in figures),
        "## Verdicts",
        _verdicts(findings, experiment),
    ]
    return "\n\n".join(parts) + "\n"


def _header(config: Path) -> list[str]:
    """The comment that a config opens with: its command, and what the experiment is."""
    lines = config.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in takewhile(_is_comment, lines)]
    command, *paragraphs = "\n".join(comment).split("\n\n")
    return [f"```\n{command}\n```"] * bool(command) + [escaped(text) for text in paragraphs]


def _is_comment(line: str) -> bool:
    return line.startswith("#")


def _what_was_run(experiment: Experiment, folder: Path) -> str:
    seeds = [
        f"{_seeds(data.seeds)} ({escaped(data.title)})" for data in experiment.datasets.values()
    ]
    asked, table = len(experiment.runs()), folder / "tables/runs.csv"
    there = len(read_table(table)) if table.is_file() else 0
    missing = f" {there} of {asked} runs are published so far." if there < asked else ""
    return (
        f"Seeds: {'; '.join(dict.fromkeys(seeds))}.{missing} Here are the [config](config.yaml), "
        f"the [tables](tables/) and the [checksums](SHA256SUMS). [Results](../{PAGE}) has all "
        "experiments."
    )


def _seeds(seeds: Sequence[int]) -> str:
    """Each by its number, or the first and the last of many in a row."""
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return listed(seeds)


def _figure(name: str, experiment: Experiment, folder: Path) -> str:
    """The figure under its title, its caption where it has one, and what it was made from."""
    entry = FIGURES[name]
    title = f"{entry.title}: {entry.shows}"
    dataset = experiment.datasets[experiment.figures[name]].title
    path = folder / f"figures/{name}.json"
    try:
        record = read_record(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    parts = [f"### {title}", f"![{title}](figures/{name}.png)"]
    if caption := record.get("caption"):
        parts.append(escaped(caption))
    if name == "fig1b" and (folder / "tables/fid.csv").is_file():
        table = read_table(folder / "tables/fid.csv")
        if rows := beside_published(table, experiment, experiment.figures[name]):
            cells = [list(map(escaped, row)) for row in rows]
            parts += [CAUTION, markdown_table(["model", "FID", "source"], cells)]
    parts.append(f"*{escaped(dataset)}. [What it was made from](figures/{name}.json).*")
    return "\n\n".join(parts)


def _left_out(name: str, experiment: Experiment) -> str:
    """Why a figure of the experiment is not among the published ones."""
    source = DATASETS[experiment.datasets[experiment.figures[name]].source]
    withheld = FIGURES[name].needs_images and not source.redistributable
    reason = "its images may not be handed on" if withheld else "some of its runs are not published"
    return f"{FIGURES[name].title} is not here: {reason}."


def _verdicts(findings: Sequence[Finding], experiment: Experiment) -> str:
    """A row a test that was judged here; claims that were not run are left out."""
    judged = [one for one in findings if one.verdict is not Verdict.NOT_RUN]
    if not judged:
        return "No claim was judged here."
    rows, before = [], ("", "")
    for one in judged:
        said = escaped(one.statement), measure_text(one.measure)
        shown = [text if text != last else "" for text, last in zip(said, before, strict=True)]
        if shown[0]:
            shown[1] = said[1]
        before = said
        place = f"{escaped(experiment.datasets[one.dataset].title)}, {one.place}"
        value = f"{escaped(one.part)}: {one.value}" if one.part else one.value
        value = "; ".join(filter(None, (value, escaped(one.beside))))
        rows.append([*shown, place, escaped(verdict_text(one)), value])
    totals = [f"{verdict}: {n}" for verdict, n in counts(judged).items() if n]
    reasons = dict.fromkeys(one.withdrawn for one in judged if one.withdrawn)
    return "\n\n".join(
        (
            "[How claims are judged](../../claims.md). Each verdict rests on one part of the "
            "claim, given with its estimate and 95 % interval. A *(fair)* measure means the same "
            "for all models. Verdicts are corrected for the number of tests and intervals are not, "
            "so an interval without 0 may be undecided. Claims that were not run here are left "
            "out.",
            f"Verdicts: {', '.join(totals)}.",
            markdown_table(["claim", "measure", "where", "verdict", "rests on"], rows),
            *(f"⊘ Withdrawn: {escaped(reason)}." for reason in reasons),
        )
    )
