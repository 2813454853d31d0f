"""The bias of the aggregate KL in a batch: what codes score that are the prior’s own.

R = KL(N(m̂, Σ̂) ‖ N(0, I)) of n codes that are exactly N(0, I) is above 0, because m̂ and Σ̂ are the
codes’ own: E R = −½ E log det Σ̂ (docs/bounds.md). A formula and drawn numbers, and no table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hebae.config.experiment import Experiment
from hebae.facts.batch_bias import DIMENSIONS, DRAWS, expected_regulariser, marked_sizes
from hebae.facts.text import WIDTH
from hebae.figures.common import SMALL, head, in_style

LARGEST = 20_000  # codes in a batch
DRAWN = (12, 20, 40, 100, 300, 1000)
"""Batch sizes of the drawn points; of those a dimension has the ones well above it."""
SEED = 0


def drawn_regularisers(n: int, d: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """R in nats of `draws` batches of n codes of d dimensions from N(0, I), n > d (Eq. 7)."""
    codes = random.standard_normal((draws, n, d))
    mean = codes.mean(axis=1)
    centred = codes - mean[:, None]
    covariance = centred.swapaxes(1, 2) @ centred / n
    trace = np.trace(covariance, axis1=1, axis2=2)
    return (trace + (mean**2).sum(1) - d - np.linalg.slogdet(covariance)[1]) / 2


def scores() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns n, d and R in nats: its expectation, and a row a drawn batch."""
    random = np.random.default_rng(SEED)
    expected, drawn = [], []
    for d in DIMENSIONS:
        n = np.unique(np.geomspace(d + 1, LARGEST, 300).round().astype(int))
        expected.append(pd.DataFrame({"n": n, "d": d, "R": expected_regulariser(n, d)}))
        for size in DRAWN:
            if size > max(d + 2, 1.2 * d):
                values = drawn_regularisers(size, d, DRAWS, random)
                drawn.append(pd.DataFrame({"n": size, "d": d, "R": values}))
    return pd.concat(expected), pd.concat(drawn)


@in_style
def draw(experiment: Experiment, dataset: str, width: float = WIDTH) -> Figure:
    """A curve a latent dimension, and the experiment's batches and test split as vertical lines."""
    (expected, drawn), marked = scores(), marked_sizes(experiment, dataset)
    figure = Figure(figsize=(width, 3), layout="constrained")
    ax = figure.subplots()
    palette = dict(zip(DIMENSIONS, sns.color_palette("viridis_r", len(DIMENSIONS)), strict=True))
    common = {"x": "n", "y": "R", "hue": "d", "palette": palette, "legend": False, "ax": ax}
    sns.lineplot(expected, **common, estimator=None, linewidth=1.2)
    marks = {"style": "d", "markers": ["o", "s", "^", "D"], "dashes": False, "markeredgewidth": 0}
    bars = {"errorbar": ("se", 2), "err_style": "bars", "err_kws": {"elinewidth": 0.8}}
    sns.lineplot(drawn, **common, **marks, **bars, linestyle="none")
    # after the curves, because seaborn takes means on the scale of the axes
    ax.set(xscale="log", yscale="log", xlabel="codes in the batch, n", ylabel="expected R (nats)")
    # a little wider: on which pixel a tick at the very end falls would depend on the last digit
    ax.set_xlim(right=1.001 * max(LARGEST, *marked))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    style = {"textcoords": "offset points", "fontsize": SMALL}
    for end in expected.groupby("d").tail(1).itertuples():
        # the two lowest curves end too close to each other for names on their levels
        apart = {DIMENSIONS[0]: -3, DIMENSIONS[1]: 3}.get(end.d, 0)
        place = {"xytext": (3, apart), "va": "center"}
        ax.annotate(f"d = {end.d}", (LARGEST, end.R), **place, **style)
    previous, level = 1, 0
    for n, word in marked.items():
        ax.axvline(n, color="0.4", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        # above the word before where both do not fit beside each other
        level = level + 1 if np.log10(n / previous) < 2.7 / (width - 0.9) else 0
        place = {"xytext": (0, 2 + 9 * level), "ha": "center", "va": "bottom"}
        ax.annotate(word, (n, 1), xycoords=ax.get_xaxis_transform(), **place, **style)
        previous = n
    head(figure, "HEBAE’s regulariser R of n codes from the prior, by latent dimension d")
    return figure
