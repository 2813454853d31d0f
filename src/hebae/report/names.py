"""Where the report lists figures and pages, and in which order."""

from __future__ import annotations

from typing import Any

from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES

CLAIMS = "Claims"


def categories(experiment: Experiment) -> dict[str, str]:
    """The report's categories by group, numbered: Snakemake shows them in alphabetical order.

    Groups of which the experiment draws no figure are left out.
    """
    drawn = [entry.group for figure, entry in FIGURES.items() if figure in experiment.figures]
    groups = dict.fromkeys([CLAIMS, *drawn])
    return {group: f"{number}. {group}" for number, group in enumerate(groups, 1)}


def _literally(label: str) -> str:
    """A label that Snakemake, which fills in and cannot be told not to, sees no wildcard in."""
    return label.replace("{", "{\N{WORD JOINER}")


def placed(experiment: Experiment, figure: str) -> dict[str, Any]:
    """Where the report has a figure, as arguments of Snakemake's ``report``."""
    entry = FIGURES[figure]
    dataset = experiment.figures.get(figure)
    return {
        "category": categories(experiment).get(entry.group),
        # The dataset first. Of the other labels Snakemake makes a switch if one alone of them has
        # two values, in half of the results each, and then fails where not all have both. Figures
        # and what they show are two values or not together.
        "labels": {
            "dataset": _literally(experiment.datasets[dataset].title) if dataset else "none",
            "figure": entry.title,
            "what": entry.shows,
        },
    }
