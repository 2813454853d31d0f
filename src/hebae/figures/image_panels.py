"""Rows of images of every model: reconstructions, interpolations and samples (Fig. 3, App. C).

The test images are the end points of the interpolations (:mod:`hebae.codes.images`): their
reconstructions stand at the ends of the rows between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from hebae.config.experiment import Experiment
from hebae.facts.image_panels import Images, samples, shown
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import fill, in_style

MARGIN, LINE, GAP = 0.05, 0.135, 0.08  # around all, a line of 8 points, between parts: inches


class Page:
    """A figure on which places are inches from its upper left corner.

    Its height is known when all is placed: :meth:`finish`.
    """

    def __init__(self, width: float, title: str, labels: Collection[str]) -> None:
        """With a title, and a column of names at the left in which each of the labels fits."""
        self.figure, self.width = Figure(figsize=(width, 1)), width
        self._placed: list[tuple[Artist, tuple[float, ...]]] = []
        title = fill(title, 0.95 * width)
        self.write(MARGIN, MARGIN, title, weight="bold")
        self.top = MARGIN + GAP + LINE * len(title.splitlines())
        """Where the room below the title begins."""
        longest = max(len(word) for label in labels for word in label.split())
        for names in (1.1,) if is_wide(width) else (0.65, 0.85, 1.1):
            self.labels = {
                label: "\n".join(fill(line, names) for line in label.splitlines())
                for label in labels
            }
            lines = [label.splitlines() for label in self.labels.values()]
            if max(map(len, lines)) <= 3 and longest <= 15 * names:
                break
        widest = max(TextPath((0, 0), line, 8).get_extents().x1 for part in lines for line in part)
        self.left = MARGIN + GAP + widest / 72
        """Where what stands beside the names begins."""
        self.least = 0.02 + LINE * max(map(len, lines))
        """Height of a row that has room for every label."""

    def pixel(self, images: np.ndarray, columns: int) -> float:
        """Inches of a pixel of which so many columns of images reach to the right edge."""
        line = pitch(images) - images.shape[-2]
        return (self.width - MARGIN - self.left) / (columns * pitch(images) - line)

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        made = self.figure.text(0, 0, text, **{"va": "top", "linespacing": 1.1, **style})
        self._placed.append((made, (x, y)))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        ax = self.figure.add_axes((0, 0, 1, 1))
        self._placed.append((ax, (x, y, width, height)))
        return ax

    def heading(self, x: float, y: float, text: str) -> float:
        """Above rows, which begin at the returned place."""
        text = "\n".join(fill(line, self.width - x) for line in text.splitlines())
        self.write(x, y, text, color="0.35")
        return y + LINE * len(text.splitlines()) + 0.03

    def show(self, x: float, y: float, pixel: float, images: np.ndarray) -> None:
        """Images (rows, columns, h, w, c), of pixels so many inches wide."""
        whole = mosaic(images)
        ax = self.axes(x, y, pixel * whole.shape[1], pixel * whole.shape[0])
        # "auto" keeps the edges of pixels drawn large and averages those drawn small
        ax.imshow(whole, cmap="gray", vmin=0, vmax=255, interpolation="auto", aspect="auto")
        ax.set_axis_off()

    def row(
        self, y: float, label: str, pixel: float, parts: Iterable[tuple[float, np.ndarray]]
    ) -> float:
        """A label, and images beside it; returns where the next row begins.

        Args:
            pixel: inches of a pixel.
            parts: left edges, and images (rows, columns, h, w, c) of one height.
        """
        height = self.least
        for x, part in parts:
            n_rows, _, high, wide, _ = part.shape
            line = pitch(part) - wide
            images = pixel * (n_rows * (high + line) - line)
            # rows of one label stand apart from the next
            height = max(self.least, images + pixel * line * min(n_rows, 2))
            self.show(x, y + (height - images) / 2, pixel, part)
        self.write(MARGIN, y + height / 2, self.labels[label], va="center")
        return y + height

    def finish(self, height: float) -> Figure:
        """The figure, so many inches high, and a margin."""
        height += MARGIN / 2
        self.figure.set_figheight(height)
        for artist, (x, y, *size) in self._placed:
            if size:
                box = np.array([x, height - y - size[1], *size])
                artist.set_position(box / ([self.width, height] * 2))
            else:
                artist.set_position((x / self.width, 1 - y / height))
        return self.figure


@in_style
def draw(images: Images, experiment: Experiment, dataset: str, width: float = WIDTH) -> Figure:
    """A row of interpolations a model, then a row of samples a model, or several.

    The test images stand above their reconstructions, the ends of the interpolations.
    """
    names, found = titles(experiment, dataset), shown(images, width)
    title = f"{experiment.datasets[dataset].title}: reconstructions, interpolations and samples"
    page = Page(width, title, [*names.values(), "test images"])
    tests = next(iter(images.values()))["originals"]
    pixel = page.pixel(tests, found.columns)
    column = pixel * pitch(tests)
    n, gap = len(found.steps), column / max(1, found.blocks - 1)
    lefts = [page.left + block * (n * column + gap) for block in range(found.blocks)]

    y = page.heading(
        page.left, page.top, "reconstructions at both ends, interpolations between them"
    )
    ends = [left + place * column for left in lefts for place in (0, n - 1)]
    below = page.row(y, "test images", pixel, zip(ends, tests[:, None, None], strict=False))
    for left in lefts if n > 2 else ():
        ax = page.axes(left + column, y, (n - 2) * column, below - y)
        style = {"arrowstyle": "<->", "color": "0.4", "linewidth": 0.8}
        ax.annotate("", (1, 0.5), (0, 0.5), arrowprops=style)
        ax.set_axis_off()
    y = below + 0.02
    for model, name in names.items():
        lines = [interpolation(images[model], block, found.steps) for block in range(found.blocks)]
        y = page.row(y, name, pixel, zip(lefts, lines, strict=True))
    y = page.heading(page.left, y + GAP, "random samples, z ~ N(0, I)")
    for model, name in names.items():
        y = page.row(y, name, pixel, [(page.left, samples(images[model], found))])
    return page.finish(y)


def interpolation(arrays: Mapping[str, np.ndarray], block: int, steps: list[int]) -> np.ndarray:
    """From one reconstruction to the other, as (1, steps, h, w, c)."""
    start, end = arrays["reconstructions"][2 * block : 2 * block + 2]
    return np.stack([start, *arrays["interpolations"][block, steps[1:-1]], end])[None]


def pitch(images: np.ndarray) -> int:
    """Pixels from one image (…, h, w, c) to the next in a mosaic: its width and a white line."""
    return images.shape[-2] + max(1, round(images.shape[-2] / 12))


def mosaic(images: np.ndarray) -> np.ndarray:
    """(rows, columns, h, w, c) uint8 images as one of (·, ·) or, in colour, (·, ·, 3).

    White lines part the images, about a twelfth of an image wide.
    """
    n_rows, n_columns, height, width, channels = images.shape
    line = pitch(images) - width
    padding = [(0, 0), (0, 0), (0, line), (0, line), (0, 0)]
    padded = np.pad(images, padding, constant_values=255)
    whole = padded.transpose(0, 2, 1, 3, 4).reshape(
        n_rows * (height + line), n_columns * (width + line), channels
    )[:-line, :-line]
    return whole[..., 0] if channels == 1 else whole
