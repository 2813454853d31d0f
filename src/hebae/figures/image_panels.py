"""Interpolations, reconstructions and random samples, a block a model (App. C, Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from hebae.config import Experiment
from hebae.figures.common import WIDTH, in_style, titles

HEADINGS = ("interpolations", "reconstructions (originals above)", "samples")
GAP, LINE, MARGIN = 0.12, 0.17, 0.03  # between blocks, a line of text, around all: inches
WIDEST = 2.6  # of a block


@in_style
def draw(
    images: Mapping[str, Mapping[str, np.ndarray]],
    experiment: Experiment,
    dataset: str,
    columns: int = 4,
) -> Figure:
    """Blocks side by side, `columns` at most; the parts of a block are one image each."""
    names = titles(experiment, dataset)
    blocks = {model: _parts(images[model]) for model in names}
    columns = min(columns, len(names))
    width = min(WIDEST, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    heights = [width * part.shape[0] / part.shape[1] for part in next(iter(blocks.values()))]
    # a block's title, then each part under its heading
    block_height = LINE + sum(LINE + height + 0.06 for height in heights)
    lines = -(-len(names) // columns)
    total = (
        2 * MARGIN + columns * width + (columns - 1) * GAP,
        2 * MARGIN + lines * block_height + (lines - 1) * GAP + LINE,
    )
    figure = Figure(figsize=total)

    def write(x: float, y: float, text: str, **style: str) -> None:
        figure.text(x / total[0], 1 - y / total[1], text, va="top", **style)

    data = experiment.datasets[dataset]
    where = f"{data.title}, latent dimension {data.main_latent_dim}, seed {data.seeds[0]}."
    write(MARGIN, total[1] - MARGIN - 0.8 * LINE, where, fontsize=7, color="0.25")
    for place, (model, parts) in enumerate(blocks.items()):
        x = MARGIN + place % columns * (width + GAP)
        y = MARGIN + place // columns * (block_height + GAP)
        write(x + width / 2, y, names[model], ha="center")
        y += LINE
        for heading, part, height in zip(HEADINGS, parts, heights, strict=True):
            write(x, y + 0.02, heading, fontsize=7, color="0.25")
            y += LINE
            box = (x / total[0], 1 - (y + height) / total[1], width / total[0], height / total[1])
            ax = figure.add_axes(box)
            # "auto" keeps the edges of pixels drawn large and averages those drawn small
            ax.imshow(part, cmap="gray", vmin=0, vmax=255, interpolation="auto", aspect="auto")
            ax.set_axis_off()
            y += height + 0.06
    return figure


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
