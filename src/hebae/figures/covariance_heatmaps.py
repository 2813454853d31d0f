"""Covariance and correlation of the code, model by model (Fig. 2a, 2b)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from hebae.config.experiment import Experiment
from hebae.facts.covariance_heatmaps import LIMIT, QUANTITIES, measured
from hebae.facts.text import WIDTH, titles
from hebae.figures.common import fill, head, in_style

TICKS = (-2, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 2)


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A column a model and a row a quantity, or the other way round where columns were too many."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    grid = measured(tables, experiment, dataset)
    down, right = QUANTITIES, tuple(names.values())
    if (width - 1.3) / len(names) < 0.8:
        grid, down, right = grid.swapaxes(0, 1), right, down
    side = min(1.7, (width - 1.3) / len(right), 8 / len(down))
    size = (1.3 + len(right) * side, 0.75 + len(down) * (side + 0.08))
    figure = Figure(figsize=size, layout="compressed")
    axes = figure.subplots(len(down), len(right), squeeze=False, sharex=True, sharey=True)
    cmap = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.65")
    norm = FuncNorm((lambda x: np.sign(x) * np.sqrt(abs(x)), lambda x: x * abs(x)), -LIMIT, LIMIT)
    colours = {"cmap": cmap, "norm": norm, "vmin": -LIMIT, "vmax": LIMIT}
    ticks = dict.fromkeys(("xticklabels", "yticklabels"), -(-data.main_latent_dim // 4))
    for ax, matrix in zip(axes.flat, grid.reshape(-1, *grid.shape[2:]), strict=True):
        sns.heatmap(matrix, ax=ax, square=True, cbar=False, rasterized=True, **colours, **ticks)
        ax.grid(False)
        ax.spines[:].set_visible(True)
        ax.tick_params(rotation=0)
    for ax, title in zip(axes[0], right, strict=True):
        ax.set_title(fill(title, side))
    for ax, title in zip(axes[:, 0], down, strict=True):
        ax.set_ylabel(fill(title, side))
    figure.supxlabel("latent variable", fontsize=8)
    extend = ("neither", "max", "min", "both")[
        2 * (grid < -LIMIT).any() + (grid > LIMIT).any()  # as matplotlib calls its ends
    ]
    mesh = axes[0, 0].collections[0]
    bar = figure.colorbar(mesh, ax=axes, extend=extend, aspect=12 * len(down), pad=0.03)
    bar.set_ticks(TICKS, labels=[f"{tick:g}".replace("-", "−") for tick in TICKS])
    bar.ax.hlines((0, 1), 0, 1, color="black", linewidth=1, transform=bar.ax.get_yaxis_transform())
    bar.set_label("lines: the targets 0 and 1")
    bar.outline.set_linewidth(0.6)
    head(figure, f"{data.title}: codes’ means, latent dimension {data.main_latent_dim}")
    return figure
