"""Average MIC and TIC by latent dimension and model (Fig. 2c, 2d)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebae.base.text import listed
from hebae.config.experiment import Experiment
from hebae.facts.information import LABELS, measured, tied_models
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import SMALL, complete, dots, fill, head, in_style, looks_of

LEAST = 0.02
"""An axis spans at least this much: differences that the claims take for a tie must look small."""


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """Latent dimensions below each other, a row a model; MIC beside TIC."""
    data, table = experiment.datasets[dataset], measured(tables, experiment, dataset)
    looks, names = looks_of(experiment), titles(experiment, dataset)
    names = {model: fill(title, max(0.75, 0.19 * width)) for model, title in names.items()}
    groups = dict(iter(table.groupby("latent_dim")))
    # models that are not trained at a dimension have no row there
    orders = {z: [m for m in names if m in set(g["model"])] for z, g in groups.items()}
    tall = max(name.count("\n") for name in names.values())
    heights = [len(order) for order in orders.values()]
    height = 1 + 0.2 * len(orders) + (0.19 + 0.11 * tall) * sum(heights)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(
        len(orders), 2, squeeze=False, sharex="col", height_ratios=[n + 0.1 for n in heights]
    )
    for line, (z, order) in zip(axes, orders.items(), strict=True):
        for ax, measure in zip(line, LABELS, strict=True):
            dots(ax, groups[z], measure, "model", order, looks)
            ax.set(xlabel="", ylabel="", ylim=(len(order) - 0.5, -0.5))
            ax.grid(axis="y")
            ax.tick_params(axis="y", length=0)
            means = complete(groups[z], ["model"], measure).groupby("model")[measure].mean()
            for model, mean in means.items():  # beside the axes, where they are over no mark
                where = {"transform": ax.get_yaxis_transform(), "va": "center_baseline"}
                ax.text(1.03, order.index(model), f"{mean:.3f}", fontsize=SMALL, **where)
        line[0].set_yticks(range(len(order)), [names[model] for model in order])
        line[1].set_yticks(range(len(order)), [""] * len(order))
        line[0].set_title(f"latent dimension {z}", loc="left")
    for ax, (measure, label) in zip(axes[-1], LABELS.items(), strict=True):
        ax.set_xlim(*limits(table[measure]))
        ax.xaxis.set_major_locator(MaxNLocator(6 if is_wide(width) else 3, steps=[1, 2, 5, 10]))
        ties = measure == "tic" and tied_models(tables, experiment, dataset)
        label += f" (no order: ties raise {listed(ties)}’s)" if ties else ""
        ax.set_xlabel(fill(label, 0.35 * width))
    head(figure, f"{data.title}: information between images and codes")
    return figure


def limits(values: pd.Series) -> tuple[float, float]:
    """Of an axis with room beside the lowest and the highest value."""
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    margin = max(0.06 * (high - low), (LEAST - (high - low)) / 2)
    return low - margin, high + margin
