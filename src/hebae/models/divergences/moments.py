"""The divergence from the prior of a Gaussian with a batch's own moments (paper, Eqs. 7, 11)."""

from __future__ import annotations

import torch
from torch import Tensor

from hebae.models.latent import Codes, Discrepancy, Normal, SingularCovariance

DETERMINED = 1 / 8
"""The largest error of log det, in nats, with which a covariance counts as not singular. For
dependent dimensions the estimate of the error is 0.2 or more."""


def moments(codes: Codes, normal: Normal, *, mean_weight: float = 1.0) -> Discrepancy:
    """KL(N(m̂, Σ̂) ‖ N(0, I)), m̂ and Σ̂ the moments of the batch's means μ (Eqs. 7, 11).

    It does not depend on σ, and so not on the noise in z (docs/paper.md).

    Args:
        codes: their means, shape (n, d), n > d, float32 or better.
        normal: not used, because the prior's moments are known.
        mean_weight: the multiplier of the mean's part (:func:`gaussian_kl`).

    Raises:
        SingularCovariance: if the batch has no covariance of full rank and ``codes.check`` is set.
    """
    moments = codes.moments or covariance_factor(codes.mean, check=codes.check)
    return Discrepancy(gaussian_kl(*moments, mean_weight))


def gaussian_kl(mean: Tensor, factor: Tensor, mean_weight: float = 1.0) -> Tensor:
    """KL(N(m, L Lᵀ) ‖ N(m, I)) + w·½‖m‖² = ½(tr L Lᵀ + w·mᵀm − d − log det L Lᵀ).

    With w = 1 it is KL(N(m, L Lᵀ) ‖ N(0, I)) (Eqs. 7, 11). Theorem 1 gets it from a prior that
    keeps the aggregate's own mean, and a penalty on this mean; w is the penalty's multiplier.

    Args:
        mean: m, shape (d,).
        factor: lower triangular L with a positive diagonal, shape (d, d).
        mean_weight: w.
    """
    log_det = 2 * factor.diagonal().log().sum()
    penalty = mean_weight * mean.square().sum()
    return 0.5 * (factor.square().sum() + penalty - mean.shape[0] - log_det)


def batch_moments(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of codes (n, d), dividing by n.

    Raises:
        ValueError: for codes below float32; bfloat16's 8 bits do not carry a covariance.
    """
    if codes.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"moments need float32 or float64 codes, not {codes.dtype}")
    mean = codes.mean(dim=0)
    centred = codes - mean
    return mean, centred.T @ centred / codes.shape[0]


def covariance_factor(codes: Tensor, *, check: bool = True) -> tuple[Tensor, Tensor]:
    """Mean m̂ (d,) and Cholesky factor L (d, d), L Lᵀ = Σ̂, of a batch of codes (n, d).

    No jitter is added, because it would change the regulariser. A batch without a usable factor is
    an error instead. So is a batch whose factor is meaningless because of rounding
    (:func:`usable_factor`).

    Args:
        codes: shape (n, d).
        check: raise that error; otherwise L is NaN. A check would make the host wait for a GPU in
            every step.

    Raises:
        SingularCovariance: n ≤ d, a constant or dependent dimension, or non-finite codes.
    """
    n, d = codes.shape
    if n <= d:
        raise SingularCovariance(
            f"a batch of {n} codes of {d} dimensions has a singular covariance: "
            f"the batch must hold more than {d} images"
        )
    mean, covariance = batch_moments(codes)
    factor, info = torch.linalg.cholesky_ex(covariance)
    with torch.no_grad():
        usable = (info == 0) & usable_factor(factor, codes, covariance)
    if not check:
        return mean, torch.where(usable, factor, torch.nan)
    if not usable:
        raise SingularCovariance(
            f"the covariance of {n} codes of {d} dimensions is singular to working precision: "
            "some dimensions are constant, dependent or not finite"
        )
    return mean, factor


def usable_factor(factor: Tensor, codes: Tensor, covariance: Tensor) -> Tensor:
    """Whether rounding leaves a Cholesky factor L (d, d) its meaning, a boolean scalar.

    Each dimension is judged on its own scale. The computed L is the factor of Σ̂ + E with
    |E_ij| ≤ c·ε·√(Σ̂_ii Σ̂_jj) (Higham 2002, §3.5 and Theorem 10.6), and so log det is off by about
    ε·tr P⁻¹ nats, P the correlation matrix. With D² the diagonal of Σ̂, tr P⁻¹ = ‖L⁻¹D‖²; it is d
    for independent dimensions, whatever their variances, and of order 1/ε for dependent ones. Codes
    are known to ε·max_i |z_ij| and their mean to a few times that, so what is left of a dimension's
    variance must exceed the square of this. Variances near the smallest number have lost digits.

    So a dimension of deviation 1e-8 beside others of 1 is as good as they are, if it lies around 0.
    If it lies around 1, its codes are rounding.

    Args:
        factor: L.
        codes: shape (n, d).
        covariance: Σ̂, shape (d, d).
    """
    limits = torch.finfo(codes.dtype)
    rounding = (8 * limits.eps * codes.abs().amax(dim=0)).square() + limits.tiny / limits.eps
    scaled = torch.linalg.solve_triangular(factor, covariance.diagonal().sqrt().diag(), upper=False)
    # written so that a NaN anywhere counts as unusable
    known = (factor.diagonal().square() > rounding).all()
    return known & (limits.eps * scaled.square().sum() < DETERMINED)
