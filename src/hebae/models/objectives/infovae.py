"""The information maximising autoencoder (Zhao, Song & Ermon 2017)."""

from __future__ import annotations

from torch import Tensor

from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.latent import Codes, Divergence, Latent, Normal, gaussian_codes


def infovae(
    mean: Tensor,
    log_sigma: Tensor,
    normal: Normal,
    *,
    lam: float,
    divergence: Divergence,
    alpha: float = 1.0,
) -> Latent:
    """z = μ + σ∘ε; λ·R = (1 − α)·mean KL(q(z|x_i) ‖ p) + (α + λ − 1)·D(q(z) ‖ p).

    This is Eq. 6 of Zhao et al. 2017. At α = 1, R is D, which is the λ·D(q(z) ‖ p) of their
    summary. At α = 0 and λ = 1, R is the VAE's.

    Args:
        mean: μ, shape (n, d).
        log_sigma: log σ, shape (n, d).
        normal: source of ε and of the prior's samples.
        lam: λ > 0.
        divergence: D.
        alpha: α ≤ 1, with α + λ − 1 ≥ 0.
    """
    z = gaussian_codes(mean, log_sigma, normal)
    value, adversary_loss = divergence(Codes(z, mean, log_sigma), normal)
    if alpha != 1:
        kl = posterior_kl(mean, log_sigma).mean()
        value = ((1 - alpha) * kl + max(0.0, alpha + lam - 1) * value) / lam
    return Latent(z, value, adversary_loss=adversary_loss)
