"""The variational autoencoder (paper §2.1; Kingma & Welling 2013)."""

from __future__ import annotations

from torch import Tensor

from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.latent import Latent, Normal, gaussian_codes


def vae(mean: Tensor, log_sigma: Tensor, normal: Normal) -> Latent:
    """z = μ + σ∘ε (Eq. 3); R = mean over the batch of KL(q(z|x_i) ‖ N(0, I)) (Eq. 4).

    Args:
        mean: μ, shape (n, d).
        log_sigma: log σ, shape (n, d).
        normal: source of ε.
    """
    return Latent(gaussian_codes(mean, log_sigma, normal), posterior_kl(mean, log_sigma).mean())
