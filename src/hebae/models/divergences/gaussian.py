"""The divergence of Gaussian posteriors from the standard normal prior, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def posterior_kl(mean: Tensor, log_sigma: Tensor, mixing: Tensor | None = None) -> Tensor:
    """KL(N(μ_i, D_i L Lᵀ D_i) ‖ N(0, I)) of every posterior, D_i = diag σ_i; shape (n,).

    With ``mixing`` None, L = I and this is the VAE's closed form (last term of Eq. 4).

    Args:
        mean: μ, shape (n, d).
        log_sigma: log σ, shape (n, d).
        mixing: lower triangular L, shape (d, d).
    """
    variance = (2 * log_sigma).exp()
    log_det = 2 * log_sigma.sum(dim=1)
    if mixing is not None:
        variance = variance * mixing.square().sum(dim=1)
        log_det = log_det + 2 * mixing.diagonal().log().sum()
    return 0.5 * ((mean.square() + variance).sum(dim=1) - mean.shape[1] - log_det)


def widened_factors(
    log_sigma: Tensor | None, mixing: Tensor | None, width: float, like: Tensor
) -> tuple[Tensor, Tensor]:
    """A_i with A_i A_iᵀ = D_i L Lᵀ D_i + s² I, (n, d, d), and log|det A_i|, (n,), in float64.

    Without a width A_i = D_i L directly, because squaring would lose tiny σ. A factor that does not
    exist (σ is not finite) is NaN.

    Args:
        log_sigma: log σ, shape (n, d); None or −∞ for a deterministic encoder, σ = 0.
        mixing: L, shape (d, d); None is the identity.
        width: s >= 0, in units of the prior's standard deviation; above 0 where σ is 0.
        like: a tensor (n, d) on the device of the factors.
    """
    n, d = like.shape
    identity = torch.eye(d, dtype=torch.float64, device=like.device)
    if log_sigma is None:
        return (width * identity).expand(n, d, d), like.new_full((n,), d * math.log(width)).double()
    log_sigma = log_sigma.double()
    if mixing is None:  # diagonal: no factorisation
        deviation = log_sigma.exp().hypot(torch.full_like(log_sigma, width))
        log_det = deviation.log() if width else log_sigma
        return deviation.diag_embed(), log_det.sum(dim=1)
    mixing = mixing.double()
    factor = log_sigma.exp()[:, :, None] * mixing
    if width == 0:
        return factor, log_sigma.sum(dim=1) + torch.linalg.slogdet(mixing).logabsdet
    factor, failed = torch.linalg.cholesky_ex(factor @ factor.mT + width**2 * identity)
    factor = factor.where(failed[:, None, None] == 0, math.nan)
    return factor, factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)


def factor_kl(mean: Tensor, factor: Tensor, log_det: Tensor) -> Tensor:
    """KL(N(μ_i, A_i A_iᵀ) ‖ N(0, I)) = ½(‖A_i‖² + ‖μ_i‖² − d) − log|det A_i|; shape (n,).

    Args:
        mean: μ, shape (n, d).
        factor: A, shape (n, d, d).
        log_det: log|det A_i|, shape (n,).
    """
    squares = factor.square().sum(dim=(1, 2)) + mean.square().sum(dim=1)
    return (squares - mean.shape[1]) / 2 - log_det
