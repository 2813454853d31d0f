"""Fig. 1a: the paper's bound on the test split, against epochs (top) and weights λ (bottom)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hebae.config.experiment import Experiment
from hebae.facts.fig1a import limits, measured
from hebae.facts.text import WIDTH, titles
from hebae.figures.common import curve, fill, head, in_style, looks_of, plain


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel a latent dimension; a row shares its axes."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    # dimensions at which no model with a bound is trained have no panel
    shown = [
        [z for z in latent_dims if (table["latent_dim"] == z).any()]
        for latent_dims, table in (
            (data.latent_dims, found.by_epoch),
            (data.weight_latent_dims, found.by_weight),
        )
    ]
    shown = list(filter(None, shown))
    figure = Figure(figsize=(width, 0.8 + 1.75 * len(shown)), layout="constrained")
    top, *bottom = _panels(figure, shown)
    looks, names = looks_of(experiment), titles(experiment, dataset)
    for ax, table in _each(top, found.by_epoch):
        for place, (model, of_model) in enumerate(table.groupby("model", sort=False)):
            # staggered, so that curves which coincide still show their markers
            epochs = of_model["epoch"].nunique()
            step = max(1, epochs // 6)
            start = min(epochs - 1, step * (place + 1) // len(found.models))
            marks = {"markevery": (start, step), "label": model}
            curve(ax, of_model, "epoch", "elbo_paper", looks[model], bars=False, **marks)
        ax.set(xlabel="epoch", ylabel="")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    next(iter(top)).set_ylim(*limits(found.by_epoch))
    for axes in bottom:
        for ax, table in _each(axes, found.by_weight):
            for model, of_model in table.groupby("model", sort=False):
                look = looks[model]
                curve(ax, of_model, "weight", "elbo_paper", look, bars=True, label=model)
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda weight, _: plain(weight)))
            ax.set(xlabel=fill("weight λ in training", _room(axes, width)), ylabel="")
    for axes, when in zip((top, *bottom), ("", "last epoch, "), strict=False):
        next(iter(axes)).set_ylabel(f"paper’s bound\n({when}nats)")
    handles = [Line2D([], [], label=names[m], **looks[m]._asdict()) for m in found.models]
    hebae = any(experiment.models[model].objective == "hebae" for model in found.models)
    none = ", which for HEBAE is none" * hebae
    head(figure, f"{data.title}: the paper’s bound{none}, test split", handles)
    return figure


def _panels(figure: Figure, shown: Sequence[Sequence[int]]) -> list[dict[Axes, int]]:
    """Rows as wide as the figure, a panel a latent dimension; a row shares its axes."""
    grid = figure.add_gridspec(len(shown), math.lcm(*map(len, shown)))
    made = []
    for row, latent_dims in enumerate(shown):
        made.append(axes := {})
        span = grid.ncols // len(latent_dims)
        for column, latent_dim in enumerate(latent_dims):
            shared = dict.fromkeys(("sharex", "sharey"), next(iter(axes), None))
            ax = figure.add_subplot(grid[row, column * span : (column + 1) * span], **shared)
            ax.tick_params(labelleft=column == 0)
            axes[ax] = latent_dim
        for ax, latent_dim in axes.items():
            room = _room(axes, figure.get_figwidth())
            ax.set_title(fill(f"latent dimension {latent_dim}", room))
    return made


def _room(axes: Mapping[Axes, int], width: float) -> float:
    """Inches for a panel of a row."""
    return (width - 0.6) / len(axes)


def _each(axes: Mapping[Axes, int], table: pd.DataFrame):
    """Every panel with the rows that it shows."""
    for ax, latent_dim in axes.items():
        yield ax, table[table["latent_dim"] == latent_dim]
