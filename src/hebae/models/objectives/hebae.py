"""The hierarchical empirical Bayes autoencoder (paper §3)."""

from __future__ import annotations

import torch
from torch import Tensor

from hebae.models.latent import Latent, Normal, SingularCovariance


def hebae(
    mean: Tensor,
    log_sigma: Tensor,
    normal: Normal,
    *,
    reparameterisation: str = "cholesky",
    check: bool = True,
) -> Latent:
    """z = μ + σ∘(L ε) (Eq. 8); R = KL(N(m̂, Σ̂) ‖ N(0, I)) (Eqs. 7, 11).

    m̂ and Σ̂ = L Lᵀ are the moments of the batch's means. R does not depend on σ, so reconstruction
    alone decides σ.

    The text and the released code differ in L. ``cholesky`` is the text's: L is the Cholesky
    factor, and gradients flow through it. ``diagonal`` is the code's: √diag Σ̂ replaces L, without
    a gradient (docs/paper.md).

    Args:
        mean: μ, shape (n, d), n > d, float32 or better.
        log_sigma: log σ, shape (n, d).
        normal: source of ε.
        reparameterisation: ``cholesky`` or ``diagonal``.
        check: raise the error below; otherwise z and R are NaN.

    Raises:
        SingularCovariance: if the batch has no covariance of full rank.
    """
    centre, factor = covariance_factor(mean, check=check)
    if reparameterisation == "cholesky":
        mixing = factor
    elif reparameterisation == "diagonal":
        mixing = factor.detach().square().sum(dim=1).sqrt().diag()
    else:
        raise ValueError(f"reparameterisation is cholesky or diagonal, not {reparameterisation!r}")
    z = mean + log_sigma.exp() * (normal(mean) @ mixing.T)
    return Latent(z, gaussian_kl(centre, factor), mixing)


def gaussian_kl(mean: Tensor, factor: Tensor) -> Tensor:
    """KL(N(m, L Lᵀ) ‖ N(0, I)) = ½(tr L Lᵀ + mᵀm − d − log det L Lᵀ) (Eqs. 7, 11).

    Args:
        mean: m, shape (d,).
        factor: lower triangular L with a positive diagonal, shape (d, d).
    """
    log_det = 2 * factor.diagonal().log().sum()
    return 0.5 * (factor.square().sum() + mean.square().sum() - mean.shape[0] - log_det)


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
    an error instead. So is a batch whose factor is meaningless because of rounding: one with a
    pivot below machine precision relative to the largest variance, or below the rounding of the
    codes.

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
        eps = torch.finfo(codes.dtype).eps
        floor = eps * covariance.diagonal().max() + (8 * eps * codes.abs().max()) ** 2
        # written so that a NaN anywhere counts as unusable
        usable = (info == 0) & (factor.diagonal().min() ** 2 > floor)
    if not check:
        return mean, torch.where(usable, factor, torch.nan)
    if not usable:
        raise SingularCovariance(
            f"the covariance of {n} codes of {d} dimensions is singular to working precision: "
            "some dimensions are constant, dependent or not finite"
        )
    return mean, factor
