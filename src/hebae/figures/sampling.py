"""Where a model's Fréchet distance comes from: its prior, its decoder, or between its codes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.facts.fig1b import distance
from hebae.facts.sampling import SAMPLINGS, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import (
    ROW,
    SMALL,
    complete,
    dots,
    fill,
    head,
    in_style,
    looks_of,
    plain_log,
)


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A group of rows a sampling, in it a row a model."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, looks = titles(experiment, dataset), looks_of(experiment)
    samplings = [one for one in SAMPLINGS if one in set(found.table["sampling"])]
    models = [model for model in names if model in set(found.table["model"])]
    order = [f"{sampling}/{model}" for sampling in samplings for model in models]
    table = found.table.assign(row=found.table["sampling"] + "/" + found.table["model"])
    figure = Figure(figsize=(width, 1.15 + ROW * (len(order) + 1)), layout="constrained")
    ax = figure.subplots()
    if found.real is not None:
        ax.axvline(found.real, color="0.45", linewidth=0.8, zorder=1)
    of_rows = {row: looks[row.partition("/")[2]] for row in order}
    dots(ax, table, "fid", "row", order, of_rows)
    n = len(models)
    ax.set(xlabel=distance(found.protocol["features"]), ylabel="", ylim=(len(order) - 0.5, -0.5))
    middles = [n * k + (n - 1) / 2 for k in range(len(samplings))]
    label = max(1.05, 0.2 * width)
    counts = found.table.groupby("sampling")["n_generated"].max()
    alike = counts.nunique() == 1
    labels = [SAMPLINGS[one] + f" ({counts[one]:,.0f})" * (not alike) for one in samplings]
    ax.set_yticks(middles, [fill(text, label) for text in labels])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    for k in range(1, len(samplings)):
        ax.axhline(n * k - 0.5, color="0.8", linewidth=0.6, zorder=0)
    means = complete(table, ["row"], "fid").groupby("row")["fid"].mean()
    for row, mean in means.items():  # beside the axes, where they are over no mark
        where = {"transform": ax.get_yaxis_transform(), "va": "center_baseline"}
        ax.text(1.015, order.index(row), number(mean), fontsize=SMALL, **where)
    values = table["fid"].dropna()
    if len(values) and values.min() > 0 and (found.real is None or found.real > 0):
        ax.set_xscale("log")
        ax.margins(x=0.04)
        low, high = ax.get_xlim()
        few = high > (300 if is_wide(width) else 30) * low
        plain_log(ax.xaxis, (low, high), subs=(1,) if few else (1, 2, 5))
    handles = [
        Line2D([], [], label=names[model], **looks[model]._asdict() | {"linestyle": "none"})
        for model in models
    ]
    if found.real is not None:
        real = "real images" + f" ({found.n_real:,})" * (not alike)
        handles.append(Line2D([], [], label=real, color="0.45", linewidth=0.8))
    head(
        figure,
        f"{data.title}, latent dimension {data.main_latent_dim}: distance of decoded from real "
        "images",
        handles,
    )
    return figure
