"""The variance of each latent variable's mean, and of the noise around it.

If the decoder does not use a latent variable, its posterior is the prior: its means have variance 0
over the images, and its noise has variance 1. A latent variable is active if Var_x(E[z_j|x]) > 0.01
(Burda, Grosse & Salakhutdinov 2016, Sec. 5.2). The paper reads collapse off the same variances, the
diagonal of Cov(μ) in Fig. 2.
"""

from __future__ import annotations

from typing import Any

from hebae.codes.posterior import Posterior
from hebae.config.run import Run

ACTIVE = 0.01


def active_units(posterior: Posterior) -> list[dict[str, Any]]:
    """Rows dimension (from 0), mean_variance, noise_variance, active (0 or 1).

    ``mean_variance`` is Var(μ_j) over the N images (1/N), ``noise_variance`` the mean over them of
    Var(z_j|x_i) = (D_i L Lᵀ D_i)_jj, exact and not from samples. The two add up to Var(z_j).
    """
    mean_variance = posterior.mean.var(axis=0)
    noise_variance = (posterior.sigma**2).mean(axis=0) * (posterior.mixing**2).sum(axis=1)
    pairs = zip(mean_variance.tolist(), noise_variance.tolist(), strict=True)
    return [
        dict(dimension=j, mean_variance=mean, noise_variance=noise, active=int(mean > ACTIVE))
        for j, (mean, noise) in enumerate(pairs)
    ]


def rows(posterior: Posterior, run: Run, threads: int) -> list[dict[str, Any]]:
    """The rows of a run's table, :func:`active_units`."""
    return active_units(posterior)
