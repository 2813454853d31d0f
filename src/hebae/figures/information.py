"""Average MIC and TIC by model and latent dimension (Fig. 2c, 2d)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hebae.config import Experiment, MutualInformation
from hebae.figures.common import WIDTH, count, in_style, legend, look, note, rows, titles

LABELS = {"mic": "average MIC", "tic": "average TIC (normalised)"}


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """Marks: mean over seeds of a run's average over latent variables; bars: ± 1 SD."""
    data = experiment.datasets[dataset]
    runs = [run for run in experiment.default_runs() if run.dataset == dataset]
    table = rows(
        tables,
        "mutual_information",
        runs,
        list(LABELS),
        by=["dimension"],
        each=lambda run: run.latent_dim,
        protocol=data.mutual_information.protocol,
    )
    of_runs = table.groupby(["model", "latent_dim", "seed"])[list(LABELS)].mean()

    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    names = titles(experiment, dataset)
    several = len(data.seeds) > 1
    places = np.arange(len(data.latent_dims))
    step = 0.8 / len(names)
    for ax, (measure, label) in zip(figure.subplots(1, 2), LABELS.items(), strict=True):
        for order, (model, title) in enumerate(names.items()):
            seeds = of_runs.loc[model, measure].unstack("seed").loc[list(data.latent_dims)]
            x = places + (order - (len(names) - 1) / 2) * step
            color, marker, *_ = look(experiment, model)
            deviation = seeds.std(axis=1, skipna=False) if several else None
            ax.errorbar(
                x,
                seeds.mean(axis=1, skipna=False),
                deviation,
                color=color,
                marker=marker,
                linestyle="none",
                elinewidth=1,
                capsize=2.5,
                label=title,
            )
            if several:
                dots = np.repeat(x + 0.3 * step, len(data.seeds))
                ax.plot(dots, seeds.to_numpy().ravel(), ".", color=color, alpha=0.4, markersize=3.5)
        ax.set_xticks(places, [str(latent_dim) for latent_dim in data.latent_dims])
        ax.set_xlim(-0.5, len(places) - 0.5)
        ax.grid(False, axis="x")
        for border in places[1:] - 0.5:
            ax.axvline(border, color="0.85", linewidth=0.5, zorder=0)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("latent dimension")
        ax.set_ylabel(label)
    legend(figure, ax.get_legend_handles_labels()[0], handlelength=1)
    note(
        figure,
        f"{data.title}. {protocol_text(data.mutual_information)}",
        f"Marks: mean over {count(len(data.seeds), 'seed')} of the average over latent variables"
        + "; bars: ± 1 standard deviation; dots: single seeds" * several
        + ".",
    )
    return figure


def protocol_text(protocol: MutualInformation) -> str:
    """How MIC and TIC were estimated, in a sentence."""
    if protocol.protocol == "mean_vs_sample":
        return "Between the mean μⱼ and a sample zⱼ of each latent variable."
    return (
        f"Between the index of a test image and each latent variable: {protocol.indices} indices × "
        f"{protocol.draws} draws, averaged over {count(protocol.sets, 'random set')} of indices."
    )
