"""How a Fréchet distance grows with distortions of real images."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebae.config.experiment import Experiment
from hebae.facts.distorted_images import LABELS, measured
from hebae.facts.fig1b import distance
from hebae.facts.text import WIDTH, is_wide
from hebae.figures.common import fill, head, in_style, plain_log

LOOK = {"color": "0.25", "marker": "o", "linewidth": 1, "markersize": 4}


@in_style
def draw(table: pd.DataFrame, experiment: Experiment, dataset: str, width: float = WIDTH) -> Figure:
    """A panel a distortion, on one axis of distances."""
    data, found = experiment.datasets[dataset], measured(table)
    columns = 4 if is_wide(width) else 2
    figure = Figure(figsize=(width, 0.5 + 1.8 * (4 // columns)), layout="constrained")
    axes = figure.subplots(4 // columns, columns, sharey=True, squeeze=False)
    for ax, (name, label) in zip(axes.flat, LABELS.items(), strict=True):
        own = found[found["distortion"] == name]
        ax.plot(own["strength"], own["fid"], **LOOK)
        ax.set_xlabel(fill(label, 0.8 * width / columns))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if found["fid"].min() > 0:
        axes[0, 0].set_yscale("log")
        plain_log(axes[0, 0].yaxis, axes[0, 0].get_ylim())
    for ax in axes[:, 0]:
        ax.set_ylabel(distance(found["features"].iloc[0]))
    head(figure, f"{data.title}: distance of distorted from undistorted real images")
    return figure
