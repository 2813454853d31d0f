"""The page of all claims and their verdicts: ``python -m hebae.report.claims_page --help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from hebae.base.errors import UserError, command
from hebae.base.text import counted, interval, number
from hebae.claims.verdicts import (
    Finding,
    Row,
    Verdict,
    counts,
    optional_number,
    read_findings,
    read_rows,
)
from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES
from hebae.report.page import document, element, table, write

PART_COLUMNS = (
    "claim",
    "figure",
    "measure",
    "where",
    "part",
    "n_seeds",
    "estimate",
    "ci_low",
    "ci_high",
    "effect",
    "p_above",
    "p_below",
    "p_holm",
    "reason",
)
READINGS = {"paper": "paper’s reading", "fair": "fair reading"}


class Tested(NamedTuple):
    """A finding with the rows of ``claim_parts.csv`` that belong to it."""

    finding: Finding
    parts: tuple[Row, ...]


def joined(findings: Sequence[Finding], parts: Sequence[Row]) -> list[Tested]:
    """Findings with their parts, which are in the same order; of one measure they are together.

    Raises:
        UserError: where the two are not of the same judging.
    """
    groups = [
        (key, tuple(rows))
        for key, rows in groupby(parts, lambda row: (row["claim"], row["figure"], row["measure"]))
    ]
    if [(of.claim, of.figure, of.measure) for of in findings] != [key for key, _ in groups]:
        raise UserError(
            "claims.csv and claim_parts.csv differ; delete both, and they are made again"
        )
    return [Tested(of, rows) for of, (_, rows) in zip(findings, groups, strict=True)]


def badge(verdict: Verdict) -> Element:
    """A verdict, told by its colour, its sign and its words."""
    return element(
        "span",
        element("span", verdict.sign, class_="symbol", aria_hidden="true"),
        f" {verdict}",
        class_=f"verdict {verdict.style}",
    )


def summary(findings: Sequence[Finding]) -> Element:
    """How many tests there are of each verdict, by reading."""
    rows = []
    for reading, label in READINGS.items():
        found = counts(one for one in findings if one.reading == reading)
        if total := sum(found.values()):
            cells = map(number_cell, (*found.values(), total))
            rows.append(element("tr", element("td", label), *cells))
    cells = [number_cell(n, data_count=verdict) for verdict, n in counts(findings).items()]
    foot = element("tr", element("td", "all"), *cells, number_cell(len(findings)))
    head = ["", *(element("th", badge(verdict)) for verdict in Verdict), numbers("tests")]
    return table(head, rows, [foot], class_="counts")


def numbers(text: str) -> Element:
    """The head of a column of numbers."""
    return element("th", text, class_="number")


def number_cell(value: int, **attributes: str) -> Element:
    """A count."""
    return element("td", f"{value:,}", class_="number", **attributes)


def claim_rows(tests: Sequence[Tested]) -> list[Element]:
    """The rows of one claim beside its statement: for each measure one, and one of its parts."""
    first, parts = tests[0]
    folded = [one for one in tests if one.parts[0]["part"]]
    more = [parts[0]["where"]]
    if first.withdrawn:
        more.append(f"Withdrawn: {first.withdrawn}")
    statement = element(
        "td",
        first.statement,
        *(element("div", text, class_="more") for text in more),
        rowspan=str(len(tests) + len(folded)),
    )
    rows = []
    for one in tests:
        beside = [] if rows else [statement]
        rows.append(
            element(
                "tr",
                *beside,
                *measure_cells(one),
                class_="first" if beside else "further",
                data_claim=one.finding.claim,
                data_figure=one.finding.figure,
            )
        )
        if one in folded:
            cell = element("td", parts_table(one.parts), colspan="4")
            rows.append(element("tr", element("td"), cell, class_="parts"))
    return rows


def measure_cells(test: Tested) -> list[Element]:
    """What one measure says: reading, measure, estimate, seeds, verdict."""
    finding = test.finding
    estimate = finding.value or test.parts[0]["reason"]
    below = [element("div", finding.remark, class_="more")] if finding.remark else []
    return [
        element("td", finding.reading, class_="small"),
        element("td", unbroken(finding.measured)),
        element("td", estimate, class_="number" if finding.value else "small"),
        element("td", str(finding.n_seeds or "–"), class_="number"),
        element("td", badge(finding.shown), *below, data_verdict=finding.shown),
    ]


def unbroken(text: str) -> str:
    """Text in which "z = 8" stays on a line."""
    return text.replace("z = ", "z\u00a0=\u00a0")


def parts_table(parts: Sequence[Row]) -> Element:
    """What was tested, folded up."""
    head = [
        "part",
        *map(numbers, ("estimate", "95 % interval", "seeds", "effect", "p above", "p below")),
    ]
    rows = [
        element(
            "tr",
            element("td", unbroken(row["part"])),
            *(
                element("td", text, class_="number")
                for text in (
                    optional(row["estimate"]),
                    interval_text(row),
                    row["n_seeds"],
                    optional(row["effect"]),
                    optional(row["p_above"]),
                    optional(row["p_below"]),
                )
            ),
        )
        for row in parts
    ]
    holm = optional(parts[0]["p_holm"])  # none with fewer seeds than the claim asks for
    return element(
        "details",
        element("summary", counted(len(parts), "part") + (f", p = {holm} (Holm)" if holm else "")),
        table(head, rows),
    )


def optional(text: str) -> str:
    """A number of a table, or nothing."""
    value = optional_number(text)
    return "" if value is None else number(value)


def interval_text(row: Row) -> str:
    """The interval of a part, or nothing."""
    low, high = optional_number(row["ci_low"]), optional_number(row["ci_high"])
    return "" if low is None or high is None else interval(low, high)


def figure_section(figure: str, tests: Sequence[Tested], experiment: Experiment) -> list[Element]:
    """A figure's claims under its name."""
    entry = FIGURES.get(figure)
    title, shows = (entry.title, entry.shows) if entry else (figure, "")
    dataset = experiment.figures.get(figure)
    drawn = experiment.datasets[dataset].title if dataset else "not drawn in this experiment"
    aside = " · ".join(filter(None, (shows, drawn)))
    head = [
        "Claim",
        "Reading",
        "Measure",
        numbers("Estimate (95 % interval)"),
        numbers("Seeds"),
        "Verdict",
    ]
    rows = [
        row
        for _, of_claim in groupby(tests, lambda one: one.finding.claim)
        for row in claim_rows(list(of_claim))
    ]
    heading = element("h2", f"{title} ", element("span", aside, class_="aside"), id=figure)
    return [heading, table(head, rows, class_="claims")]


