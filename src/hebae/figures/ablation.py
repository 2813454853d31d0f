"""Whether a model's divergence moves it, or the noise of its codes (Sec. 5 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.config.registry import COMPARED, NOISES
from hebae.facts.ablation import NATS, Ablation, measured
from hebae.facts.fig1b import distance
from hebae.facts.text import WIDTH, is_wide
from hebae.figures.common import ROW, SMALL, complete, dots, fill, head, in_style
from hebae.figures.looks import LOOKS

LIKE = {"moments": "HEBAE", "mmd": "WAE", "posterior_kl": "VAE"}
"""A divergence looks like the model that is known for it."""
TITLES = {
    "bound": "bound on log p(x), q widened",
    "reconstruction": "reconstruction error",
    "distance": "‖Cov − I‖ of means and codes",
}
OPEN = {"distance": "codes", "fid": "mixture"}
"""By panel, the measure that has open marks."""
OPENED = {"codes": "codes z", "mixture": "samples of a mixture"}


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel a measure, in it a group of rows a noise and a row a divergence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    panels = [name for name in found.measures if name in TITLES]
    panels += ["fid"] if found.features else []
    columns = min(2 if is_wide(width) else 1, len(panels))
    lines = -(-len(panels) // columns)
    height = 0.85 + lines * (0.6 + ROW * len(found.models))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, panel in zip(axes, panels, strict=False):
        for measure in (OPEN.get(panel), "prior" if panel == "fid" else panel):
            if measure in found.runs:
                _rows(ax, found, measure)
        if panel == "distance" and found.floor:
            ax.axvline(found.floor, color="0.45", linewidth=0.8, zorder=1)
        title = f"{distance(found.features)} of samples" if panel == "fid" else TITLES[panel]
        title += " (nats)" * (panel in NATS)
        ax.set_title(fill(title, 0.9 * width / columns - 0.6), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    head(figure, f"{data.title}: what the divergence does, and what the noise", _handles(found))
    return figure


def _rows(ax: Axes, found: Ablation, measure: str) -> None:
    """A row a model; open marks have no numbers."""
    second, models = measure in OPEN.values(), found.models
    cells = found.runs.drop_duplicates("model").set_index("model").loc[models]
    looks = {model: LOOKS[LIKE[cells.loc[model, "divergence"]]] for model in models}
    absent = dict.fromkeys(models, "") if second else {}
    dots(ax, found.runs, measure, "model", models, looks, absent=absent, filled=not second)
    if second:
        return
    ax.set(xlabel="", ylabel="", ylim=(len(models) - 0.5, -0.5))
    places = pd.Series(range(len(models)), index=models).groupby(cells["noise"], sort=False)
    ax.set_yticks([of.mean() for _, of in places], [NOISES[noise] for noise, _ in places])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    for _, of in list(places)[1:]:
        ax.axhline(of.min() - 0.5, color="0.8", linewidth=0.6, zorder=0)
    means = complete(found.runs, ["model"], measure).groupby("model")[measure].mean()
    for model, mean in means.items():  # beside the axes, where they are over no mark
        where = {"transform": ax.get_yaxis_transform(), "va": "center_baseline"}
        ax.text(1.015, models.index(model), number(mean), fontsize=SMALL, **where)


def _handles(found: Ablation) -> list[Line2D]:
    there = set(found.runs["divergence"])
    mark = {"linestyle": "none", "markersize": 4.5}
    handles = [
        Line2D([], [], label=label, **LOOKS[LIKE[name]]._asdict() | mark)
        for name, label in COMPARED.items()
        if name in there
    ]
    if found.floor:
        handles.append(Line2D([], [], label="codes from N(0, I)", color="0.45", linewidth=0.8))
    if labels := [OPENED[name] for name in OPEN.values() if name in found.runs]:
        opened = {"color": "0.2", "marker": "o", "linestyle": "none", "markersize": 6}
        opened |= {"markeredgewidth": 1, "markerfacecolor": "white"}
        handles.append(Line2D([], [], label=", ".join(labels), **opened))
    return handles
