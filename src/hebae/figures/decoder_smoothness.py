"""How fast a decoder changes with the code."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.config.experiment import Experiment
from hebae.facts.decoder_smoothness import PLACES, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import curve, fill, head, in_style, looks_of, plain_log


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """Rates against steps: at samples of the prior, and at codes."""
    data, table = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, looks = titles(experiment, dataset), looks_of(experiment)
    models = [model for model in names if model in set(table["model"])]
    shape = (1, 2) if is_wide(width) else (2, 1)
    figure = Figure(figsize=(width, 0.9 + 1.9 * shape[0]), layout="constrained")
    axes = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    for ax, (at, where) in zip(axes.flat, PLACES.items(), strict=True):
        for model in models:
            part = table[(table["model"] == model) & (table["at"] == at)]
            curve(ax, part, "step", "rate", looks[model], bars=True, label=model)
        ax.set(xlabel="", ylabel="")
        ax.set_title(where, loc="left")
    for ax in axes.flat:  # after all curves, because seaborn takes means on the scale of the axes
        ax.set_xscale("log")
        plain_log(ax.xaxis, ax.get_xlim())
        ax.set_ylim(bottom=0)
    for ax in axes[-1]:
        room = 0.45 if is_wide(width) else 0.8
        ax.set_xlabel(fill("length h of a step in the code (prior: σ = 1)", room * width))
    for ax in axes[:, 0]:
        ax.set_ylabel(fill("change of a pixel / h", 1.6))
    handles = [Line2D([], [], label=names[model], **looks[model]._asdict()) for model in models]
    head(
        figure,
        f"{data.title}, latent dimension {data.main_latent_dim}: how fast the decoder changes",
        handles,
    )
    return figure
