"""Whether models use their code, by the kind of their decoder (information preference).

A decoder that states each pixel given the ones before it can do without a code. An objective that
charges for the information in it, as the ELBO does, may then give it up (Zhao, Song & Ermon 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Experiment
from hebae.config.registry import OBJECTIVES, RECONSTRUCTIONS
from hebae.config.run import weight_text
from hebae.figures.common import WIDTH, in_style, look, note_text, rows, titles
from hebae.figures.image_panels import (
    GAP,
    LINE,
    MARGIN,
    Page,
    autoregressive,
    decoded_text,
    mosaic,
    note_height,
    wrap_title,
)

DECODERS = {False: "independent pixels", True: "autoregressive"}
NAMES, GUTTER, WIDEST = 1.25, 0.2, 2.2  # the column of names, beside a panel, a panel: inches
AXIS = 0.48  # room for numbers and labels under the panels
IMAGES, STRIP, LARGEST = 8, 2.2, 0.28  # in a strip at most; its width and an image's at most
HEADING = 1.75  # width of the strips' heading
SEEDS = 0.09  # from marks down to the dots of single seeds


class MeasuredDecoders(NamedTuple):
    """Tables of a model (index) and a seed (columns), in nats; the number of test images."""

    information: pd.DataFrame
    bound: pd.DataFrame
    n_images: int


@in_style
def draw(
    tables: Mapping[str, pd.DataFrame],
    images: Mapping[str, Mapping[str, np.ndarray]],
    experiment: Experiment,
    dataset: str,
) -> Figure:
    """A row a model, grouped by decoder: I(n; z), the per-sample bound, reconstructions.

    Marks: mean over seeds; bars: ± 1 SD; dots: single seeds. Images: of the first seed. Where no
    model has a bound there is no panel of it.
    """
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    groups = _groups(experiment, dataset)
    names = titles(experiment, dataset)
    heads = {model: wrap_title(names[model], NAMES) for group in groups.values() for model in group}
    strips = {model: strip(images[model]) for model in heads}
    pixel = min(
        min(LARGEST / arrays["originals"].shape[2], STRIP / strips[model].shape[1])
        for model, arrays in images.items()
    )
    lines = 1 + max(head.count("\n") for head in heads.values())
    n_rows, n_columns = np.max([part.shape[:2] for part in strips.values()], axis=0)
    height = GAP + max(pixel * n_rows, 0.8 * LINE * (lines + 1))
    places = _places(groups, height)
    tops = {decoder: places[models[0]] - height / 2 for decoder, models in groups.items()}
    top, bottom = min(tops.values()), max(places.values()) + height / 2

    text = note_text(WIDTH, *_sentences(found, experiment, dataset))
    page = Page(WIDTH, bottom + AXIS + note_height(text) + MARGIN)
    page.note(text)
    panels = [("I(n; z) (nats)", found.information)]
    if np.isfinite(found.bound).any(axis=None):
        panels.append(("bound on log p(x) (nats),\nhigher is better", found.bound))
    room = WIDTH - 2 * MARGIN - NAMES - max(pixel * n_columns, HEADING)
    width = min(WIDEST, room / len(panels) - GUTTER)
    left = MARGIN + NAMES
    for label, seeds in panels:
        ax = page.axes(left, top, width, bottom - top)
        ax.set_ylim(bottom, top)  # as on the page, so that marks stand beside their images
        _marks(ax, seeds, places, experiment)
        ax.set_xlabel(label)
        for first in list(tops.values())[1:]:
            ax.axhline(first - LINE, color="0.6", linewidth=0.6)
        if seeds is found.information:
            _line(ax, 0, "code ignored", ha="left")
            _line(ax, np.log(found.n_images), "log N", ha="center")
        left += width + GUTTER
    page.small(left, top - 0.03, "test images, reconstructions below", va="bottom")
    for decoder, first in tops.items():
        page.write(MARGIN, first - 0.03, DECODERS[decoder], va="bottom", weight="bold")
    for model, y in places.items():
        middle = y + 0.4 * LINE * heads[model].count("\n")
        page.write(MARGIN, middle, heads[model], va="bottom", linespacing=1.1)
        page.small(MARGIN, middle + 0.02, f"λ = {weight_text(data.models[model].default)}")
        shown = pixel * np.array(strips[model].shape[:2])
        page.show(left, y - shown[0] / 2, shown[1], shown[0], strips[model])
    return page.figure


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> MeasuredDecoders:
    """Of the runs at the main latent dimension and the default weights."""
    data = experiment.datasets[dataset]
    runs = [
        run
        for run in experiment.default_runs()
        if run.dataset == dataset and run.latent_dim == data.main_latent_dim
    ]
    name = "index_code_information"
    information = rows(tables, name, runs, ["nats", "log_n"], each=lambda run: 1)
    # empty where there is no bound, which may be so for all runs of a model
    bound = rows(tables, "elbo_by_weight", runs, ["elbo"], each=lambda run: 1, finite=False)
    numbers = sorted(set(np.exp(information["log_n"]).round()))
    if len(numbers) > 1:
        file, images = tables[name].attrs.get("file", name), ", ".join(f"{n:g}" for n in numbers)
        raise UserError(f"{file}: information about different numbers of images: {images}")
    of_models = (
        table.pivot(index="model", columns="seed", values=value)
        for table, value in ((information, "nats"), (bound, "elbo"))
    )
    return MeasuredDecoders(*of_models, int(numbers[0]))


def strip(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Test images in a row, and their reconstructions below."""
    return mosaic(np.stack([arrays[name][:IMAGES] for name in ("originals", "reconstructions")]))


