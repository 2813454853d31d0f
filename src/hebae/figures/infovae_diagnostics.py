"""MMD² and log det of the codes against the latent dimension and the size of the training set.

The two diagnostics of q(z) against p(z) = N(0, I) of Zhao, Song & Ermon 2017, for codes of the
images that a run was trained on and of the test split.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hebae.config.experiment import Experiment
from hebae.facts.infovae_diagnostics import (
    LABELS,
    NULLS,
    SPLITS,
    columns_of,
    measured,
    near_zero,
    null,
    threshold_of,
)
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import curve, fill, head, in_style, looks_of
from hebae.figures.looks import Look

BAND = "0.87"
HALF = 0.46
"""At each place, which is 1 wide, marks of training images lie so far to the left, of test images
to the right."""
PANEL = 1.6
"""Height of a panel, inches."""
PLACES = 3
"""Lines join marks where there are as many places at least: fewer make no trend."""


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """MMD² above log det; left against the latent dimension, right against the training images.

    With one of the two columns, MMD² stands beside log det; in a narrow figure, panels stack.
    """
    data, wide = experiment.datasets[dataset], is_wide(width)
    table, names = measured(tables, experiment, dataset), titles(experiment, dataset)
    columns, looks = columns_of(table, experiment, dataset), looks_of(experiment)
    if wide:
        panels = [(quantity, column) for quantity in LABELS for column in columns]
    else:
        panels = [(quantity, column) for column in columns for quantity in LABELS]
    n_rows = len(columns) if wide else len(panels)
    figure = Figure(figsize=(width, 1), layout="constrained")
    grid = figure.add_gridspec(n_rows, len(panels) // n_rows)
    first: dict[str, Axes] = {}
    for cell, (quantity, column) in zip(grid, panels, strict=True):
        ax = figure.add_subplot(cell, sharey=first.get(quantity))
        _panel(ax, table[column.shown], column.by, quantity, looks)
        ax.set(xlabel=fill(column.label, (width - 0.7) / len(columns)), ylabel=LABELS[quantity])
        if wide and len(columns) == 2:  # rows and columns of panels share their axes
            ax.label_outer()
        first.setdefault(quantity, ax)
    for quantity, ax in first.items():
        _y_axis(ax, table[quantity], near_zero(table, columns, quantity))
    figure.align_ylabels()
    lines = any(table[column.by].nunique() >= PLACES for column in columns)
    handles = _handles({names[model]: looks[model] for model in names}, lines)
    head(figure, f"{data.title}: distance of the codes from N(0,\u00a0I)", handles)
    # panels of one height, whatever the legend takes
    legend = figure.legends[0].get_window_extent().height / figure.dpi
    figure.set_figheight(legend + 0.3 + PANEL * n_rows)
    return figure


def _panel(
    ax: Axes, table: pd.DataFrame, by: str, quantity: str, looks: Mapping[str, Look]
) -> None:
    """At each place a band and a mark a model for training images, and the same for test images."""
    places = sorted(table[by].unique())
    models = list(dict.fromkeys(table["model"]))
    line = {} if len(places) >= PLACES else {"linestyle": "none"}
    # the middles of equal parts of the half that a split has
    shifts = HALF * (np.arange(len(models)) + 0.5) / len(models)
    for split, start in {"train": -HALF, "test": 0.0}.items():
        of_split = table[table["split"] == split]
        for place, (_, band) in enumerate(null(of_split, by, NULLS[quantity]).iterrows()):
            ends = [place + start, place + start + HALF]
            ax.fill_between(ends, *band, color=BAND, linewidth=0, zorder=0.5)
        for model, shift in zip(models, shifts, strict=True):
            part = of_split[of_split["model"] == model]
            part = part.assign(at=part[by].map(places.index) + start + shift)
            look = looks[model]
            options = {**SPLITS[split][1], **line, "markeredgecolor": look.color}
            curve(ax, part, "at", quantity, look, bars=True, label=f"{model}, {split}", **options)
    ax.axhline(0, color="0.5", linewidth=0.8, zorder=0.8)
    for border in range(1, len(places)):
        ax.axvline(border - 0.5, color="0.8", linewidth=0.5, zorder=0.4)
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_xticks(range(len(places)), [f"{place:,.0f}" for place in places])
    ax.tick_params(axis="x", length=0)
    ax.grid(False, axis="x")


def _y_axis(ax: Axes, values: pd.Series, near: float) -> None:
    """Linear around 0 and logarithmic far from it."""
    if not (threshold := threshold_of(values, near)):
        return
    ax.set_yscale("symlog", linthresh=threshold)
    ax.autoscale_view(scalex=False)
    decades = int(np.ceil(np.log10(values[np.isfinite(values)].abs().max() / threshold)))
    ticks = threshold * 10.0 ** np.arange(0, decades + 1, 1 + decades // 5)
    ticks = ticks if decades > 2 else np.sort([*ticks, *3 * ticks])
    ax.yaxis.set_major_locator(FixedLocator([*-ticks[::-1], 0, *ticks]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.yaxis.set_minor_locator(NullLocator())


def _handles(looks: Mapping[str, Look], lines: bool) -> list[Line2D | Patch]:
    """Of the legend: the models by title, then what filled and open marks and the band are."""
    line = {} if lines else {"linestyle": "none"}
    handles = [
        Line2D([], [], label=title, **{**look._asdict(), "linewidth": 0.8, **line})
        for title, look in looks.items()
    ]
    grey = {"color": "0.4", "marker": "o", "linestyle": "none"}
    handles += [Line2D([], [], label=label, **grey | own) for label, own in SPLITS.values()]
    return [*handles, Patch(color=BAND, label="N(0, I), 95 %")]
