"""Fig. 1b: Fréchet distance of generated images against the weight λ, on two scales of λ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Dataset, Experiment
from hebae.config.registry import DATASETS
from hebae.figures.common import WIDTH, in_style, legend, look, note, rows, seeds_curve, titles

WIDE = 20
"""Distances that range over more than this factor get a log axis."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """Left against λ as trained, right against λ on a common scale; a row a latent dimension."""
    data = experiment.datasets[dataset]
    if data.fid is None:
        raise UserError(f"config: figures.fig1b: {dataset!r} has no fid block")
    grid, default = (
        [run for run in runs if run.dataset == dataset]
        for runs in (experiment.weight_runs(), experiment.default_runs())
    )
    # a grid may have fewer seeds than the default weights, and a mean should be over the same
    runs = grid or default
    counts, kinds = ("n_generated", "n_reference"), ("reference", "features", "accuracy")
    table = rows(
        tables,
        "fid",
        runs,
        ["fid", "common_weight", *counts],
        each=lambda run: 1,
        texts=(*kinds, "warning"),
    )
    file = tables["fid"].attrs.get("file", "fid")
    n_generated, n_reference, reference, features, accuracy = (
        _same(table, column, file) for column in (*counts, *kinds)
    )

    models = list(dict.fromkeys(run.model for run in runs))
    latent_dims = list(dict.fromkeys(run.latent_dim for run in runs))
    squared = all(data.models[model].reconstruction == "squared_error" for model in models)
    pixels = prod(DATASETS[data.source].image_shape)

    figure = Figure(figsize=(WIDTH, 1.7 + 2 * len(latent_dims)), layout="constrained")
    common = _panels(figure, table, latent_dims, features, experiment, data)
    if squared:
        _variance_axis(common, pixels)

    names = titles(experiment, dataset)
    legend(
        figure, [Line2D([], [], label=names[m], **look(experiment, m)._asdict()) for m in models]
    )
    left_out = [name for model, name in names.items() if model not in models]
    filled = any(run.lam == data.models[run.model].default for run in runs)
    seeds = {run.seed for run in runs}
    note(
        figure,
        f"{data.title}, latent dimension {', '.join(map(str, latent_dims))}.",
        f"{n_generated:,.0f} generated images, clipped and rounded to 8 bits, uncompressed, "
        f"against {n_reference:,.0f} 8-bit images of the {reference} split.",
        _features_text(features, accuracy),
        f"Without a grid of λ: {', '.join(left_out)}." if left_out else "",
        "Filled marks: default λ." if filled and grid else "",
        "" if grid else "Each model at its default λ.",
        f"Mean over {counted(len(seeds), 'seed')}; bars: minimum to maximum."
        if len(seeds) > 1
        else "One seed.",
        _scales_text(data, {model: names[model] for model in models}, squared),
        f"σ²: variance of Gaussian pixels, P = {pixels:,} of them in [−1, 1]." if squared else "",
        "λ = 0 lies off the log axis." if (table["weight"] == 0).any() else "",
        *(f"Warning: {text}." for text in table["warning"].dropna().unique()),
    )
    return figure


def _panels(
    figure: Figure,
    table: pd.DataFrame,
    latent_dims: Sequence[int],
    features: str,
    experiment: Experiment,
    data: Dataset,
) -> Axes:
    """A row a latent dimension, each scale of λ a column; the uppermost of the common scale."""
    axes = figure.subplots(len(latent_dims), 2, squeeze=False, sharex="col", sharey=True)
    for (left, right), latent_dim in zip(axes, latent_dims, strict=True):
        panel = table[table["latent_dim"] == latent_dim]
        for ax, scale in ((left, "weight"), (right, "common_weight")):
            _curves(ax, panel, scale, experiment, data)
        left.set_ylabel(f"latent dimension {latent_dim}")
    if len(latent_dims) == 1:  # which the note states
        left.set_ylabel(distance(features))
    else:
        figure.supylabel(distance(features), fontsize="medium")
    for ax in (left, right):
        ax.set_xscale("log")
        _log_ticks(ax.xaxis, ax.get_xlim())
    values = table["fid"]
    if values.max() > WIDE * values.min() > 0:
        left.set_yscale("log")
        _log_ticks(left.yaxis, left.get_ylim(), subs=(1, 2, 5))
    left.set_xlabel("weight λ in training, each model’s own scale")
    right.set_xlabel("weight λ on the common scale")
    return axes[0, 1]


def distance(features: str) -> str:
    """What the distance is called. Only in Inception's features is it a FID."""
    if features == "inception":
        return "FID (Inception)"
    return f"Fréchet distance\nin features of a {features}"


