"""MIC and TIC of each latent dimension, by minepy (Fig. 2c, d).

The paper scores "sample index and latent variables" and does not state its protocol. With one draw
for each index the score says nothing (MIC .04 for any σ, 1,000 images). So the table names the
protocol:

* ``indices_draws``: some random images with several draws of each; x is the number of the image,
  y = z_j. Scores are averaged over random sets of images. A grid has at most n^.6 cells (n points),
  so more than n^.6 / 2 images cannot be told apart: 50 images × 20 draws give MIC .7 even for a
  deterministic code. The default, 20 × 50, gives 1, .94, .74, .12 for σ = 0, .1, .3, .9 if
  Var(z_j) = 1.
* ``mean_vs_sample``: x = μ_j, y = z_j over all images with one draw each. It gives 1, .92, .72, .13
  for 1,000 images and 1, .90, .70, .10 for 10,000, so compare only splits of equal size.

The numbers of images are labels without an order, but the scores bin neighbouring labels together.

Equal codes are told apart at random (:func:`ranks`). minepy never separates equal values when it
bins them. Where all draws of an image are equal, as a deterministic encoder's are, its TIC would be
.06 above that of the same codes with a noise of 1e-15 (docs/paper.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from minepy import MINE

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior, map_threads, require_at_least
from hebae.config.run import Run


def mic_tic(pair: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """MIC_e and normalised TIC_e of two vectors (n,), both in [0, 1]; 0 for a constant vector.

    The normalised TIC divides the sum over the grid sizes by their number.
    """
    mine = MINE(alpha=0.6, c=15, est="mic_e")
    mine.compute_score(*pair)
    return mine.mic(), mine.tic(norm=True)


def ranks(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rank, from 0, of each value in its column, equal values in random order: (n, d), float64.

    minepy uses only the order of values, so it scores ranks as it scores the values themselves.
    The random order is the limit of noise that goes to 0 on every value, at every scale of the
    values. A constant column stays constant, because it tells nothing: all its ranks are 0.
    """
    order = np.lexsort((rng.random(values.shape), values), axis=0)
    found = np.empty(values.shape)
    np.put_along_axis(found, order, np.arange(len(values), dtype=float)[:, None], axis=0)
    return np.where((values == values[0]).all(axis=0), 0.0, found)


def indices_draws(
    posterior: Posterior,
    rng: np.random.Generator,
    indices: int = 20,
    draws: int = 50,
    sets: int = 20,
    threads: int = 1,
) -> np.ndarray:
    """MIC and TIC of image number and z_j, (d, 2): mean over `sets` random sets of images.

    Raises :class:`UserError` for more `indices` than there are images. The result does not depend
    on `threads`, because all samples are drawn before the first score.
    """
    require_at_least(1, threads=threads)
    images = len(posterior.mean)
    if indices > images:
        raise UserError(f"mutual_information.indices: {indices} is more than the {images} images")
    label, ties = np.repeat(np.arange(indices, dtype=float), draws), rng.spawn(1)[0]
    pairs = []
    for _ in range(sets):
        rows = rng.choice(images, indices, replace=False)
        codes = posterior.subset(rows).sample(rng, draws).reshape(indices * draws, -1)
        pairs += [(label, column) for column in np.ascontiguousarray(ranks(codes, ties).T)]
    return np.array(map_threads(mic_tic, pairs, threads)).reshape(sets, -1, 2).mean(0)


def mean_vs_sample(posterior: Posterior, rng: np.random.Generator, threads: int = 1) -> np.ndarray:
    """MIC and TIC of μ_j and z_j over all images, one draw each: (d, 2).

    Equal means stay equal, whatever the noise. It takes half a second to a second for each latent
    dimension with 10,000 images.
    """
    require_at_least(1, threads=threads)
    codes = ranks(posterior.sample(rng), rng.spawn(1)[0])
    columns = zip(posterior.mean.T.copy(), codes.T.copy(), strict=True)
    return np.array(map_threads(mic_tic, columns, threads))


def rows(
    posterior: Posterior, run: Run, threads: int, protocol: str, indices: int, draws: int, sets: int
) -> list[dict[str, Any]]:
    """The rows of a run's table: protocol, dimension (from 0), mic, tic, ties.

    ``ties`` is "broken". Tables that were made when ties raised TIC lack this column.
    """
    # each protocol has its own random stream
    rng = np.random.default_rng(derive_seed(run.seed, f"mutual_information/{protocol}"))
    if protocol == "mean_vs_sample":
        scores = mean_vs_sample(posterior, rng, threads)
    else:
        scores = indices_draws(posterior, rng, indices, draws, sets, threads)
    return [
        dict(protocol=protocol, dimension=dimension, mic=mic, tic=tic, ties="broken")
        for dimension, (mic, tic) in enumerate(scores.tolist())
    ]
