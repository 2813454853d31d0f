"""Fréchet distance between the Gaussians fitted to two sets of features.

    d² = ‖m_a − m_b‖² + tr A + tr B − 2 tr (A B)^{1/2}

for N(m_a, A) and N(m_b, B) (Dowson & Landau 1982, Eq. 4). On Inception features it is the FID
(Heusel et al. 2017, Eq. 6). It is the square of a distance, in the squared unit of the features.
"""

from __future__ import annotations

import numpy as np


class Moments:
    """Mean and covariance of features that come in chunks, in float64.

    Chunks are merged by their centred moments (Chan, Golub & LeVeque 1983). So a mean that is large
    compared with the spread costs no digits, and the size of chunks changes rounding only.

    ``mean`` is (f,), ``scatter`` Σ (x − mean)(x − mean)ᵀ, (f, f).
    """

    def __init__(self, n_features: int) -> None:
        self.count = 0
        self.mean = np.zeros(n_features)
        self.scatter = np.zeros((n_features, n_features))

    def add(self, features: np.ndarray) -> None:
        """Add more features, (n, f)."""
        if not len(features):
            return
        features = features.astype(np.float64)
        # from the first on, so that a constant feature has a variance of exactly 0
        shifted = features - features[0]
        offset = shifted.mean(0)
        shifted -= offset
        total = self.count + len(features)
        step = features[0] + offset - self.mean
        self.scatter += shifted.T @ shifted
        if self.count:
            self.scatter += np.outer(step, step * (self.count * len(features) / total))
            self.mean = self.mean + step * (len(features) / total)
        else:
            self.mean = step
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The covariance (f, f) with 1/(N − 1), as in pytorch-fid. Raises ValueError for N < 2."""
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 features or more, not {self.count}")
        return self.scatter / (self.count - 1)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F (f, r) with F Fᵀ the covariance (f, f), r its numerical rank.

    Eigenvalues up to f · ε · the largest one are rounding errors of either sign, and are left out.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_distance(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """d² between N(mean_a, cov_a) and N(mean_b, cov_b): means (f,), covariances (f, f).

    Covariances may be of any rank. The trace term is a sum of singular values: with A = F Fᵀ
    and B = G Gᵀ, the eigenvalues of A B that are not 0 are the squares of the singular values
    of Fᵀ G, so tr (A B)^{1/2} = ‖Fᵀ G‖_*. Neither A B nor B^{1/2} A B^{1/2} is formed, whose
    eigenvalues of 0 come out as ±ε and, after the root, as 1e-8.

    It is never negative: a value below 0, which is rounding, is returned as 0. Raises ValueError
    for numbers that are not finite.
    """
    if not all(np.isfinite(array).all() for array in (mean_a, cov_a, mean_b, cov_b)):
        raise ValueError("moments must be finite")
    step = mean_a - mean_b
    product = _factor(cov_a).T @ _factor(cov_b)
    # numpy's SVD takes no matrix without rows, which a single point gives
    overlap = np.linalg.svd(product, compute_uv=False).sum() if product.size else 0.0
    return max(0.0, float(step @ step + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap))
