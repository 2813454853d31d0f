"""Interpolations, reconstructions and random samples of each model (App. C, Fig. 3)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebae.config.experiment import Dataset, Experiment
from hebae.config.registry import NETWORKS
from hebae.figures.common import WIDTH, in_style, titles

HEADINGS = ("interpolations", "reconstructions (originals above)", "samples")
GAP, LINE, MARGIN = 0.12, 0.17, 0.03  # between blocks, a line of text, around all: inches
WIDEST = 2.6  # of a block
LARGEST = 0.5  # side of an image in a strip


class Page:
    """A figure on which places are inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        self.width, self.height = width, height

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        style = {"va": "top", **style}
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def small(self, x: float, y: float, text: str, **style: Any) -> None:
        self.write(x, y, text, fontsize=7, color="0.25", **style)

    def note(self, text: str) -> None:
        """Text along the bottom; :func:`note_height` is the room it takes."""
        self.small(MARGIN, self.height - MARGIN, text, va="bottom", linespacing=1.3)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        box = (
            x / self.width,
            1 - (y + height) / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(box)

    def show(self, x: float, y: float, width: float, height: float, part: np.ndarray) -> None:
        ax = self.axes(x, y, width, height)
        # "auto" keeps the edges of pixels drawn large and averages those drawn small
        ax.imshow(part, cmap="gray", vmin=0, vmax=255, interpolation="auto", aspect="auto")
        ax.set_axis_off()


@in_style
def draw_blocks(
    images: Mapping[str, Mapping[str, np.ndarray]],
    experiment: Experiment,
    dataset: str,
    columns: int = 4,
) -> Figure:
    """A block a model, side by side, `columns` at most; its parts below each other, as wide."""
    names = titles(experiment, dataset)
    blocks = {model: _parts(images[model]) for model in names}
    columns = min(columns, len(names))
    width = min(WIDEST, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    heights = [width * part.shape[0] / part.shape[1] for part in next(iter(blocks.values()))]
    # a block's title, then each part under its heading
    block_height = LINE + sum(LINE + height + 0.06 for height in heights)
    lines = -(-len(names) // columns)
    page = Page(
        2 * MARGIN + columns * width + (columns - 1) * GAP,
        2 * MARGIN + lines * block_height + (lines - 1) * GAP + LINE,
    )
    page.small(MARGIN, page.height - MARGIN - 0.8 * LINE, caption(experiment, dataset))
    for place, (model, parts) in enumerate(blocks.items()):
        x = MARGIN + place % columns * (width + GAP)
        y = MARGIN + place // columns * (block_height + GAP)
        page.write(x + width / 2, y, names[model], ha="center")
        y += LINE
        for heading, part, height in zip(HEADINGS, parts, heights, strict=True):
            page.small(x, y + 0.02, heading)
            y += LINE
            page.show(x, y, width, height, part)
            y += height + 0.06
    return page.figure


@in_style
def draw_strips(
    images: Mapping[str, Mapping[str, np.ndarray]], experiment: Experiment, dataset: str
) -> Figure:
    """A strip a model, below each other; its parts side by side, all images of one size.

    Faces need that size, and models are compared image by image down a column.
    """
    names = titles(experiment, dataset)
    strips = {model: _parts(images[model]) for model in names}
    shapes = [part.shape for part in next(iter(strips.values()))]
    room = WIDTH - 2 * MARGIN - GAP * (len(shapes) - 1)
    side = next(iter(images.values()))["originals"].shape[1]
    pixel = min(room / sum(shape[1] for shape in shapes), LARGEST / side)
    widths = [shape[1] * pixel for shape in shapes]
    lefts = [MARGIN + sum(widths[:k]) + GAP * k for k in range(len(widths))]
    strip_height = LINE + max(shape[0] for shape in shapes) * pixel
    headings = [
        textwrap.fill(heading, max(8, int(20 * width)))
        for heading, width in zip(HEADINGS, widths, strict=True)
    ]
    top = MARGIN + 0.8 * LINE * (1 + max(heading.count("\n") for heading in headings))
    page = Page(
        lefts[-1] + widths[-1] + MARGIN,
        top + len(names) * (strip_height + GAP) - GAP + 0.12 + LINE + MARGIN,
    )
    page.small(MARGIN, page.height - MARGIN - 0.8 * LINE, caption(experiment, dataset))
    for left, heading in zip(lefts, headings, strict=True):
        page.small(left, top, heading, va="bottom")
    for place, (model, parts) in enumerate(strips.items()):
        y = top + 0.06 + place * (strip_height + GAP)
        page.write(MARGIN, y, names[model])
        for left, part in zip(lefts, parts, strict=True):
            page.show(left, y + LINE, part.shape[1] * pixel, part.shape[0] * pixel, part)
    return page.figure


def caption(experiment: Experiment, dataset: str) -> str:
    """Of which runs the images are."""
    data = experiment.datasets[dataset]
    return f"{data.title}, latent dimension {data.main_latent_dim}, seed {data.seeds[0]}."


def note_height(text: str) -> float:
    """Inches of a note, with some white above it."""
    return GAP + 0.13 * (1 + text.count("\n"))


def wrap_title(text: str, width: float) -> str:
    """In lines that fit into `width` inches of text of 8 points."""
    return textwrap.fill(text, max(8, int(15 * width)))


def decoded_text(experiment: Experiment, dataset: str) -> str:
    """What the images are that decoders make, in a sentence."""
    data = experiment.datasets[dataset]
    found = {autoregressive(data, model) for model in data.models}
    if found == {True}:
        return "Decoded images are drawn from p(x|z): the decoders are autoregressive."
    drawn = "; those of autoregressive decoders are drawn from it" * (True in found)
    return f"Decoded images are means of p(x|z){drawn}."


def autoregressive(data: Dataset, model: str) -> bool:
    """Whether a model's decoder states each pixel given the ones before it."""
    return NETWORKS[data.models[model].network].autoregressive


def _parts(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    pairs = np.stack([arrays["originals"], arrays["reconstructions"]])
    return [mosaic(part) for part in (arrays["interpolations"], pairs, arrays["samples"])]


def mosaic(images: np.ndarray) -> np.ndarray:
    """(rows, columns, h, w, c) uint8 images as one of (·, ·) or, in colour, (·, ·, 3).

    White lines part the images, about a twelfth of an image wide.
    """
    n_rows, n_columns, height, width, channels = images.shape
    line = max(1, round(width / 12))
    padding = [(0, 0), (0, 0), (0, line), (0, line), (0, 0)]
    padded = np.pad(images, padding, constant_values=255)
    whole = padded.transpose(0, 2, 1, 3, 4).reshape(
        n_rows * (height + line), n_columns * (width + line), channels
    )[:-line, :-line]
    return whole[..., 0] if channels == 1 else whole
