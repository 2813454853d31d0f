"""The hierarchical empirical Bayes autoencoder (paper §3)."""

from __future__ import annotations

from torch import Tensor

from hebae.models.divergences.gaussian import covariance_factor, gaussian_kl
from hebae.models.latent import Latent, Normal


def hebae(
    mean: Tensor,
    log_sigma: Tensor,
    normal: Normal,
    *,
    reparameterisation: str = "cholesky",
    check: bool = True,
) -> Latent:
    """z = μ + σ∘(L ε) (Eq. 8); R = KL(N(m̂, Σ̂) ‖ N(0, I)) (Eqs. 7, 11).

    m̂ and Σ̂ = L Lᵀ are the moments of the batch's means. σ does not enter R: reconstruction
    alone sets it.

    The text and the released code differ in L. ``cholesky`` is the text: L is the Cholesky
    factor, and gradients flow through it. ``diagonal`` is the code: √diag Σ̂ in the place of
    L, without a gradient (docs/paper.md).

    Args:
        mean: μ, shape (n, d), n > d, float32 or better.
        log_sigma: log σ, shape (n, d).
        normal: source of ε.
        reparameterisation: ``cholesky`` or ``diagonal``.
        check: raise the error below; else z and R are NaN there.

    Raises:
        SingularCovariance: where the batch has no covariance of full rank.
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
