"""The noise in a code and three bounds against the epoch: which of them settle."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.config.experiment import Experiment
from hebae.facts.bounds_by_epoch import BOUNDS, COLUMNS, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import curve, head, in_style, looks_of, plain_log

PANELS = {
    "elbo_paper": "paper’s bound",
    "elbo": "per-sample bound",
    "elbo_widened": "widened bound",
    "noise_deviation": "noise in z (prior: 1)",
}
"""Titles of the panels, by column."""
CUT = 0.1
"""Axes begin at the lowest value after this share of the epochs."""


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel a bound, with an axis of its own, and one of the noise; epochs on a log axis."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    looks, names = looks_of(experiment), titles(experiment, dataset)
    shown = [column for column in COLUMNS if column in found.curves]
    n_columns = len(shown) if is_wide(width) else min(2, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(width, 0.8 + 1.75 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    last = max(curve["epoch"].max() for curve in found.curves.values())
    for ax, column in zip(axes.flat, shown, strict=False):
        table = found.curves[column]
        for place, (model, of_model) in enumerate(table.groupby("model", sort=False)):
            # staggered, as shares of the axes, so that curves which coincide show their markers
            few = {"markevery": (0.04 + 0.06 * (place % 4), 0.3)}
            curve(ax, of_model, "epoch", column, looks[model], bars=False, label=model, **few)
        bottom, top = _limits(table, column, last)
        ax.set_xscale("log")
        plain_log(ax.xaxis, (1, max(2, last)), (1, 3) if is_wide(width) else (1,))
        ax.tick_params(labelbottom=True)
        ax.set(xlabel="epoch", ylabel="", xlim=(1, max(2, last) * 1.04))
        if column in BOUNDS:
            ax.set_ylim(bottom, top)
        else:
            ax.set_yscale("log")
            plain_log(ax.yaxis, (bottom, top))
        ax.set_title(PANELS[column])
    axes[0, 0].set_ylabel("nats")
    handles = [Line2D([], [], label=names[m], **looks[m]._asdict()) for m in found.models]
    head(figure, f"{data.title}: bounds and noise by epoch, test split", handles)
    return figure


def _limits(table: pd.DataFrame, column: str, last: float) -> tuple[float, float]:
    """Of a panel's axis; the first epochs may lie below it."""
    late = table[table["epoch"] >= min(CUT * last, last)]
    low, high = late[column].min(), table[column].max()
    if column not in BOUNDS:
        return table[column].min(), high
    margin = 0.06 * (high - low) or 1
    return low - margin, high + margin
