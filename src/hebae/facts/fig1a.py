"""Fig. 1a: the paper's bound on the test split, against epochs (top) and weights λ (bottom)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.facts.text import epochs_text, gaps_text, has_hebae, spread_text, titles, zero_text
from hebae.tables.rows import rows

CUT = 5
"""The top row's axes begin at this percentile over epochs of the lowest curve."""


class PaperBounds(NamedTuple):
    """`elbo_paper` of the models that have one.

    HEBAE's per-sample bound, fair beside a VAE's, is another quantity on another scale.
    """

    by_epoch: pd.DataFrame
    by_weight: pd.DataFrame
    """Empty where no model with a bound has a grid of λ."""
    models: list[str]


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> PaperBounds:
    """The bounds of the test split."""
    models = [run.model for run in experiment.main_runs(dataset) if run.bound]
    if not models:
        raise UserError(f"config: figures.fig1a: no model of {dataset} has a bound")
    default, grid = (
        [run for run in runs if run.dataset == dataset and run.model in models]
        for runs in (experiment.default_runs(), experiment.weight_runs())
    )
    by_epoch = rows(tables, "elbo_by_epoch", default, ["elbo_paper"], ["epoch"], split="test")
    by_weight = by_epoch.iloc[:0]
    if grid:
        by_weight = rows(tables, "elbo_by_weight", grid, ["elbo_paper"], each=lambda run: 1)
    return PaperBounds(by_epoch, by_weight, models)


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names = titles(experiment, dataset)
    hebae = has_hebae(experiment, dataset)
    bottom = not found.by_weight.empty
    return [
        "The bound that the paper plots, −(reconstruction + regulariser) on the test split, with "
        f"λ = 1 in the sum: {'top, ' * bottom}against the epoch ({epochs_text(data)} in all)"
        + "; bottom, after the last epoch, against the weight λ in training" * bottom
        + ".",
        "HEBAE’s regulariser is the KL divergence from the prior of a Gaussian that is fitted to "
        "all images’ mean codes. It counts neither the information between image and code nor how "
        "far the codes’ distribution is from that Gaussian. So HEBAE’s sum is no bound on "
        "log p(x), and it does not compare with the VAE’s." * hebae,
        "The paper reports, on MNIST, that HEBAE reaches a higher bound sooner than the VAE at "
        "every latent dimension, and that it depends far less on λ." * hebae,
        spread_text(data.seeds, "lines", "bands")
        if not bottom
        else spread_text(data.seeds, "lines and marks", "bands and bars")
        if data.weight_seeds == data.seeds
        else f"Top: {spread_text(data.seeds, 'lines', 'bands').lower()} "
        f"Bottom: {spread_text(data.weight_seeds).lower()}",
        _range_text(found.by_epoch) if len(data.seeds) > 1 else "",
        _cut_text(found.by_epoch, "At the top, " * bottom),
        gaps_text(_lost(found, names)),
        zero_text(found.by_weight, "elbo_paper", names),
    ]


def _lost(found: PaperBounds, names: Mapping[str, str]) -> list[str]:
    """Where a mean is missing: a curve in some epochs, or a mark."""
    by_epoch, by_weight = (
        table[table["elbo_paper"].isna()] for table in (found.by_epoch, found.by_weight)
    )
    curves = by_epoch.drop_duplicates(["model", "latent_dim"]).itertuples()
    marks = by_weight[by_weight["weight"] > 0].drop_duplicates(["model", "latent_dim", "weight"])
    return [
        *(
            f"{names[row.model]} in some epochs (latent dimension {row.latent_dim})"
            for row in curves
        ),
        *(
            f"{names[row.model]} at λ = {row.weight:g} (latent dimension {row.latent_dim})"
            for row in marks.itertuples()
        ),
    ]


def _range_text(table: pd.DataFrame) -> str:
    """How large the spread is at the end, where it may be narrower than a line."""
    of_models = table.groupby(["model", "latent_dim"])
    last = table[table["epoch"] == of_models["epoch"].transform("max")]
    ends = last.groupby(["model", "latent_dim"])["elbo_paper"].agg(
        lambda seeds: seeds.max(skipna=False) - seeds.min(skipna=False)
    )
    if ends.isna().all():
        return ""
    widest = number(float(ends.max()))
    return (
        "At the default λ, after the last epoch, the seeds of a model differ by at most "
        f"{widest} nats."
    )


def _cut_text(table: pd.DataFrame, where: str) -> str:
    """What the axes of the curves against the epoch leave out."""
    bottom, _ = limits(table)
    cut = table[table["elbo_paper"] < bottom]
    if cut.empty:
        return ""
    last = int(cut["epoch"].max())
    which = "epoch 1 is" if last == 1 else f"epochs up to {last} are"
    text = f"{where}{which} below the axes for some of the curves."
    return text[0].upper() + text[1:]


def limits(table: pd.DataFrame) -> tuple[float, float]:
    """Of the top row's axes, which must show the region where curves have converged."""
    of_curves = table.groupby(["model", "latent_dim", "epoch"])["elbo_paper"]
    low, high = of_curves.min(), of_curves.max()
    bottom = low.groupby(["model", "latent_dim"]).quantile(CUT / 100).min()
    margin = 0.06 * (high.max() - bottom) or 1
    return bottom - margin, high.max() + margin
