"""Covariance over correlation of the code, a column a model (Fig. 2a, 2b)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from hebae.config.experiment import Experiment
from hebae.figures.common import WIDTH, in_style, note, rows, titles

LIMITS = {"covariance": (1.0, 2.0), "correlation": (0.1, 0.3)}
"""Where the colours of a row end at the earliest and at the latest: one model's large values must
not take them away from the others. A correlation is 1 on the diagonal whatever the model, so the
colours are for those off it, whose target is 0."""

Matrices = Mapping[str, np.ma.MaskedArray]
"""A model each."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """Of the encoder's means on the test split, from the main runs."""
    runs = experiment.main_runs(dataset)
    # a correlation is empty where a latent variable is constant
    table = rows(
        tables,
        "covariance",
        runs,
        list(LIMITS),
        ["i", "j"],
        lambda run: run.latent_dim**2,
        finite=False,
        which="mean",
    )
    names = titles(experiment, dataset)
    covariance, correlation = (
        {
            model: np.ma.masked_invalid(
                table[table["model"] == model].pivot(index="i", columns="j", values=quantity)
            )
            for model in names
        }
        for quantity in LIMITS
    )
    coloured = {
        "covariance": covariance,
        "correlation": {model: off_diagonal(matrix) for model, matrix in correlation.items()},
    }
    edges = table["i"].min() - 0.5, table["i"].max() + 0.5
    side = min(2.2, (WIDTH - 1.2) / len(names))
    figure = Figure(figsize=(1.2 + len(names) * side, 1 + 2 * side), layout="compressed")
    axes = figure.subplots(2, len(names), squeeze=False, sharex=True, sharey=True)
    for line, (quantity, matrices) in zip(
        axes, (("covariance", covariance), ("correlation", correlation)), strict=True
    ):
        limit = float(np.clip(largest(coloured[quantity]), *LIMITS[quantity]))
        for ax, matrix in zip(line, matrices.values(), strict=True):
            image = _matrix(ax, matrix, limit, edges)
        line[0].set_ylabel(quantity)
        extend = _extend(matrices, limit)
        bar = figure.colorbar(image, ax=line, extend=extend, aspect=15, pad=0.02)
        bar.set_label(quantity)
        bar.locator = MaxNLocator(4, symmetric=True)
        bar.outline.set_linewidth(0.6)
    for ax, name in zip(axes[0], names.values(), strict=True):
        ax.set_title(textwrap.fill(name, int(15 * side)))
    for ax in axes[1]:
        ax.set_xlabel(textwrap.fill("latent variable", int(15 * side)))

    note(figure, *_sentences(experiment, dataset, covariance, correlation))
    return figure


def _matrix(
    ax: Axes, matrix: np.ma.MaskedArray, limit: float, edges: tuple[float, float]
) -> AxesImage:
    """A panel: blue and red up to the limit, grey where nothing is defined."""
    image = ax.imshow(
        matrix,
        cmap=matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.65"),
        norm=Normalize(-limit, limit),
        extent=(*edges, *edges[::-1]),
        interpolation="nearest",
    )
    ax.grid(False)
    ax.spines[:].set_visible(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return image


def _sentences(
    experiment: Experiment,
    dataset: str,
    covariance: Mapping[str, np.ma.MaskedArray],
    correlation: Mapping[str, np.ma.MaskedArray],
) -> list[str]:
    """What a reader must know, with the numbers of each model."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    undefined = any(np.ma.is_masked(matrix) for matrix in correlation.values())
    off_diagonals = {model: off_diagonal(matrix) for model, matrix in correlation.items()}
    variances = {model: matrix.diagonal() for model, matrix in covariance.items()}
    return [
        f"{data.title}, latent dimension {data.main_latent_dim}, seed {data.seeds[0]}:",
        "the encoder’s means μ on the test split.",
        "Variances: "
        + _list(
            names, {m: f"{v.min():.2g} to {v.max():.2g}" for m, v in variances.items() if v.count()}
        ),
        "Correlations are 1 on the diagonal, beyond the colours; off it, root mean square "
        "(largest): "
        + _list(
            names,
            {
                m: f"{np.sqrt((matrix**2).mean()):.2g} ({np.abs(matrix).max():.2g})"
                for m, matrix in off_diagonals.items()
                if matrix.count()
            },
        )
        if data.main_latent_dim > 1
        else "",
        "Grey: undefined, as a latent variable is constant." if undefined else "",
    ]


def off_diagonal(matrix: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """A square matrix with its diagonal masked."""
    return np.ma.masked_where(np.eye(len(matrix), dtype=bool), matrix)


def largest(matrices: Matrices) -> float:
    """The largest magnitude; 0 where nothing is left."""
    return max((np.abs(matrix).max() for matrix in matrices.values() if matrix.count()), default=0)


def _extend(matrices: Matrices, limit: float) -> str:
    """At which ends of the colour bar there are values beyond it, as matplotlib calls it."""
    below = any((matrix < -limit).any() for matrix in matrices.values())
    above = any((matrix > limit).any() for matrix in matrices.values())
    return ("neither", "max", "min", "both")[2 * below + above]


def _list(names: Mapping[str, str], texts: Mapping[str, str]) -> str:
    return "; ".join(f"{names[model]} {text}" for model, text in texts.items()) + "."
