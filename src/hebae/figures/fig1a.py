"""Fig. 1a: the paper’s bound against the epoch (top) and against the weight λ (bottom)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Experiment
from hebae.figures.common import (
    WIDTH,
    in_style,
    legend,
    look,
    note,
    rows,
    seeds_curve,
    spread,
    titles,
)

CUT = 5
"""The top row's axes begin at this percentile over epochs of the lowest curve."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """Lines are means over seeds; bands and bars reach from the lowest to the highest seed.

    Only `elbo_paper` is drawn. HEBAE's per-sample bound, fair beside a VAE's, is another
    quantity on another scale.
    """
    data = experiment.datasets[dataset]
    bounds = [run.model for run in experiment.main_runs(dataset) if run.bound]
    if not bounds:
        raise UserError(f"config: figures.fig1a: no model of {dataset} has a bound")
    default_runs, weight_runs = (
        [run for run in runs if run.dataset == dataset and run.model in bounds]
        for runs in (experiment.default_runs(), experiment.weight_runs())
    )
    by_epoch = rows(tables, "elbo_by_epoch", default_runs, ["elbo_paper"], ["epoch"], split="test")

    figure = Figure(figsize=(WIDTH, 4.9 if weight_runs else 2.9), layout="constrained")
    # those at which no model with a bound is trained have no panel
    shown = [
        [z for z in latent_dims if z in {run.latent_dim for run in runs}]
        for latent_dims, runs in (
            (data.latent_dims, default_runs),
            (data.weight_latent_dims, weight_runs),
        )
    ]
    top, *bottom = _panels(figure, *filter(None, shown))
    cut = _epochs(top, by_epoch, experiment, bounds)
    next(iter(top)).set_ylabel("paper’s bound on the\ntest split (nats)")
    if weight_runs:
        by_weight = rows(tables, "elbo_by_weight", weight_runs, ["elbo_paper"], each=lambda run: 1)
        _weights(bottom[0], by_weight, experiment)
        next(iter(bottom[0])).set_ylabel("paper’s bound on the test\nsplit, last epoch (nats)")

    names = titles(experiment, dataset)
    handles = [Line2D([], [], label=names[m], **look(experiment, m)._asdict()) for m in bounds]
    legend(figure, handles)
    seeds = counted(len(data.seeds), "seed")
    if weight_runs and data.weight_seeds != data.seeds:
        seeds += f" (top), {counted(len(data.weight_seeds), 'seed')} (bottom)"
    spreads = ["bands"] * (len(data.seeds) > 1)
    spreads += ["bars"] * (bool(weight_runs) and len(data.weight_seeds) > 1)
    aggregate = any(experiment.models[model].objective == "hebae" for model in bounds)
    note(
        figure,
        f"{data.title}. Paper’s bound: −(reconstruction + regulariser), λ = 1 in the sum"
        + ("; HEBAE’s regulariser is the KL divergence of the aggregated posterior." * aggregate)
        + "." * (not aggregate),
        f"Lines: {'mean over ' * bool(spreads)}{seeds}"
        + f"; {' and '.join(spreads)}: minimum to maximum over seeds" * bool(spreads)
        + ".",
        f"First epochs, below the {CUT}th percentile of the lowest curve, are cut off." * cut,
    )
    return figure


def _panels(figure: Figure, *rows_of_dims: Sequence[int]) -> list[dict[Axes, int]]:
    """Rows as wide as the figure, a panel a latent dimension; a row shares its axes."""
    grid = figure.add_gridspec(len(rows_of_dims), math.lcm(*map(len, rows_of_dims)))
    made = []
    for row, latent_dims in enumerate(rows_of_dims):
        made.append(axes := {})
        span = grid.ncols // len(latent_dims)
        for column, latent_dim in enumerate(latent_dims):
            shared = dict.fromkeys(("sharex", "sharey"), next(iter(axes), None))
            ax = figure.add_subplot(grid[row, column * span : (column + 1) * span], **shared)
            ax.tick_params(labelleft=column == 0)
            ax.set_title(f"latent dimension {latent_dim}")
            axes[ax] = latent_dim
    return made


def _epochs(
    axes: Mapping[Axes, int], table: pd.DataFrame, experiment: Experiment, models: list[str]
) -> bool:
    """Draw the top row; whether its axes leave anything out."""
    lows, highs = [], []
    for ax, latent_dim in axes.items():
        panel = table[table["latent_dim"] == latent_dim]
        for place, model in enumerate(models):
            of_model = panel[panel["model"] == model]
            if of_model.empty:
                continue
            seeds = of_model.pivot(index="epoch", columns="seed", values="elbo_paper")
            low, mean, high = spread(seeds)
            style = look(experiment, model)
            step = max(1, len(seeds) // 6)
            # staggered, so that curves which coincide still show their markers
            start = min(len(seeds) - 1, step * (place + 1) // len(models))
            ax.plot(seeds.index, mean, **style._asdict(), markevery=(start, step), label=model)
            ax.fill_between(seeds.index, low, high, color=style.color, alpha=0.2, linewidth=0)
            if low.notna().any():
                lows.append(low)
                highs.append(high)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if not lows:
        return False
    bottom = min(np.nanpercentile(low, CUT) for low in lows)
    top = max(np.nanmax(high) for high in highs)
    margin = 0.06 * (top - bottom) or 1
    next(iter(axes)).set_ylim(bottom - margin, top + margin)
    return any(np.nanmin(low) < bottom - margin for low in lows)


def _weights(axes: Mapping[Axes, int], table: pd.DataFrame, experiment: Experiment) -> None:
    """Draw the bottom row."""
    for ax, latent_dim in axes.items():
        panel = table[table["latent_dim"] == latent_dim]
        for model, of_model in panel.groupby("model", sort=False):
            seeds = of_model.pivot(index="weight", columns="seed", values="elbo_paper")
            seeds_curve(ax, seeds, look(experiment, model), label=model)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda weight, _: f"{weight:g}"))
        ax.set_xlabel("weight λ in training")
