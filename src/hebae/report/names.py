"""What the report's file is called, and where the report lists figures and pages."""

from __future__ import annotations

from typing import Any

from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES

CLAIMS = "Claims"


def report_file(experiment: str) -> str:
    """The name of an experiment's report. Each experiment has its own, so none replaces another."""
    return f"report-{experiment}.html"


def categories(experiment: Experiment) -> dict[str, str]:
    """The report's categories by group, numbered because Snakemake sorts them alphabetically.

    Groups of which the experiment draws no figure are left out.
    """
    drawn = [entry.group for figure, entry in FIGURES.items() if figure in experiment.figures]
    groups = dict.fromkeys([CLAIMS, *drawn])
    return {group: f"{number}. {group}" for number, group in enumerate(groups, 1)}


def _literally(label: str) -> str:
    """A label in which Snakemake finds no wildcard to fill in."""
    return label.replace("{", "{\N{WORD JOINER}")


def placed(experiment: Experiment, figure: str) -> dict[str, Any]:
    """Where the report has a figure, as arguments of Snakemake's ``report``."""
    entry = FIGURES[figure]
    dataset = experiment.figures.get(figure)
    return {
        "category": categories(experiment).get(entry.group),
        # The dataset comes first. Snakemake makes a switch of one of the other labels if that one
        # alone has two values, each in half of the results; the report then fails where a result
        # lacks one of them. "figure" and "what" have two values both or neither.
        "labels": {
            "dataset": _literally(experiment.datasets[dataset].title) if dataset else "none",
            "figure": entry.title,
            "what": entry.shows,
        },
    }
