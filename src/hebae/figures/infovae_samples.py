"""Random samples of each model beside test images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from hebae.config.experiment import Experiment
from hebae.config.run import weight_text
from hebae.figures.common import WIDTH, in_style, note_text, titles
from hebae.figures.image_panels import (
    GAP,
    LINE,
    MARGIN,
    WIDEST,
    Page,
    autoregressive,
    caption,
    decoded_text,
    mosaic,
    note_height,
    wrap_title,
)


@in_style
def draw(
    images: Mapping[str, Mapping[str, np.ndarray]],
    experiment: Experiment,
    dataset: str,
    columns: int = 4,
) -> Figure:
    """Blocks of images of one size: test images, then samples at z ~ N(0, I), a block a model.

    At most `columns` blocks stand side by side.
    """
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    blocks = [("test images", "", originals(images))]
    for model, name in names.items():
        kind = "drawn from p(x|z)" if autoregressive(data, model) else "means of p(x|z)"
        heading = f"{kind}, λ = {weight_text(data.models[model].default)}"
        blocks.append((name, heading, mosaic(images[model]["samples"])))
    lines = -(-len(blocks) // columns)
    columns = -(-len(blocks) // lines)
    width = min(WIDEST, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    pixel = width / max(block.shape[1] for *_, block in blocks)
    height = pixel * max(block.shape[0] for *_, block in blocks)

    heads = [wrap_title(title, width) for title, *_ in blocks]
    # lines of a title, above the heading and the images
    head = 0.8 * LINE * (1 + max(text.count("\n") for text in heads))
    block_height = head + LINE + height
    page_width = 2 * MARGIN + columns * width + (columns - 1) * GAP
    text = note_text(
        page_width,
        caption(experiment, dataset),
        "Samples: z ~ N(0, I); λ: weight in training.",
        decoded_text(experiment, dataset),
        _seen_text(images, names),
    )
    room = lines * block_height + (lines - 1) * GAP
    page = Page(page_width, 2 * MARGIN + room + note_height(text))
    page.note(text)
    for place, (title, (_, heading, block)) in enumerate(zip(heads, blocks, strict=True)):
        x = MARGIN + place % columns * (width + GAP)
        y = MARGIN + place // columns * (block_height + GAP)
        page.write(x, y + head, title, va="bottom", linespacing=1.1)
        page.small(x, y + head + 0.02, heading)
        page.show(x, y + head + LINE, pixel * block.shape[1], pixel * block.shape[0], block)
    return page.figure


def originals(images: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
    """The first model's test images, in about as many rows as columns; no more than samples."""
    arrays = next(iter(images.values()))
    n_rows, n_columns, *shape = arrays["samples"].shape
    shown = arrays["originals"][: n_rows * n_columns]
    n_columns = min(n_columns, int(np.ceil(np.sqrt(len(shown)))))
    blank = np.full((-len(shown) % n_columns, *shape), 255, np.uint8)
    return mosaic(np.concatenate([shown, blank]).reshape(-1, n_columns, *shape))


def _seen_text(images: Mapping[str, Mapping[str, np.ndarray]], names: Mapping[str, str]) -> str:
    """Whose test images are shown, where models see them in different ways."""
    first, *others = (images[model]["originals"] for model in names)
    if all(np.array_equal(first, other) for other in others):
        return ""
    return f"Test images as {next(iter(names.values()))} sees them; others see other grey values."
