"""How exactly Theorem 1 and Eqs. 5 to 11 of the paper hold on trained runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from hebae.config.experiment import Experiment
from hebae.facts.identities import PANELS, ROUNDING, measured
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import dots, fill, head, in_style, looks_of

FLOOR = 1e-13
"""What is smaller is drawn here, because a log axis has no 0."""
PITCH, FRAME = 0.115, 0.32
"""Inches of a model's line, and of a panel's title."""


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str, width: float = WIDTH
) -> Figure:
    """A panel for each kind of equation, in it a block for each equation, a line a model."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, looks = titles(experiment, dataset), looks_of(experiment)
    found = found.assign(
        size=found["residual"].abs().clip(lower=FLOOR),
        twice=2 * found["standard_error"],
        line=found["identity"] + "/" + found["model"],
    )
    shown = [panel for panel in PANELS if panel in set(found["panel"])]
    inches = (0.27 if is_wide(width) else 0.36) * width
    blocks = {panel: _blocks(found[found["panel"] == panel], list(names)) for panel in shown}
    lines = [sum(map(len, blocks[panel].values())) for panel in shown]
    figure = Figure(figsize=(width, 1), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=lines)[:, 0]
    for ax, panel in zip(axes, shown, strict=True):
        part = found[found["panel"] == panel]
        order = [line for block in blocks[panel].values() for line in block]
        of_lines = {line: looks[line.partition("/")[2]] for line in order}
        dots(ax, part, "size", "line", order, of_lines)
        _errors(ax, part, order)
        _name(ax, blocks[panel], inches)
        ax.set_title(panel, loc="left", weight="bold")
    top = max(10.0, 3 * float(np.nanmax(found["size"], initial=0)))
    for ax in axes:  # after the means: seaborn would take them on the scale of the axis
        ax.set_xscale("log")
        ax.set_xlim(FLOOR / 2, top)
        ax.axvspan(FLOOR / 2, ROUNDING, color="0.92", linewidth=0, zorder=0)
        _ticks(ax, top)
    axes[-1].set_xlabel("|left − right| (nats)")
    style = {"color": "0.2", "linestyle": "none"}
    handles = [
        Line2D([], [], color=looks[m].color, marker=looks[m].marker, linestyle="none", label=name)
        for m, name in names.items()
        if m in set(found["model"])
    ]
    handles.append(Line2D([], [], marker="|", markersize=7, label="2 standard errors", **style))
    head(figure, f"{data.title}: what holds exactly", handles)
    legend = figure.legends[0].get_window_extent().height / figure.dpi
    figure.set_figheight(legend + 0.4 + sum(FRAME + PITCH * count for count in lines))
    return figure


def _blocks(found: pd.DataFrame, models: list[str]) -> dict[str, list[str]]:
    """The lines of each equation, by its label: identity/model."""
    return {
        label: [f"{identity}/{model}" for model in models if model in set(group["model"])]
        for (label, identity), group in found.groupby(["label", "identity"], sort=False)
    }


def _errors(ax: Axes, found: pd.DataFrame, order: list[str]) -> None:
    """Two standard errors of the Monte Carlo mean, the mean over seeds, as ticks."""
    errors = found.groupby("line")["twice"].mean()
    errors = errors[errors >= FLOOR]
    places = [order.index(line) for line in errors.index]
    ax.plot(errors, places, linestyle="none", marker="|", markersize=5, color="0.2", zorder=4)


def _name(ax: Axes, blocks: Mapping[str, list[str]], inches: float) -> None:
    """Each block's label at its middle, and a line below it."""
    ends = np.cumsum([len(lines) for lines in blocks.values()])
    middles = [end - (len(lines) + 1) / 2 for end, lines in zip(ends, blocks.values(), strict=True)]
    ax.set_yticks(middles, [fill(label, inches) for label in blocks], fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="0.85", linewidth=0.6, zorder=0.5)
    ax.set(ylabel="", xlabel="", ylim=(ends[-1] - 0.5, -0.5))


def _ticks(ax: Axes, top: float) -> None:
    """Every third power of ten, the first one for all that is smaller."""
    powers = [power for power in range(-13, 20, 3) if 10.0**power <= top]
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    labels = [f"10{str(power).translate(superscript)}" for power in powers]
    ax.xaxis.set_major_locator(FixedLocator([10.0**power for power in powers]))
    ax.xaxis.set_major_formatter(FixedFormatter([f"≤ {labels[0]}", *labels[1:]]))
    ax.xaxis.set_minor_locator(NullLocator())
