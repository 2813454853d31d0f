"""At which learning rates and initial weights a model fails to train."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hebae.base.text import counted, number
from hebae.config.experiment import Experiment
from hebae.config.registry import RECONSTRUCTIONS
from hebae.facts.stability import FACTOR, NORM, SCALE, measured, percent, shares
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import SMALL, fill, head, in_style

CELL = 0.24  # inches of a row of cells


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel a model and batch normalisation, in each a grid of learning rates and scales."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, failing = titles(experiment, dataset), shares(found).groupby("model")["fails"].mean()
    panels = {
        (model, norm): cells
        for model in names
        for norm, cells in found[found["model"] == model].groupby(NORM, sort=False)
    }
    columns = min(len(panels), 4 if is_wide(width) else 2)
    lines = -(-len(panels) // columns)
    asked, side = data.stability, (width - 1.1) / columns
    grown = len(asked.initial_scales) * CELL + 0.45
    figure = Figure(figsize=(width, 0.75 + lines * grown), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    kinds = {model: sum(own == model for own, _ in panels) for model in names}
    low, high = found["level"].min(), found["constant_image"].max()
    for ax, ((model, norm), cells) in zip(axes.flat, panels.items(), strict=False):
        grid = cells.groupby([SCALE, FACTOR]).agg({"level": "mean", "fails": "sum"}).unstack(FACTOR)
        # the largest scale on top, as on an axis
        level, count = (grid[column].sort_index(ascending=False) for column in ("level", "fails"))
        sns.heatmap(
            level,
            ax=ax,
            annot=count.map(lambda number: f"{number:.0f}" if number else ""),
            annot_kws={"fontsize": SMALL},
            fmt="",
            cmap="rocket_r",
            vmin=low,
            vmax=high,
            cbar=False,
            linewidths=0.5,
            xticklabels=[f"×{factor:g}" for factor in level.columns],
            yticklabels=[f"×{scale:g}" for scale in level.index],
        )
        ax.grid(False)
        ax.tick_params(rotation=0, length=0)
        ax.set(xlabel="", ylabel="")
        kind = f", {norm}" * (kinds[model] > 1)
        share = failing[model] if kinds[model] == 1 else cells["fails"].mean()
        ax.set_title(fill(f"{names[model]}{kind}: {percent(share)}", side))
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        ax.tick_params(labelbottom=True)
    figure.supxlabel("learning rate", fontsize=8)
    figure.supylabel("initial weights", fontsize=8)
    bar = figure.colorbar(axes.flat[0].collections[0], ax=axes, aspect=10 * lines, pad=0.02)
    likelihood = any(RECONSTRUCTIONS[m.reconstruction].likelihood for m in data.models.values())
    bar.set_ticks([low, high], labels=[number(low), number(high)])
    label = "reconstruction error" + " (nats)" * likelihood
    bar.set_label(fill(label, grown * lines - 0.2))
    bar.outline.set_linewidth(0.6)
    of_seeds = f"; numbers: of {counted(len(data.seeds), 'seed')}"
    head(figure, f"{data.title}: share of trainings that fail{of_seeds}")
    return figure
