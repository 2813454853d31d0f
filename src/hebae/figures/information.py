"""Average MIC and TIC by model and latent dimension (Fig. 2c, 2d)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebae.base.text import counted
from hebae.config.experiment import Dataset, Experiment
from hebae.config.protocols import MutualInformation
from hebae.figures.common import WIDTH, in_style, legend, look, note, rows, titles

MODEL = 0.7  # width of a model's place where models are the categories, inches
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

    names = titles(experiment, dataset)
    several = len(data.seeds) > 1
    alone = len(data.latent_dims) == 1
    # with one latent dimension, models are the categories, and the figure no wider than they need
    width = min(WIDTH, 1.4 + 2 * MODEL * len(names)) if alone else WIDTH
    figure = Figure(figsize=(width, 2.7), layout="constrained")
    places = np.arange(len(data.latent_dims))
    step = 0.8 / len(names)
    shifts = step * (np.arange(len(names)) - (len(names) - 1) / 2)
    for ax, (measure, label) in zip(figure.subplots(1, 2), LABELS.items(), strict=True):
        _marks(ax, of_runs[measure], experiment, data, step)
        if alone:
            wide = int(15 * min(MODEL, (WIDTH - 1.4) / 2 / len(names)))
            ax.set_xticks(shifts, [textwrap.fill(title, wide) for title in names.values()])
            ax.set_xlim(-0.4, 0.4)  # half a place beyond the outer ones
            ax.set_xlabel(f"latent dimension {data.latent_dims[0]}")
        else:
            ax.set_xticks(places, [str(latent_dim) for latent_dim in data.latent_dims])
            ax.set_xlim(-0.5, len(places) - 0.5)
            ax.set_xlabel("latent dimension")
            for border in places[1:] - 0.5:
                ax.axvline(border, color="0.85", linewidth=0.5, zorder=0)
        ax.grid(False, axis="x")
        ax.set_ylim(bottom=0)
        ax.set_ylabel(label)
    if not alone:
        legend(figure, ax.get_legend_handles_labels()[0], handlelength=1)
    note(
        figure,
        f"{data.title}. {protocol_text(data.mutual_information)}",
        f"Marks: mean over {counted(len(data.seeds), 'seed')} of the average over latent variables"
        + "; bars: ± 1 standard deviation; dots: single seeds" * several
        + ".",
    )
    return figure


def _marks(
    ax: Axes, of_runs: pd.Series, experiment: Experiment, data: Dataset, step: float
) -> None:
    """Each model's mean over seeds and their spread, side by side at each latent dimension."""
    names = titles(experiment, data.name)
    places = np.arange(len(data.latent_dims))
    shifts = step * (np.arange(len(names)) - (len(names) - 1) / 2)
    several = len(data.seeds) > 1
    for shift, (model, title) in zip(shifts, names.items(), strict=True):
        # a gap at the dimensions that a model is not trained at
        seeds = of_runs.loc[model].unstack("seed").reindex(list(data.latent_dims))
        x = places + shift
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


def protocol_text(protocol: MutualInformation) -> str:
    """How MIC and TIC were estimated, in a sentence."""
    if protocol.protocol == "mean_vs_sample":
        return "Between the mean μⱼ and a sample zⱼ of each latent variable."
    return (
        f"Between the index of a test image and each latent variable: {protocol.indices} indices × "
        f"{protocol.draws} draws, averaged over {counted(protocol.sets, 'random set')} of indices."
    )
