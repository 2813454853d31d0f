"""Covariance of the codes over a split: of the posterior means and of sampled codes (Fig. 2a, b).

The two differ. A latent dimension whose posterior is the prior has Var(μ) = 0 and Var(z) = 1, so
the paper's "variance falls to 0" for the VAE can only mean Cov(μ). Both are reported. By the law of
total covariance, Cov(z) = Cov(μ) + mean_i D_i L Lᵀ D_i.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.config.run import Run


def moments(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of codes (N, d), with 1/N as in the paper (Eq. 8)."""
    mean, centred = _centred(codes)
    return mean, centred.T @ centred / len(codes)


def _centred(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) of codes (N, d), and their differences from it."""
    # from the first code on, so that a constant dimension has a variance of exactly 0
    shifted = codes - codes[0]
    offset = shifted.mean(0)
    return codes[0] + offset, shifted - offset


def log_det(codes: np.ndarray) -> float | None:
    """log det of the covariance (1/N) of codes (N, d); None where it is singular.

    With s the deviations and R the correlations, log det S = log det R + 2 Σ_j log s_j. So the
    scale of a latent variable costs no digits. S is singular only where a latent variable is
    constant, or depends so closely on others that R has no full rank in float64.
    """
    centred = _centred(np.asarray(codes, np.float64))[1]
    reach = abs(centred).max(0)
    if not reach.all():
        return None
    scaled = centred / reach  # the squares of tiny values would be 0
    deviation = np.sqrt((scaled**2).mean(0))
    scaled /= deviation
    correlations = scaled.T @ scaled / len(codes)
    if np.linalg.matrix_rank(correlations, hermitian=True) < len(correlations):
        return None
    log_deviations = np.log(reach) + np.log(deviation)
    return float(np.linalg.slogdet(correlations)[1] + 2 * log_deviations.sum())


def correlation(covariance: np.ndarray) -> list[list[float | None]]:
    """Correlation matrix (d, d); None in the row and column of a constant dimension."""
    variance = np.diag(covariance)
    scale = np.sqrt(np.outer(variance, variance))
    ratio = np.divide(covariance, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return [[None if np.isnan(value) else value for value in row] for row in ratio.tolist()]


def covariance(posterior: Posterior, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows which (mean, sample), i, j (dimensions from 0), covariance, correlation, n_codes.

    "sample" is one code z ~ q(z|x) per image. ``n_codes`` is the number of images, on which the
    floor of a distance to I depends (:mod:`hebae.measures.sampling_floor`).
    """
    rows = []
    for which, codes in (("mean", posterior.mean), ("sample", posterior.sample(rng))):
        matrix = moments(codes)[1]
        for i, (values, ratios) in enumerate(
            zip(matrix.tolist(), correlation(matrix), strict=True)
        ):
            for j, (value, ratio) in enumerate(zip(values, ratios, strict=True)):
                row = dict(which=which, i=i, j=j, covariance=value, correlation=ratio)
                rows.append(row | dict(n_codes=len(codes)))
    return rows


def rows(posterior: Posterior, run: Run, threads: int) -> list[dict[str, Any]]:
    """The rows of a run's table, :func:`covariance`."""
    return covariance(posterior, np.random.default_rng(derive_seed(run.seed, "covariance")))
