"""Covariance over correlation of the code, a column a model (Fig. 2a, 2b)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebae.config import Experiment
from hebae.figures.common import WIDTH, in_style, note, rows, titles

QUANTITIES = ("covariance", "correlation")
LARGEST = 2.0
"""Where the colour scale ends at the latest: one model's large variances must not take the
colours away from the others, whose target is 1."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """Of the encoder's means on the test split, from the main runs."""
    runs = experiment.main_runs(dataset)
    # a correlation is empty where a latent variable is constant
    table = rows(
        tables,
        "covariance",
        runs,
        QUANTITIES,
        ["i", "j"],
        lambda run: run.latent_dim**2,
        finite=False,
        which="mean",
    )
    names = titles(experiment, dataset)
    matrices = {
        (quantity, model): np.ma.masked_invalid(
            table[table["model"] == model].pivot(index="i", columns="j", values=quantity)
        )
        for quantity in QUANTITIES
        for model in names
    }
    largest = max(
        (np.abs(matrix).max() for matrix in matrices.values() if matrix.count()), default=1
    )
    limit = float(np.clip(largest, 1, LARGEST))
    norm = Normalize(-limit, limit)
    cmap = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.65")

    edges = table["i"].min() - 0.5, table["i"].max() + 0.5
    side = min(2.2, (WIDTH - 1.2) / len(names))
    figure = Figure(figsize=(1.2 + len(names) * side, 0.8 + 2 * side), layout="compressed")
    axes = figure.subplots(2, len(names), squeeze=False, sharex=True, sharey=True)
    for ax, ((quantity, model), matrix) in zip(axes.flat, matrices.items(), strict=True):
        image = ax.imshow(
            matrix, cmap=cmap, norm=norm, extent=(*edges, *edges[::-1]), interpolation="nearest"
        )
        ax.grid(False)
        ax.spines[:].set_visible(True)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        if ax in axes[0]:
            ax.set_title(textwrap.fill(names[model], int(15 * side)))
        else:
            ax.set_xlabel("latent variable")
        if ax in axes[:, 0]:
            ax.set_ylabel(f"{quantity}\nlatent variable")
    beyond = {
        (True, True): "both",
        (True, False): "min",
        (False, True): "max",
        (False, False): "neither",
    }
    extend = beyond[
        any((matrix < -limit).any() for matrix in matrices.values()),
        any((matrix > limit).any() for matrix in matrices.values()),
    ]
    bar = figure.colorbar(image, ax=axes, extend=extend, aspect=30, pad=0.02)
    bar.set_label("covariance, correlation")
    bar.outline.set_linewidth(0.6)

    data = experiment.datasets[dataset]
    undefined = any(np.ma.is_masked(matrix) for matrix in matrices.values())
    note(
        figure,
        f"{data.title}, latent dimension {data.main_latent_dim}, seed {data.seeds[0]}:",
        "the encoder’s means μ on the test split.",
        "Grey: undefined, as a latent variable is constant." if undefined else "",
        f"Largest magnitude: {largest:.3g}, beyond the scale." if largest > limit else "",
    )
    return figure
