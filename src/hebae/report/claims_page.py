"""The page of all claims and their verdicts: ``python -m hebae.report.claims_page --help``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from hebae.base.errors import UserError, command
from hebae.base.text import counted, interval, number
from hebae.claims.verdicts import (
    PART_COLUMNS,
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
from hebae.report.summary import summary_sentence

READINGS = {"paper": "paper’s reading", "fair": "fair reading"}


class Tested(NamedTuple):
    """A finding with the rows of ``claim_parts.csv`` that belong to it."""

    finding: Finding
    parts: tuple[Row, ...]


def joined(findings: Sequence[Finding], parts: Sequence[Row]) -> list[Tested]:
    """Each finding with its parts; a claim that was not run has none.

    Args:
        findings: rows of ``claims.csv``.
        parts: rows of ``claim_parts.csv``, in the same order; those of one test are adjacent.

    Raises:
        UserError: where the two tables come from different judgings.
    """
    groups = {key: tuple(rows) for key, rows in groupby(parts, _key_of_part)}
    if [_key(of) for of in findings if of.latent_dim is not None] != list(groups):
        raise UserError(
            "claims.csv and claim_parts.csv differ; delete both, and they are made again"
        )
    return [Tested(of, groups.get(_key(of), ())) for of in findings]


def _key(of: Finding) -> tuple[str, ...]:
    return of.claim, of.dataset, of.measure, str(of.latent_dim)


def _key_of_part(row: Row) -> tuple[str, ...]:
    return row["claim"], row["dataset"], row["measure"], row["latent_dim"]


def badge(verdict: Verdict) -> Element:
    """A verdict by its colour, its sign and its word."""
    return element(
        "span",
        element("span", verdict.sign, class_="symbol", aria_hidden="true"),
        f" {verdict}",
        class_=f"verdict {verdict.style}",
    )


def summary(findings: Sequence[Finding]) -> Element:
    """A table that counts the tests of each verdict, by reading."""
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
    """The heading of a column of numbers."""
    return element("th", text, class_="number")


def number_cell(value: int, **attributes: str) -> Element:
    """A count."""
    return element("td", f"{value:,}", class_="number", **attributes)


def claim_rows(tests: Sequence[Tested], titles: Mapping[str, str]) -> list[Element]:
    """The rows of one claim: its statement, and beside it each test and its parts.

    Args:
        titles: what datasets are called, by their labels.
    """
    first = tests[0].finding
    folded = [one for one in tests if one.parts]
    more = dict.fromkeys(row["where"] for one in tests for row in one.parts)
    more |= dict.fromkeys(
        f"Withdrawn: {one.finding.withdrawn}" for one in tests if one.finding.withdrawn
    )
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
                *measure_cells(one, titles),
                class_="first" if beside else "further",
                data_claim=one.finding.claim,
                data_figure=one.finding.figure,
            )
        )
        if one in folded:
            cell = element("td", parts_table(one.parts), colspan="5")
            rows.append(element("tr", element("td"), cell, class_="parts"))
    return rows


def measure_cells(test: Tested, titles: Mapping[str, str]) -> list[Element]:
    """The cells of one test: dataset, reading, measure, estimate, seeds, verdict."""
    finding = test.finding
    run = finding.latent_dim is not None
    said = filter(None, (finding.remark, finding.note if run else ""))
    below = [element("div", text, class_="more") for text in said]
    beside = [element("div", finding.beside, class_="more")] if finding.beside else []
    return [
        element("td", titles.get(finding.dataset, ""), class_="small"),
        element("td", finding.reading, class_="small"),
        element("td", unbroken(finding.measured), *beside),
        element("td", finding.value if run else finding.note, class_="number" if run else "small"),
        element("td", str(finding.n_seeds or "–"), class_="number"),
        element("td", badge(finding.shown), *below, data_verdict=finding.shown),
    ]


def unbroken(text: str) -> str:
    """Text in which a line never breaks within "z = 8"."""
    return text.replace("z = ", "z\u00a0=\u00a0")


def parts_table(parts: Sequence[Row]) -> Element:
    """The parts of a test, folded away."""
    head = [
        "part",
        *map(numbers, ("estimate", "95 % interval", "seeds", "effect", "p above", "p below")),
        "test",
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
            element("td", row["test"]),
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
    """A number of a table as text; empty where there is none."""
    value = optional_number(text)
    return "" if value is None else number(value)


def interval_text(row: Row) -> str:
    """The interval of a part as text; empty where there is none."""
    low, high = optional_number(row["ci_low"]), optional_number(row["ci_high"])
    return "" if low is None or high is None else interval(low, high)


def figure_section(figure: str, tests: Sequence[Tested], experiment: Experiment) -> list[Element]:
    """The heading of a figure and the table of its claims."""
    entry = FIGURES.get(figure)
    title, shows = (entry.title, entry.shows) if entry else (figure, "")
    drawn = "" if figure in experiment.figures else "not drawn in this experiment"
    aside = " · ".join(filter(None, (shows, drawn)))
    head = [
        "Claim",
        "Data",
        "Reading",
        "Measure",
        numbers("Estimate (95 % interval)"),
        numbers("Seeds"),
        "Verdict",
    ]
    titles = {name: data.title for name, data in experiment.datasets.items()}
    rows = [
        row
        for _, of_claim in groupby(tests, lambda one: one.finding.claim)
        for row in claim_rows(list(of_claim), titles)
    ]
    heading = element("h2", f"{title} ", element("span", aside, class_="aside"), id=figure)
    return [heading, table(head, rows, class_="claims")]


def claims_page(tests: Sequence[Tested], experiment: Experiment) -> str:
    """The page: the answer in a sentence, the counts, and the claims of each figure."""
    figures = list(dict.fromkeys(one.finding.figure for one in tests))
    claims = {one.finding.claim for one in tests}
    findings = [one.finding for one in tests]
    sections = [
        part
        for figure in figures
        for part in figure_section(
            figure, [one for one in tests if one.finding.figure == figure], experiment
        )
    ]
    return document(
        f"Claims of the papers, tested by the experiment {experiment.name}",
        element("p", summary_sentence(findings), class_="lead"),
        summary(findings),
        element(
            "p",
            f"{counted(len(claims), 'claim')} in {counted(len(tests), 'test')}: a claim has a test "
            "for each measure that can test it, on each dataset and at each latent dimension that "
            "has its models. The paper’s reading uses the quantity that the paper plots. Where "
            "that quantity means different things for different models, a fair reading uses one "
            "that means the same for all.",
            class_="small",
        ),
        element(
            "p",
            "A test has a part for each comparison. The claim holds if every part holds. It does "
            "not hold if at least one part clearly fails. Otherwise it is undecided, and the note "
            "below the verdict says how many seeds it needs. The estimate is of the part that "
            "decides the test, in the units of the measure, with its 95 % interval over seeds. "
            "Verdicts are corrected for the number of tests that have enough seeds (Holm). A "
            "verdict is withdrawn if its measure was found to be wrong; the reason stands below "
            "the claim. docs/claims.md explains each test.",
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
