"""What the report calls figures, and in which order it shows them."""

from __future__ import annotations

from typing import Any, NamedTuple

from hebae.config.experiment import Experiment

CLAIMS, PAPER, INFOVAE, BOUNDS, COST = (
    "Claims",
    "Figures of the paper",
    "InfoVAE",
    "Fair bounds",
    "Cost",
)


class Name(NamedTuple):
    """How a figure is listed."""

    title: str
    shows: str
    group: str


NAMES = {
    "fig1a": Name("Figure 1a", "the bound against epochs and weights", PAPER),
    "fig1b": Name("Figure 1b", "Fréchet distance of samples against weights", PAPER),
    "fig2a": Name("Figure 2a", "covariance and correlation of the codes", PAPER),
    "fig2b": Name("Figure 2b", "covariance and correlation of the codes, faces", PAPER),
    "fig2c": Name("Figure 2c", "information between images and codes", PAPER),
    "fig2d": Name("Figure 2d", "information between images and codes, faces", PAPER),
    "fig3": Name("Figure 3", "interpolations, reconstructions and samples, faces", PAPER),
    "appendix_c": Name(
        "Figure of Appendix C", "interpolations, reconstructions and samples", PAPER
    ),
    "infovae_diagnostics": Name("Diagnostics", "distance of the codes from the prior", INFOVAE),
    "infovae_decoder": Name("Decoders", "which models use their code", INFOVAE),
    "infovae_samples": Name("Samples", "random samples beside test images", INFOVAE),
    "fair_bounds": Name("Fair bounds", "what the paper’s bound leaves out", BOUNDS),
    "batch_bias": Name("Batch bias", "what codes that match the prior score", BOUNDS),
}


def name_of(figure: str) -> Name:
    """The name of a figure; its own where it has no other."""
    return NAMES.get(figure, Name(figure, "", PAPER))


def categories(experiment: Experiment) -> dict[str, str]:
    """The report's categories by group, numbered: Snakemake shows them in alphabetical order.

    Groups of which the experiment draws no figure are left out.
    """
    drawn = {name_of(figure).group for figure in experiment.figures}
    groups = (CLAIMS, PAPER, INFOVAE, BOUNDS, COST)
    shown = [group for group in groups if group in drawn | {CLAIMS, COST}]
    return {group: f"{place}. {group}" for place, group in enumerate(shown, 1)}


def _literally(label: str) -> str:
    """A label that Snakemake, which fills in and cannot be told not to, sees no wildcard in."""
    return label.replace("{", "{\N{WORD JOINER}")


def placed(experiment: Experiment, figure: str) -> dict[str, Any]:
    """Where the report has a figure, as arguments of Snakemake's ``report``."""
    title, shows, group = name_of(figure)
    dataset = experiment.figures.get(figure)
    return {
        "category": categories(experiment).get(group),
        # The dataset first. Of the other labels Snakemake makes a switch if one alone of them has
        # two values, in half of the results each, and then fails where not all have both. Figures
        # and what they show are two values or not together.
        "labels": {
            "dataset": _literally(experiment.datasets[dataset].title) if dataset else "none",
            "figure": title,
            "what": shows,
        },
    }
