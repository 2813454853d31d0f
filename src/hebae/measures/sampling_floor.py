"""How far from the identity second moments are that come from as many draws of N(0, I).

With 1/n, as in :mod:`hebae.measures.covariance`, and W = n Σ̂, which is Wishart with m = n − 1
degrees of freedom (the mean is estimated too):

    E‖Σ̂ − I‖² = E tr W²/n² − 2 E tr W/n + d,   E tr W = md,   E tr W² = md(m + d + 1)
               = [(n − 1) d (d + 1) + d] / n²

(Muirhead 1982, Sec. 3.1 and 3.2). A correlation r of independent Gaussian variables has E r = 0 and
E r² = 1/(n − 1). So codes that match the prior exactly still lie this far from it. No code needs to
be closer, though an encoder that lays its codes out evenly can be.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

DRAWS = 4000
CHUNK = 200
"""Divides :data:`DRAWS`; so many matrices are kept at once."""


class Floor(NamedTuple):
    """What as many draws of N(0, I) have: the root of the mean square, and where 95 % lie."""

    expected: float
    low: float
    high: float


def covariance_distance(n: int, d: int) -> float:
    """√E‖Σ̂ − I‖² (Frobenius) of n draws of N(0, I_d), n ≥ 1."""
    return math.sqrt((n - 1) * d * (d + 1) + d) / n


def off_diagonal_correlation(n: int) -> float:
    """√E r² of each correlation off the diagonal, n ≥ 2 draws."""
    return 1 / math.sqrt(n - 1)


@lru_cache
def floors(n: int, d: int) -> tuple[Floor, Floor | None]:
    """The floor of ‖Σ̂ − I‖, and that of the root mean square correlation off the diagonal.

    The ends of the intervals are the 2.5 % and 97.5 % quantiles of :data:`DRAWS` Wishart matrices,
    from a stream that is always the same. None: one draw, or one variable, has no correlation.
    """
    rng, off = np.random.default_rng(0), ~np.eye(d, dtype=bool)
    distances, correlations = np.empty(DRAWS), np.empty(DRAWS)
    for start in range(0, DRAWS, CHUNK):
        part = slice(start, start + CHUNK)
        covariances = _wisharts(n - 1, d, CHUNK, rng) / n
        distances[part] = np.linalg.norm(covariances - np.eye(d), axis=(1, 2))
        if n > 1 and d > 1:
            variances = np.diagonal(covariances, axis1=1, axis2=2)
            squares = covariances**2 / (variances[:, :, None] * variances[:, None])
            correlations[part] = np.sqrt(squares[:, off].mean(1))
    of_distance = Floor(covariance_distance(n, d), *_ends(distances))
    if n == 1 or d == 1:
        return of_distance, None
    return of_distance, Floor(off_diagonal_correlation(n), *_ends(correlations))


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _wisharts(freedom: int, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many Wishart matrices W_d(freedom, I): (count, d, d).

    By Bartlett's decomposition (Muirhead 1982, Theorem 3.2.14) they are A Aᵀ, A lower triangular
    with A_jj² ~ χ² of freedom − j degrees, j from 0, and N(0, 1) below. With fewer degrees than
    dimensions, A is a sample of so many vectors itself.
    """
    factors = rng.standard_normal((count, d, min(d, freedom)))
    if freedom >= d:
        factors = np.tril(factors, -1)
        diagonal = np.sqrt(rng.chisquare(freedom - np.arange(d), (count, d)))
        factors[:, np.arange(d), np.arange(d)] = diagonal
    return factors @ factors.transpose(0, 2, 1)
