"""The variational autoencoder with a KL that is warmed up (Bowman et al. 2016, §3.1)."""

from __future__ import annotations

from torch import Tensor

from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.latent import Latent, Normal, gaussian_codes


def annealed_vae(
    mean: Tensor, log_sigma: Tensor, normal: Normal, *, progress: float, warm_up: float = 0.5
) -> Latent:
    """z = μ + σ∘ε; R = min(1, progress / warm_up) · mean over the batch of KL(q(z|x_i) ‖ N(0, I)).

    Evaluated when all steps are done (progress 1), it is the VAE.

    Args:
        mean: μ, shape (n, d).
        log_sigma: log σ, shape (n, d).
        normal: source of ε.
        progress: the share of the training's steps that are done, 0 to 1.
        warm_up: the share of steps after which the KL counts in full, above 0 and at most 1.
    """
    share = min(1.0, progress / warm_up)
    return Latent(
        gaussian_codes(mean, log_sigma, normal), share * posterior_kl(mean, log_sigma).mean()
    )
