"""The Wasserstein autoencoder (Tolstikhin et al. 2017): the code is a function of the image.

The WAE-GAN is :func:`hebae.models.objectives.noise.no_noise` with the adversarial divergence.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hebae.models.divergences.mmd import SCALES, mmd
from hebae.models.latent import Latent, Normal


def wae_mmd(
    mean: Tensor,
    log_sigma: None,
    normal: Normal,
    *,
    prior_variance: float = 1.0,
    scales: Sequence[float] = SCALES,
) -> Latent:
    """z = μ; R = MMD²(z, N(0, I)) with the kernel Σ_s C_s/(C_s + ‖a − b‖²).

    C_s = 2·d·σ_p²·s. The encoder is deterministic, so there is no log σ.

    Args:
        mean: μ, shape (n, d), n ≥ 2.
        log_sigma: None.
        normal: source of the prior's samples, as many as there are codes.
        prior_variance: σ_p² of the kernel's scale.
        scales: the factors s.
    """
    return Latent(mean, mmd(mean, normal, prior_variance=prior_variance, scales=scales).value)