def claims_page(tests: Sequence[Tested], experiment: Experiment) -> str:
    """All verdicts, figure by figure, each in the order of the file."""
    figures = list(dict.fromkeys(one.finding.figure for one in tests))
    claims = {one.finding.claim for one in tests}
    sections = [
        part
        for figure in figures
        for part in figure_section(
            figure, [one for one in tests if one.finding.figure == figure], experiment
        )
    ]
    return document(
        f"Claims of the papers, tested by the experiment {experiment.name}",
        element(
            "p",
            f"{counted(len(claims), 'claim')} in {counted(len(tests), 'test')}. A claim is tested "
            "on each figure that it is made of, and by each measure that it can be read in: the "
            "paper’s, and where that compares unlike things, a fair one.",
            class_="lead",
        ),
        summary([one.finding for one in tests]),
        element(
            "p",
            "The estimate is of the part of a claim that decides it, in the measure’s own terms, "
            "with its 95 % interval over seeds; claims have several parts where they are made of "
            "several models or latent dimensions. A claim holds if all of its parts do, and does "
            "not if one of them surely fails. Verdicts are corrected for the number of tests that "
            "have enough seeds (Holm). Undecided: so many seeds would probably decide it, in all. "
            "Withdrawn: the test was found to be wrong, for the reason below the claim. "
            "Why each test is what it is stands in docs/claims.md.",
            class_="small",
        ),
        *sections,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the page of all claims and verdicts.")
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument("--claims", type=Path, required=True, help="claims.csv")
    parser.add_argument("--parts", type=Path, required=True, help="claim_parts.csv")
    parser.add_argument("--output", type=Path, required=True, help=".html")
    options = parser.parse_args(arguments)
    tests = joined(read_findings(options.claims), read_rows(options.parts, PART_COLUMNS))
    try:
        page = claims_page(tests, Experiment.from_json(options.experiment))
    except ValueError as error:
        raise UserError(f"{options.parts}: {error}") from None
    write(options.output, page)


if __name__ == "__main__":
    command(main)
