"""The page of what an experiment cost, from the records of its jobs.

``python -m hebae.report.cost_page --help``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from hebae.base.errors import UserError, command
from hebae.base.text import counted, duration
from hebae.claims.verdicts import read_rows
from hebae.config.experiment import Experiment
from hebae.report.page import document, element, table, write
from hebae.tables.collect import every_run

COLUMNS = ("s", "max_rss", "cpu_time")


@dataclass(frozen=True)
class Record:
    """What Snakemake noted of a job: seconds, and the largest memory in MB (2²⁰ bytes).

    ``cpu_seconds`` and ``memory`` are None where the job ended before Snakemake looked at it.
    """

    rule: str
    seconds: float
    cpu_seconds: float | None
    memory: float | None


@dataclass(frozen=True)
class Cost:
    """What the jobs of a rule took together."""

    rule: str
    jobs: int
    seconds: float
    longest: float
    cpu_seconds: float
    memory: float | None


def rule_of(record: Path) -> str:
    """The rule whose job wrote a record; its path is below the folder of all of them.

    Records are named after rules, but for tables, which one rule collects.
    """
    collected = record.parent.name == "tables" and record.stem != "claims"
    return "collect" if collected else record.stem


def places(experiment: Experiment) -> set[Path]:
    """Where records of the experiment lie; a folder may have others, of what it had before."""
    runs = {Path(run.path) for run in every_run(experiment)}
    return runs | {Path(name) for name in (*experiment.datasets, "tables", "figures", "report")}


def seen(text: str) -> float | None:
    """A number that Snakemake may not have got: "NA", and 0 of a job that was over too soon."""
    return None if text in ("", "-", "NA") else float(text) or None


def read_record(path: Path, rule: str) -> list[Record]:
    """A file of Snakemake's ``benchmark:``; it has a row each time the job was repeated.

    Raises:
        UserError: for a file that is none.
    """
    try:
        return [
            Record(rule, float(row["s"]), seen(row["cpu_time"]), seen(row["max_rss"]))
            for row in read_rows(path, COLUMNS, delimiter="\t")
        ]
    except ValueError as error:
        raise UserError(f"{path}: {error}; delete the file") from None


def read_records(folder: Path, experiment: Experiment) -> tuple[list[Record], int]:
    """The records of an experiment's jobs, and how many others the folder has."""
    known = places(experiment)
    records: list[Record] = []
    others = 0
    for path in sorted(folder.rglob("*.tsv")):
        place = path.relative_to(folder)
        if place.parent in known:
            records += read_record(path, rule_of(place))
        else:
            others += 1
    return records, others


def costs(records: Iterable[Record]) -> list[Cost]:
    """By rule, what took longest first."""
    of_rules: dict[str, list[Record]] = {}
    for record in records:
        of_rules.setdefault(record.rule, []).append(record)
    found = [cost(rule, of_rule) for rule, of_rule in of_rules.items()]
    return sorted(found, key=lambda cost: (-cost.seconds, cost.rule))


def cost(rule: str, records: Sequence[Record]) -> Cost:
    """What some jobs took together."""
    memory = [record.memory for record in records if record.memory is not None]
    return Cost(
        rule=rule,
        jobs=len(records),
        seconds=sum(record.seconds for record in records),
        longest=max((record.seconds for record in records), default=0.0),
        cpu_seconds=sum(record.cpu_seconds or 0 for record in records),
        memory=max(memory, default=None),
    )


def row(cost: Cost, most: float) -> Element:
    """A rule's costs, with a bar as long as its share of the longest."""
    share = 100 * cost.seconds / most if most else 0
    return element(
        "tr",
        element("td", cost.rule),
        *cells(cost),
        element("td", element("div", class_="bar", style=f"width: {share:.1f}%"), width="30%"),
        data_rule=cost.rule,
    )


def cells(cost: Cost) -> list[Element]:
    """The numbers of a row."""
    texts = (
        f"{cost.jobs:,}",
        duration(cost.seconds),
        duration(cost.longest),
        duration(cost.cpu_seconds),
        "–" if cost.memory is None else f"{cost.memory:,.0f} MB",
    )
    return [element("td", text, class_="number") for text in texts]


def missing_runs(folder: Path, experiment: Experiment) -> int:
    """How many runs have no record of how they were trained, or restored."""
    return sum(
        not any((folder / run.path / f"{rule}.tsv").exists() for rule in ("train", "restore"))
        for run in every_run(experiment)
    )


def notes(others: int, missing: int) -> list[Element]:
    """What is not in the table."""
    texts = []
    if missing:
        texts.append(
            f"{counted(missing, 'run')} had no record of a training: made elsewhere, or before "
            "their records were lost. What they took is not in the table."
        )
    if others:
        texts.append(
            f"{counted(others, 'record')} of jobs that this experiment has no longer "
            "are not in the table."
        )
    return [element("p", text, class_="note") for text in texts]


def cost_page(
    records: Sequence[Record], experiment: Experiment, others: int = 0, missing: int = 0
) -> str:
    """What each rule's jobs took when they last ran."""
    of_rules = costs(records)
    most = max((cost.seconds for cost in of_rules), default=0.0)
    total = cost("all", records)
    names = ("Jobs", "Wall time", "Longest job", "CPU time", "Largest memory")
    head = ["Rule", *(element("th", name, class_="number") for name in names), ""]
    foot = element("tr", element("td", "all"), *cells(total), element("td"))
    return document(
        f"What the experiment {experiment.name} cost",
        element(
            "p",
            f"{counted(total.jobs, 'job')}, {duration(total.seconds)} of wall time in all, one "
            "after the other; jobs run side by side, so the workflow took less. Each job counts as "
            "it ran last: what was done again counts once, and an interrupted training from where "
            "it went on.",
            class_="lead",
        ),
        *notes(others, missing),
        table(head, [row(cost, most) for cost in of_rules], [foot]),
        element(
            "p",
            "Snakemake looks at a job every half second for its first 15 seconds, then every 30. "
            "CPU time and memory are what it saw: CPU time is somewhat too small, and both are "
            "missing for the shortest jobs. Memory that several processes share counts for each.",
            class_="small",
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the page of what an experiment cost.")
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the records")
    parser.add_argument("--output", type=Path, required=True, help=".html")
    options = parser.parse_args(arguments)
    experiment = Experiment.from_json(options.experiment)
    records, others = read_records(options.benchmarks, experiment)
    missing = missing_runs(options.benchmarks, experiment)
    write(options.output, cost_page(records, experiment, others, missing))


if __name__ == "__main__":
    command(main)
