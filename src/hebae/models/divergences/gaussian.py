"""The divergence of Gaussian posteriors from the standard normal prior, in nats."""

from __future__ import annotations

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
