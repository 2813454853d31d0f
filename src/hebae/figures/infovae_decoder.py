"""Whether models use their code, by the kind of their decoder (information preference).

A decoder that states each pixel given the ones before it can do without a code. An objective that
charges for the information in it, as the ELBO does, may then give it up (Zhao, Song & Ermon 2017).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.config.run import weight_text
from hebae.facts.image_panels import Images, by_decoder
from hebae.facts.infovae_decoder import Decoders, measured, models_without
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import dots, in_style, looks_of
from hebae.figures.image_panels import GAP, LINE, MARGIN, Page, pitch

IMAGES = 6
"""Test images, at most."""
AXIS, GUTTER = 0.53, 0.25  # room below and beside panels: inches


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame],
    images: Images,
    experiment: Experiment,
    dataset: str,
    width: float = WIDTH,
) -> Figure:
    """A row a model, by decoder: I(n; z), the per-sample bound, and reconstructions.

    The test images head the reconstructions, which stand below the panels in one column's width.
    Where no model has a bound there is no panel of it.
    """
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    found, groups, wide = measured(tables, experiment, dataset), by_decoder(data), is_wide(width)
    labels = {m: f"{names[m]}\nλ = {weight_text(data.models[m].default)}" for m in names}
    title = f"{data.title}: information in the code, bound and reconstructions"
    page = Page(width, title, [*labels.values(), "test images"])
    tests = next(iter(images.values()))["originals"][None, :IMAGES]
    pixel = min(page.pixel(tests, tests.shape[1]), (0.3 if wide else 0.38) / tests.shape[3])
    left = width - MARGIN - pixel * pitch(tests) * tests.shape[1] if wide else page.left

    def strip(model: str) -> list[tuple[float, np.ndarray]]:
        return [(left, images[model]["reconstructions"][None, :IMAGES])]

    y, places = page.top, {}
    for kind, models in groups.items():
        if wide:
            head, below = pixel * tests.shape[2], "test images"
            page.show(left, y, pixel, tests)
            page.write(left - GAP, y + head / 2, below, va="center", ha="right")
            page.heading(MARGIN, y + head - LINE, kind)
            y += pixel * pitch(tests)
        else:
            y = page.heading(MARGIN, y, kind)
        start = y
        for model in models:
            y = page.row(y, labels[model], pixel, strip(model) if wide else [])
        places[tuple(models)] = start, y
        bottom, y = y, y + 2 * GAP
    panels = {"nats": (found.information, _information), "elbo": (found.bound, _bound)}
    if not np.isfinite(found.bound["elbo"]).any():
        del panels["elbo"]
    right = left - GUTTER if wide else width - 0.2
    room = (right - page.left + GUTTER) / len(panels)
    for place, (value, (table, axis)) in enumerate(panels.items()):
        none = dict.fromkeys(models_without(table, value), "no bound")
        for models, (start, end) in places.items():
            ax = page.axes(page.left + place * room, start, room - GUTTER, end - start)
            part = table[table["model"].isin(models)]
            dots(ax, part, value, "model", models, looks_of(experiment), none)
            axis(ax, found)
            ax.set_yticks(range(len(models)), [""] * len(models))
            ax.set(ylim=(len(models) - 0.5, -0.5), ylabel="")
            ax.tick_params(axis="y", length=0)
            last = end == bottom
            ax.tick_params(which="both", labelbottom=last)
            ax.xaxis.label.set_visible(last)
    y = bottom + AXIS
    for kind, models in groups.items() if not wide else ():
        y = page.heading(MARGIN, y + 2 * GAP, f"{kind}: reconstructions")
        y = page.row(y, "test images", pixel, [(left, tests)])
        for model in models:
            y = page.row(y, labels[model], pixel, strip(model))
    return page.finish(y)


def _information(ax: Axes, found: Decoders) -> None:
    """From 0, where the code is ignored, to log N, where it tells which image it is of."""
    end = float(np.log(found.n_images))
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(0, end)
    labels = {tick: f"{tick:g}" for tick in ticks if 0.2 < tick / end < 0.8}
    labels |= {0.0: "0", end: number(end)}
    ax.set_xticks(list(labels), list(labels.values()))
    # below the numbers at both ends
    ax.xaxis.remove_overlapping_locs = False
    ax.set_xticks([0, end], ["code ignored", "log N"], minor=True)
    ax.tick_params(axis="x", which="minor", length=0, pad=13)
    for value in (0, end):
        ax.axvline(value, color="0.5", linewidth=0.8, zorder=1)
    nats = found.information["nats"]
    low, high = min(0, nats.min()), max(end, nats.max())
    ax.set(xlabel="I(n; z) (nats)", xlim=(low - 0.04 * end, high + 0.04 * end))


def _bound(ax: Axes, found: Decoders) -> None:
    values = found.bound["elbo"][np.isfinite(found.bound["elbo"])]
    margin = 0.1 * np.ptp(values) or 1
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.set(xlabel="bound on log p(x)\n(nats)", xlim=(values.min() - margin, values.max() + margin))
