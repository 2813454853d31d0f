"""The texts that the report's first page and its captions state, computed from files.

The templates in ``workflow/report`` place them. All texts are reStructuredText, in which whatever
comes from a config, a table or a figure's JSON is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hebae.base.errors import UserError
from hebae.base.text import counted, escape_rst, list_table, listed
from hebae.claims.verdicts import Finding, counts, read_findings
from hebae.config.experiment import Experiment
from hebae.facts.published import CAUTION, beside_published
from hebae.facts.text import data_text
from hebae.report import origin
from hebae.report.names import categories
from hebae.report.record import read_record
from hebae.report.summary import summary_sentence
from hebae.tables.read import read_table


@dataclass(frozen=True)
class FigureFacts:
    """What the report says beside a figure."""

    caption: str
    """What the figure shows, as the code that drew it says; empty where it says nothing."""
    outcome: str
    """The verdicts of the claims that the figure shows."""
    published: str = ""
    """FIDs beside published ones, for the figure that shows FIDs."""


@dataclass(frozen=True)
class ReportFacts:
    """What the first page says, and the facts of figures by name."""

    title: str
    datasets: str
    claims: str
    category: dict[str, str]
    made_with: str
    trained_with: str
    figures: dict[str, FigureFacts]


def escaped(models: Iterable[str]) -> str:
    """A list of models in words, their names taken literally."""
    return listed(map(escape_rst, models)) or "no model"


def seeds_text(seeds: Sequence[int]) -> str:
    """One seed, or 3 seeds."""
    return "one seed" if len(seeds) == 1 else counted(len(seeds), "seed")


def finding_line(finding: Finding) -> str:
    """The verdict by one measure in a line, with the estimate and the seeds."""
    said = [finding.measured, finding.beside, finding.remark, finding.note]
    if finding.value:
        said[0] += f": {finding.value}, {counted(finding.n_seeds, 'seed')}"
    texts = map(escape_rst, filter(None, said))
    return " · ".join([f"{finding.shown.sign} **{finding.shown}**", *texts])


def outcome_text(findings: Sequence[Finding]) -> str:
    """The verdicts of a figure's claims: how many of each, then each claim with its measures."""
    if not findings:
        return "No claim is tested on this figure."
    found = [f"**{counted(len(findings), 'test')}:** {counts_text(findings)}."]
    for statement, group in groupby(findings, lambda finding: finding.statement):
        of_claim = list(group)
        lines = "\n".join(f"  * {finding_line(finding)}" for finding in of_claim)
        for reason in dict.fromkeys(one.withdrawn for one in of_claim if one.withdrawn):
            statement += f" Withdrawn: {reason}."
        found.append(f"* {escape_rst(statement)}\n\n{lines}")
    return "\n\n".join(found)


def counts_text(findings: Sequence[Finding]) -> str:
    """How many there are of each verdict: ✓ holds: 3, ? undecided: 2."""
    return ", ".join(
        f"{verdict.sign} {verdict}: **{number}**"
        for verdict, number in counts(findings).items()
        if number
    )


def caption_text(path: Path) -> str:
    """The caption in a figure's JSON file; empty where the file or the caption is missing.

    Raises:
        UserError: for a file that is damaged.
    """
    try:
        return escape_rst(read_record(path).get("caption", ""))
    except FileNotFoundError:
        return ""
    except ValueError as error:
        raise UserError(f"{path}: {error}; delete it, and it is made again") from None


def figure_facts(
    figure: str, figures: Path, findings: Sequence[Finding], published: str = ""
) -> FigureFacts:
    """What to say of a figure, from its file in ``figures`` and the verdicts of all claims."""
    return FigureFacts(
        caption=caption_text(figures / f"{figure}.json"),
        outcome=outcome_text([of for of in findings if of.figure == figure]),
        published=published,
    )


def published_text(experiment: Experiment, results: Path) -> dict[str, str]:
    """By the figure of FIDs, if the experiment has it: its FIDs beside published ones."""
    dataset, path = experiment.figures.get("fig1b"), results / "tables/fid.csv"
    if dataset is None or not path.exists():
        return {}
    rows = beside_published(read_table(path), experiment, dataset)
    if not rows:
        return {}
    cells = [[escape_rst(cell) for cell in row] for row in rows]
    return {"fig1b": f"{CAUTION}\n\n{list_table(cells)}"}


def datasets_text(experiment: Experiment, results: Path) -> str:
    """A list of the datasets, each with its images, models and seeds."""
    lines = [
        f"* {escape_rst(data_text(results, data))}: {escaped(titles)}, {seeds_text(data.seeds)} "
        f"({listed(data.seeds)})"
        for data in experiment.datasets.values()
        for titles in [[experiment.models[model].title for model in data.models]]
    ]
    return "\n".join(lines)


def claims_file(results: Path) -> list[Finding]:
    """The verdicts; none where no claim has been judged yet."""
    path = results / "tables/claims.csv"
    return read_findings(path) if path.exists() else []


def report_facts(experiment: Experiment, results: Path, figures: Path) -> ReportFacts:
    """All facts of an experiment.

    Args:
        results: folder ``results/<experiment>``: the sizes of datasets, the runs, the verdicts.
        figures: folder ``figures/<experiment>``: the captions.

    Raises:
        UserError: for a file that is damaged.
    """
    findings, published = claims_file(results), published_text(experiment, results)
    return ReportFacts(
        title=escape_rst(experiment.name),
        datasets=datasets_text(experiment, results),
        claims=escape_rst(summary_sentence(findings)),
        category=categories(experiment),
        made_with=table_text(origin.made_with()),
        trained_with=table_text(origin.trained_with(results / "tables/runs.csv")),
        figures={
            figure: figure_facts(figure, figures, findings, published.get(figure, ""))
            for figure in experiment.figures
        },
    )


def table_text(rows: dict[str, str]) -> str:
    """Names and values as a table."""
    return list_table([(escape_rst(name), escape_rst(value)) for name, value in rows.items()])
