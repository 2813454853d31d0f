"""The bias of the aggregate KL in a batch: what codes score that are the prior’s own.

R = KL(N(m̂, Σ̂) ‖ N(0, I)) of n codes that are exactly N(0, I) is above 0, because m̂ and Σ̂ are the
codes’ own: E R = −½ E log det Σ̂ (docs/bounds.md). A formula and drawn numbers, and no table.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS, OBJECTIVES
from hebae.figures.common import in_style, note

WIDTH, HEIGHT = 4.6, 3.3  # inches
DIMENSIONS = (8, 10, 16, 64)  # the paper's, as far as they are known (docs/paper.md)
MARKERS = ("o", "s", "^", "D")
LARGEST = 20_000  # codes in a batch
DRAWN = (12, 20, 40, 100, 300, 1000)
"""Batch sizes of the drawn points; of those a dimension has the ones well above it."""
DRAWS = 64
SEED = 0


def half_digamma(count: int) -> np.ndarray:
    """ψ(m/2) for m = 1 … count, at index m; index 0, the pole, is NaN.

    By ψ(x + 1) = ψ(x) + 1/x from ψ(1/2) = −γ − 2 log 2 and ψ(1) = −γ.
    """
    values = np.full(max(count, 2) + 1, np.nan)
    values[1], values[2] = -np.euler_gamma - 2 * np.log(2), -np.euler_gamma
    for first in (1, 2):
        steps = 2 / np.arange(first, len(values) - 2, 2)
        values[first + 2 :: 2] = values[first] + np.cumsum(steps)
    return values[: count + 1]


def expected_regulariser(sizes: np.ndarray, d: int) -> np.ndarray:
    """E R in nats of batches of n codes of d dimensions from N(0, I), n > d.

    n Σ̂ is Wishart with n − 1 degrees of freedom, so E tr Σ̂ = d (n − 1)/n, E m̂ᵀm̂ = d/n, and
    E log det Σ̂ = Σ_{i=1..d} ψ((n − i)/2) + d log(2/n). The first two and −d cancel.

    Args:
        sizes: n, integers above d.
        d: dimensions.
    """
    psi = half_digamma(int(np.max(sizes)))
    log_det = sum(psi[sizes - i] for i in range(1, d + 1)) + d * np.log(2 / sizes)
    return -log_det / 2


def drawn_regularisers(n: int, d: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """R in nats of `draws` batches of n codes of d dimensions from N(0, I), n > d (Eq. 7)."""
    codes = random.standard_normal((draws, n, d))
    mean = codes.mean(axis=1)
    centred = codes - mean[:, None]
    covariance = centred.swapaxes(1, 2) @ centred / n
    trace = np.trace(covariance, axis1=1, axis2=2)
    return (trace + (mean**2).sum(1) - d - np.linalg.slogdet(covariance)[1]) / 2


@in_style
def draw(experiment: Experiment, dataset: str) -> Figure:
    """A curve a latent dimension; marks: means of drawn batches, bars: ± 2 standard errors."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    ax = figure.subplots()
    random = np.random.default_rng(SEED)
    colors = matplotlib.colormaps["viridis"](np.linspace(0.85, 0.1, len(DIMENSIONS)))
    for d, marker, color in reversed(list(zip(DIMENSIONS, MARKERS, colors, strict=True))):
        sizes = np.unique(np.geomspace(d + 1, LARGEST, 300).round().astype(int))
        ax.plot(sizes, expected_regulariser(sizes, d), color=color, linewidth=1.2)
        drawn = {
            n: drawn_regularisers(n, d, DRAWS, random) for n in DRAWN if n > max(d + 2, 1.2 * d)
        }
        ax.errorbar(
            list(drawn),
            [values.mean() for values in drawn.values()],
            [2 * values.std(ddof=1) / np.sqrt(DRAWS) for values in drawn.values()],
            color=color,
            marker=marker,
            linestyle="none",
            elinewidth=0.8,
            label=str(d),
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    ax.xaxis.set_major_formatter(plain)
    ax.yaxis.set_major_formatter(plain)
    ax.set_xlabel("codes in the batch, n")
    ax.set_ylabel("expected R (nats)")
    batches, split = sizes_of(experiment, dataset)
    of_split = {} if split is None else {split: f"test split, {split:,}"}
    _marks(ax, of_split | {n: f"batch, {n:,}" for n in batches})
    ax.legend(title="latent dimension", title_fontsize=8, handlelength=1)
    note(figure, *_sentences(experiment, dataset))
    return figure


def sizes_of(experiment: Experiment, dataset: str) -> tuple[list[int], int | None]:
    """Batches of the models that take a covariance of them, and the test split where known."""
    data = experiment.datasets[dataset]
    batches = {
        recipe.training.batch_size
        for model, recipe in data.models.items()
        if OBJECTIVES[experiment.models[model].objective].needs_covariance
    }
    if not batches:
        raise UserError(f"config: figures.batch_bias: no model of {dataset} takes a covariance")
    return sorted(batches), DATASETS[data.source].n_test


def _marks(ax: Axes, words: Mapping[int, str]) -> None:
    """Lines at numbers of codes, and what has so many, above the axes."""
    previous, level = 0, 0
    for n, word in sorted(words.items()):
        ax.axvline(n, color="0.4", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        # above the word before, where that is near
        level = level + 1 if n < 5 * previous else 0
        above = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 7}
        ax.annotate(word, (n, 1), (0, 2 + 9 * level), ax.get_xaxis_transform(), **above)
        previous = n


def _sentences(experiment: Experiment, dataset: str) -> list[str]:
    """The note."""
    batches, split = sizes_of(experiment, dataset)

    def scores(n: int) -> str:
        values = [
            f"{float(expected_regulariser(np.array([n]), d)[0]):.3g} (d\u00a0=\u00a0{d})"
            for d in DIMENSIONS
            if n > d
        ]
        return ", ".join(values)

    return [
        "R: KL(N(m̂, Σ̂)‖N(0, I)) with the moments of the batch itself, of codes that are exactly "
        "N(0, I), for which it should be 0.",
        f"Lines: its expectation; marks: mean of {DRAWS} drawn batches, bars ± 2 standard errors.",
        *(f"In a batch of {n:,}: {scores(n)}." for n in batches),
        f"Over the {split:,} images of the test split: {scores(split)}." if split else "",
    ]
