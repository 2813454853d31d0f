"""What the paper plots as a bound, what it leaves out, and the bounds that can be compared.

HEBAE’s −(reconstruction + R) leaves mean KL(q(z|x) ‖ p) − R out of a bound on log p(x): I(n; z)
and KL(q(z) ‖ p) − R (Hoffman & Johnson 2016; Eq. 10; docs/bounds.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.facts.fair_bounds import FairBounds, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import SMALL, dots, fill, head, in_style, looks_of

INFORMATION, REST = "0.55", "0.8"
"""Greys of the two parts of what is left out."""
NAMES, ROW, FRAME = 1.15, 0.3, 0.75
"""Inches of models’ names, of a model’s row, and of a panel’s title and axis."""


class Panel(NamedTuple):
    """One of the figure's three."""

    columns: tuple[str, ...]
    """Of :attr:`FairBounds.runs`. The last has filled marks, one before it open ones."""
    label: str
    without: str
    """What stands in the row of a model that has no bound in the paper."""


PANELS = {
    "What the paper plots": Panel(("paper",), "−(reconstruction + R) (nats)", "not in the paper"),
    "What it leaves out": Panel(
        ("left_out",), "mean KL(q(z|x) ‖ p) − R (nats)", "not in the paper"
    ),
    "What can be compared": Panel(
        ("per_sample", "tightest"), "bound on log p(x) (nats)", "not finite"
    ),
}


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A row a model in each of the panels: in the last alone where no bound leaves anything out."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, shown = titles(experiment, dataset), list(PANELS)[0 if found.leaving else -1 :]
    n_rows, n_columns = (1, len(shown)) if is_wide(width) else (len(shown), 1)
    figure = Figure(figsize=(width, 1), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for title, ax in zip(shown, axes.flat, strict=True):
        panel = PANELS[title]
        values = found.runs[["paper", "per_sample", "tightest"]]
        if panel.columns == ("left_out",):
            _bars(ax, found)
            values = found.runs[["left_out"]].assign(nothing=0.0)
        _marks(ax, found, panel, experiment)
        _limits(ax, values, (width - NAMES) / n_columns)
        ax.set(xlabel=panel.label, ylabel="", ylim=(len(found.models) - 0.5, -0.5))
        ax.set_title(title, weight="bold")
        labels = [fill(names[model], NAMES) for model in found.models]
        ax.set_yticks(range(len(labels)), labels, fontsize=8)
        ax.tick_params(axis="y", length=0, labelleft=ax in axes[:, 0])
        ax.grid(False, axis="y")
    subject = "what the paper’s bound leaves out" if found.leaving else "bounds on log\u00a0p(x)"
    head(figure, f"{data.title}: {subject}", _handles(found))
    legend = figure.legends[0].get_window_extent().height / figure.dpi
    figure.set_figheight(legend + n_rows * (FRAME + ROW * len(found.models)))
    return figure


def _marks(ax: Axes, found: FairBounds, panel: Panel, experiment: Experiment) -> None:
    """Means and seeds with the means in print, and a line from the last column to the others."""
    looks, means = looks_of(experiment), found.means
    *before, last = columns = list(panel.columns)
    for column in before:
        nothing = dict.fromkeys(found.models, "")
        common = ("model", found.models, looks)
        dots(ax, found.runs, column, *common, filled=False, absent=nothing)
    without = {model: panel.without for model in found.models if model not in found.of_paper}
    dots(ax, found.runs, last, "model", found.models, looks, absent=without)
    for place, model in enumerate(found.models):
        if np.isfinite(mean := means.loc[model, last]):
            ends = means.loc[model, columns].dropna()
            if len(ends) > 1:
                line = {"linestyle": (0, (1, 1)), "linewidth": 0.8, "zorder": 1}
                ax.plot(ends, [place] * len(ends), color=looks[model].color, **line)
            right = found.runs.loc[found.runs["model"] == model, columns].max(axis=None)
            style = {"va": "center", "ha": "left", "fontsize": 8}
            ax.annotate(number(mean), (right, place), (5, 0), textcoords="offset points", **style)
            style = {"va": "bottom", "ha": "center", "fontsize": SMALL, "color": "0.3"}
            for one in ends.drop(last):
                ax.annotate(number(one), (one, place), (0, 4), textcoords="offset points", **style)


def _bars(ax: Axes, found: FairBounds) -> None:
    """What is left out: I(n; z), but no more of it than is left out in all, and then the rest."""
    means = found.means.loc[found.of_paper].dropna(subset=["left_out", "information"])
    places = [found.models.index(model) for model in means.index]
    information = means["information"].clip(upper=means["left_out"]).clip(lower=0)
    style = {"height": 0.62, "linewidth": 0, "zorder": 0.9}
    ax.barh(places, information, color=INFORMATION, **style)
    ax.barh(places, means["left_out"] - information, left=information, color=REST, **style)
    ax.axvline(0, color="0.3", linewidth=0.6, zorder=0.95)


def _limits(ax: Axes, values: pd.DataFrame, inches: float) -> None:
    """From the lowest to the highest, with room for a number to the right."""
    low, high = values.min(axis=None), values.max(axis=None)
    low, high = (low, high) if np.isfinite(high - low) else (0, 1)
    margin = 0.1
    span = ((high - low) or 1) / (1 - margin - 0.55 / inches)
    ax.set_xlim(low - margin * span, low + (1 - margin) * span)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _handles(found: FairBounds) -> list[Line2D | Patch]:
    parts = {"information I(n; z)": INFORMATION, "KL(q(z) ‖ p) − R": REST}
    style = {"color": "0.2", "marker": "o", "linestyle": "none", "markersize": 4.5}
    opened = {"markersize": 6, "markeredgewidth": 1, "markerfacecolor": "white"}
    return [
        *(Patch(color=color, label=label) for label, color in parts.items() if found.leaving),
        Line2D([], [], label="per-sample bound", **style | opened),
        Line2D([], [], label="tightest bound", **style),
    ]
