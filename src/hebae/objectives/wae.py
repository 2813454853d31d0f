"""The Wasserstein autoencoder with a maximum mean discrepancy (Tolstikhin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hebae.divergences import imq_mmd
from hebae.latent import Latent, Normal

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

# MMD² costs n² kernel values. Above this many codes (a whole split) it is averaged over
# blocks: each block's estimate is unbiased, so their mean is too, at a cost linear in n.
BLOCK = 1000


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
    constants = [2 * mean.shape[1] * prior_variance * scale for scale in scales]
    blocks = max(1, mean.shape[0] // BLOCK)
    pairs = zip(mean.tensor_split(blocks), normal(mean).tensor_split(blocks), strict=True)
    return Latent(mean, torch.stack([imq_mmd(a, b, constants) for a, b in pairs]).mean())