def _same(table: pd.DataFrame, column: str, file: str) -> Any:
    """The value that all rows have in a column; distances of unlike kinds do not compare."""
    values = table[column].unique()
    if len(values) > 1:
        found = ", ".join(map(str, values))
        raise UserError(f"{file}: rows with different {column} do not compare: {found}")
    if pd.isna(values[0]) and column != "accuracy":  # Inception's is empty
        raise UserError(f"{file}: column {column!r} is empty")
    return values[0]


def _curves(
    ax: Axes, table: pd.DataFrame, scale: str, experiment: Experiment, data: Dataset
) -> None:
    """Open marks, and filled ones at the default λ."""
    for model, of_model in table.groupby("model", sort=False):
        style = look(experiment, model)
        default = of_model["weight"] == data.models[model].default
        for part, options in (
            (of_model, {"markerfacecolor": "white", "markeredgewidth": 0.9, "label": model}),
            (of_model[default], {"linestyle": "none", "zorder": 3, "label": f"_{model}, default"}),
        ):
            if not part.empty:
                seeds = part.pivot(index=scale, columns="seed", values="fid")
                seeds_curve(ax, seeds, style, **options)


def _log_ticks(axis: Axis, limits: tuple[float, float], subs: Sequence[float] = (1,)) -> None:
    """Ticks of a log axis with plain numbers, few enough to stand beside each other."""
    low, high = limits
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 20 * low else subs, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _variance_axis(ax: Axes, pixels: int) -> None:
    """The decoder variance that a λ on the common scale amounts to (see the note)."""
    to_variance, to_weight = (
        lambda weight: pixels * weight / 2,
        lambda variance: 2 * variance / pixels,
    )
    upper = ax.secondary_xaxis("top", functions=(to_variance, to_weight))
    upper.set_xlabel("decoder variance σ² = P·λ/2")
    upper.spines["top"].set_visible(True)
    _log_ticks(upper.xaxis, ax.get_xlim())


def _features_text(features: str, accuracy: float) -> str:
    if features == "inception":
        return (
            "Features: Inception of pytorch-fid; images resized to 299×299 by pytorch-fid, "
            "bilinear without antialiasing."
        )
    tested = "" if pd.isna(accuracy) else f" (mean test accuracy {accuracy:.3f})"
    return f"Features: a {features}{tested}; distances compare with no published ones."


def _scales_text(data: Dataset, names: Mapping[str, str], squared: bool) -> str:
    """What multiplies λ's counterpart, the reconstruction term, in each model's loss."""
    if not squared:
        return "Common scale: loss = reconstruction + λ·R."
    of_terms: dict[str, list[str]] = {}
    for model, name in names.items():
        parameters = data.models[model].reconstruction_parameters
        factor, reduction = parameters.get("factor", 1), parameters.get("reduction", "mean")
        of_terms.setdefault(f"{factor:g} · " * (factor != 1) + reduction, []).append(name)
    terms = "; ".join(f"{term} ({', '.join(models)})" for term, models in of_terms.items())
    apart = ", between which λ does not compare" if len(of_terms) > 1 else ""
    return (
        f"Left: the loss has squared error as {terms}{apart}. "
        "Right: loss = mean squared error + λ·R, R each model’s own regulariser."
    )
