"""Codes to decode besides those of the prior: fitted to the codes, between them, the codes.

A code is z ~ q(z|x_i), of one of the images. *Ex post* density estimation (Ghosh et al. 2020,
Sec. 4) fits a density to the training codes and draws from that instead of the prior.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

COMPONENTS = 10
REGULARISATION = 1e-6
"""What the mixture adds to the variances of its components; the prior's variance is 1."""


def gaussian(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` draws (count, d) from the Gaussian with the moments (1/N) of codes (N, d).

    Its covariance may be singular: draws do not leave the plane of the codes.
    """
    covariance = np.cov(codes.T, bias=True).reshape(2 * codes.shape[1:])
    # it is a covariance, so that a negative eigenvalue is rounding
    return rng.multivariate_normal(
        codes.mean(axis=0), covariance, count, method="svd", check_valid="ignore"
    )


def mixture(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` draws (count, d) from a mixture of Gaussians fitted to codes (N, d) by EM.

    It has :data:`COMPONENTS` full covariances, or N where there are fewer codes. EM starts from
    k-means and stops after 100 steps, or when a step adds less than .001 nats a code, which are
    scikit-learn's defaults. :data:`REGULARISATION` keeps a component that lies on a single
    point, or in a plane, regular.
    """
    fitted = GaussianMixture(
        min(COMPONENTS, len(codes)), reg_covar=REGULARISATION, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        # codes that are equal, or a fit that could still gain a little: a density all the same
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(codes)
    return fitted.sample(count)[0]


def midpoints(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Halfway between the codes of two images, for `count` random pairs out of (N, d): (count, d).

    Raises ValueError for a single code.
    """
    n = len(codes)
    if n < 2:
        raise ValueError("a midpoint needs two codes")
    first = rng.integers(n, size=count)
    second = (first + rng.integers(1, n, size=count)) % n
    return (codes[first] + codes[second]) / 2
