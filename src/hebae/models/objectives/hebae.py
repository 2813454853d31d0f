"""The hierarchical empirical Bayes autoencoder (paper §3)."""

from __future__ import annotations

from torch import Tensor

from hebae.models.divergences.moments import covariance_factor, gaussian_kl
from hebae.models.latent import Codes, Divergence, Latent, Normal


def hebae(
    mean: Tensor,
    log_sigma: Tensor,
    normal: Normal,
    *,
    reparameterisation: str = "cholesky",
    mean_weight: float = 1.0,
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
        mean_weight: w of R = KL(N(m̂, Σ̂) ‖ N(m̂, I)) + w·½‖m̂‖² (Theorem 1).
        check: raise the error below; otherwise z and R are NaN.

    Raises:
        SingularCovariance: if the batch has no covariance of full rank.
    """
    centre, factor = covariance_factor(mean, check=check)
    mixing = _mixing(factor, reparameterisation)
    z = mean + log_sigma.exp() * (normal(mean) @ mixing.T)
    return Latent(z, gaussian_kl(centre, factor, mean_weight), mixing)


def batch_noise(
    mean: Tensor,
    log_sigma: Tensor,
    normal: Normal,
    *,
    divergence: Divergence,
    reparameterisation: str = "cholesky",
    check: bool = True,
) -> Latent:
    """HEBAE's codes, z = μ + σ∘(L ε), with any divergence; with ``moments`` it is :func:`hebae`."""
    moments = covariance_factor(mean, check=check)
    mixing = _mixing(moments[1], reparameterisation)
    z = mean + log_sigma.exp() * (normal(mean) @ mixing.T)
    value, adversary_loss = divergence(Codes(z, mean, log_sigma, mixing, moments, check), normal)
    return Latent(z, value, mixing, adversary_loss)


def _mixing(factor: Tensor, reparameterisation: str) -> Tensor:
    """The L of Eq. 8 (d, d), from the Cholesky factor of Σ̂."""
    if reparameterisation == "cholesky":
        return factor
    if reparameterisation == "diagonal":
        return factor.detach().square().sum(dim=1).sqrt().diag()
    raise ValueError(f"reparameterisation is cholesky or diagonal, not {reparameterisation!r}")