def _groups(experiment: Experiment, dataset: str) -> dict[bool, list[str]]:
    """The models by whether their decoder is autoregressive, those of independent pixels first."""
    data = experiment.datasets[dataset]
    groups: dict[bool, list[str]] = {}
    for model in sorted(data.models, key=lambda model: autoregressive(data, model)):
        groups.setdefault(autoregressive(data, model), []).append(model)
    return groups


def _places(groups: Mapping[bool, list[str]], height: float) -> dict[str, float]:
    """The middle of each model's row, in inches from the top; above a group, a line of text."""
    places, y = {}, MARGIN
    for models in groups.values():
        y += 1.2 * LINE
        for model in models:
            places[model] = y + height / 2
            y += height
    return places


def _marks(
    ax: Axes, seeds: pd.DataFrame, places: Mapping[str, float], experiment: Experiment
) -> None:
    """A model's mean over the columns at its place, the bar, and the single seeds below."""
    several = seeds.shape[1] > 1
    for model, y in places.items():
        of_model = seeds.loc[model]
        color, marker, *_ = look(experiment, model)
        ax.errorbar(
            of_model.mean(skipna=False),
            y,
            xerr=of_model.std(skipna=False) if several else None,
            color=color,
            marker=marker,
            linestyle="none",
            elinewidth=1,
            capsize=2.5,
            label=model,
        )
        if several:
            below = np.full(len(of_model), y + SEEDS)
            ax.plot(of_model, below, ".", color=color, alpha=0.4, markersize=3.5)
        if not np.isfinite(of_model).any():
            style = {"ha": "center", "va": "center", "fontsize": 7, "color": "0.5"}
            ax.text(0.5, y, "none", transform=ax.get_yaxis_transform(), **style)
    ax.set_yticks(list(places.values()), [""] * len(places))
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _line(ax: Axes, value: float, word: str, **style: str) -> None:
    """A line across all rows, with a word above it."""
    ax.axvline(value, color="0.5", linewidth=0.8, zorder=1)
    above = {"textcoords": "offset points", "va": "bottom", "fontsize": 7, "color": "0.25", **style}
    ax.annotate(word, (value, 1), (0, 2), ax.get_xaxis_transform(), **above)


def _sentences(found: MeasuredDecoders, experiment: Experiment, dataset: str) -> list[str]:
    """The note."""
    data = experiment.datasets[dataset]
    return [
        f"{data.title}, latent dimension {data.main_latent_dim}; λ: weight in training.",
        f"I(n; z): what the code of a test image tells of which of N = {found.n_images:,} it is, "
        "from 0, where the code is ignored, to log N.",
        "Bound: −(reconstruction + mean KL(q(z|x)‖p(z))) on the test split, which objectives "
        "other than the ELBO do not aim at.",
        _no_bound_text(found.bound, experiment, dataset),
        f"Marks: mean over {counted(len(data.seeds), 'seed')}; bars: ± 1 standard deviation; "
        "dots: single seeds."
        if len(data.seeds) > 1
        else "Marks: one seed.",
        f"Reconstructions: from the encoder’s mean, seed {data.seeds[0]}.",
        decoded_text(experiment, dataset),
    ]


def _no_bound_text(bound: pd.DataFrame, experiment: Experiment, dataset: str) -> str:
    """Which models have no bound and why, as a sentence; nothing where all have one."""
    data = experiment.datasets[dataset]
    reasons: dict[str, list[str]] = {}
    for model, name in titles(experiment, dataset).items():
        if np.isfinite(bound.loc[model]).any():
            continue
        if not OBJECTIVES[experiment.models[model].objective].stochastic:
            reason = "the encoder is deterministic"
        elif not RECONSTRUCTIONS[data.models[model].reconstruction].likelihood:
            reason = "the reconstruction term is no likelihood"
        else:
            reason = "not finite"
        reasons.setdefault(reason, []).append(name)
    texts = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"No bound: {'; '.join(texts)}." if reasons else ""
