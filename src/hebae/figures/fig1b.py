"""Fig. 1b: Fréchet distance between generated and real images, against the weight λ."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebae.config.experiment import Experiment
from hebae.facts.fig1b import distance, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import SMALL, complete, curve, head, in_style, looks_of, plain_log

WIDE = 20
"""Distances that range over more than this factor get a log axis."""

OPEN = {"markerfacecolor": "white", "markeredgewidth": 0.9, "zorder": 3}
RECONSTRUCTED = {"linewidth": 0.8, "linestyle": (0, (2, 2)), "markersize": 2}


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A row a latent dimension; scales of λ side by side, or stacked in a narrow figure."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    looks, names = looks_of(experiment), titles(experiment, dataset)
    models, latent_dims = (found.prior[column].unique() for column in ("model", "latent_dim"))
    panels = [(latent_dim, scale) for latent_dim in latent_dims for scale in found.scales]
    columns = len(found.scales) if is_wide(width) else 1
    lines = len(panels) // columns
    figure = Figure(figsize=(width, 0.7 + 2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for ax, (latent_dim, scale) in zip(axes.flat, panels, strict=True):
        for model in models:
            prior, reconstruction = (
                table[(table["model"] == model) & (table["latent_dim"] == latent_dim)]
                for table in found[:2]
            )
            default = prior[prior["weight"] == data.models[model].default]
            for part, style in (
                (reconstruction, RECONSTRUCTED),
                (prior, OPEN),
                (default, {"linestyle": "none", "zorder": 4}),
            ):
                style = {"markeredgecolor": looks[model].color, "label": model, **style}
                curve(ax, part[part["weight"] > 0], scale, "fid", looks[model], bars=True, **style)
        if not found.real.empty:
            _name(ax.axhline(found.real["fid"].mean(), color="0.45", linewidth=0.8), "real images")
        ax.set(xlabel=found.scales[scale], ylabel="")
        if len(latent_dims) > 1:
            ax.set_title(f"latent dimension {latent_dim:g}")
    # after all curves, because seaborn takes means on the scale of the axes
    shown = [
        complete(table[table["weight"] > 0], ["model", "latent_dim", "weight"], "fid")
        for table in found[:2]
    ]
    values = pd.concat([table["fid"] for table in (*shown, found.real)])
    for ax in axes.flat:
        ax.set_xscale("log")
        plain_log(ax.xaxis, ax.get_xlim())
        if values.max() > WIDE * values.min() > 0:
            ax.set_yscale("log")
            low, high = ax.get_ylim()
            plain_log(ax.yaxis, (low, high), subs=(1, 2, 5) if high < 300 * low else (1,))
    for ax in axes[:, 0]:
        ax.set_ylabel(distance(found.protocol["features"]))
    grey = {"color": "0.3", "marker": "o"}
    handles = [Line2D([], [], label=names[m], **looks[m]._asdict() | OPEN) for m in models]
    handles += [Line2D([], [], label="default λ", linestyle="none", **grey)]
    if found.reconstruction["fid"].notna().any():
        alone = found.reconstruction.groupby("model")["weight"].nunique().max() == 1
        style = grey | RECONSTRUCTED | ({"linestyle": "none"} if alone else {})
        handles += [Line2D([], [], label="reconstructions", **style)]
    where = f", latent dimension {latent_dims[0]:g}" * (len(latent_dims) == 1)
    head(figure, f"{data.title}{where}: distance of generated from real images", handles)
    return figure


def _name(line: Line2D, name: str) -> None:
    """A level line's name below its right end, where curves seldom are."""
    ax, (value, _) = line.axes, line.get_ydata()
    style = {"ha": "right", "va": "top", "fontsize": SMALL, "color": "0.35"}
    style |= {"xytext": (0, -1.5), "textcoords": "offset points"}
    ax.annotate(name, (1, value), xycoords=ax.get_yaxis_transform(), **style)
    ax.margins(y=0.12)  # room for the name
