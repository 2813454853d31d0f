"""What a model reaches against the size of the batches that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from hebae.config.experiment import Experiment
from hebae.config.registry import RECONSTRUCTIONS
from hebae.facts.batch_size import LABELS, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import curve, fill, head, in_style, looks_of


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel a quantity, side by side or two in a line; a curve a model."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    looks, names = looks_of(experiment), titles(experiment, dataset)
    columns = 4 if is_wide(width) else 2
    figure = Figure(figsize=(width, 0.6 + 1.75 * (4 // columns)), layout="constrained")
    axes = figure.subplots(4 // columns, columns, sharex=True)
    sizes = sorted(found["batch_size"].unique())
    models = [model for model in names if model in set(found["model"])]
    likelihood = any(RECONSTRUCTIONS[m.reconstruction].likelihood for m in data.models.values())
    for ax, (value, label) in zip(axes.flat, LABELS.items(), strict=True):
        for model in models:
            own = found[found["model"] == model]
            curve(ax, own, "batch_size", value, looks[model], bars=True)
        ax.set(xlabel="", ylabel="")
        unit = " (nats)" * (value == "reconstruction" and likelihood)
        ax.set_title(fill(label + unit, 0.9 * width / columns))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.margins(x=0.12, y=0.12)
    # after the curves, because seaborn takes means on the scale of the axes
    for ax in axes.flat:
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
    figure.supxlabel("images in a batch", fontsize=8)
    handles = [Line2D([], [], label=names[model], **looks[model]._asdict()) for model in models]
    head(figure, f"{data.title}: what is reached with each batch size", handles)
    return figure
