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
    # from the first code on, so that a constant dimension has a variance of exactly 0
    shifted = codes - codes[0]
    offset = shifted.mean(0)
    centred = shifted - offset
    return codes[0] + offset, centred.T @ centred / len(codes)


def correlation(covariance: np.ndarray) -> list[list[float | None]]:
    """Correlation matrix (d, d); None in the row and column of a constant dimension."""
    variance = np.diag(covariance)
    scale = np.sqrt(np.outer(variance, variance))
    ratio = np.divide(covariance, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return [[None if np.isnan(value) else value for value in row] for row in ratio.tolist()]


def covariance(posterior: Posterior, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows which (mean, sample), i, j (dimensions from 0), covariance, correlation.

    "sample" is one code z ~ q(z|x) per image.
    """
    rows = []
    for which, codes in (("mean", posterior.mean), ("sample", posterior.sample(rng))):
        matrix = moments(codes)[1]
        for i, (values, ratios) in enumerate(
            zip(matrix.tolist(), correlation(matrix), strict=True)
        ):
            for j, (value, ratio) in enumerate(zip(values, ratios, strict=True)):
                rows.append(dict(which=which, i=i, j=j, covariance=value, correlation=ratio))
    return rows


def rows(posterior: Posterior, run: Run, threads: int) -> list[dict[str, Any]]:
    """The rows of a run's table, :func:`covariance`."""
    return covariance(posterior, np.random.default_rng(derive_seed(run.seed, "covariance")))
