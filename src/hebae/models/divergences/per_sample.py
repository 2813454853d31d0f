"""What is charged for each q(z|x_i) by itself, as in the VAE; in nats."""

from __future__ import annotations

from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.latent import Codes, Discrepancy, Normal


def mean_posterior_kl(codes: Codes, normal: Normal) -> Discrepancy:
    """The mean over the batch of KL(q(z|x_i) ‖ N(0, I)), the VAE's charge (Eq. 4), in nats.

    Args:
        codes: their means, σ and L; the drawn z are not used.
        normal: not used.
    """
    return Discrepancy(posterior_kl(codes.mean, codes.log_sigma, codes.mixing).mean())


def squared_norm(codes: Codes, normal: Normal) -> Discrepancy:
    """The mean over the batch of ½‖μ‖², the part of the KL that depends on μ.

    It is what is left of the KL for codes without noise: KL(N(μ, s²I) ‖ N(0, I)) = ½‖μ‖² plus a
    constant that grows without limit as s → 0. It is the L2 regulariser of Ghosh et al. 2020.

    Args:
        codes: their means μ, shape (n, d).
        normal: not used.
    """
    return Discrepancy(0.5 * codes.mean.square().sum(dim=1).mean())
