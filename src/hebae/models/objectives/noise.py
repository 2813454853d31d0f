"""Autoencoders that differ in the noise of their codes alone, with any divergence.

With those of :func:`hebae.models.objectives.hebae.batch_noise` they are the models of Section 5's
question: does the divergence do the work, or the noise (docs/paper.md)?
"""

from __future__ import annotations

from torch import Tensor

from hebae.models.latent import Codes, Divergence, Latent, Normal, gaussian_codes


def no_noise(
    mean: Tensor, log_sigma: None, normal: Normal, *, divergence: Divergence, check: bool = True
) -> Latent:
    """z = μ; R = D. With ``mmd`` it is the WAE-MMD, and with ``adversarial`` the WAE-GAN.

    Args:
        mean: μ, shape (n, d).
        log_sigma: None.
        normal: source of the prior's samples.
        divergence: D.
        check: raise SingularCovariance if D needs a covariance that the batch lacks; otherwise R
            is NaN.
    """
    value, adversary_loss = divergence(Codes(mean, mean, check=check), normal)
    return Latent(mean, value, adversary_loss=adversary_loss)


def independent_noise(
    mean: Tensor, log_sigma: Tensor, normal: Normal, *, divergence: Divergence, check: bool = True
) -> Latent:
    """z = μ + σ∘ε; R = D. With ``posterior_kl`` it is the VAE, and with ``mmd`` InfoVAE at α = 1.

    Args:
        mean: μ, shape (n, d).
        log_sigma: log σ, shape (n, d), of the encoder or a constant.
        normal: source of ε and of the prior's samples.
        divergence: D.
        check: raise SingularCovariance if D needs a covariance that the batch lacks; otherwise R
            is NaN.
    """
    z = gaussian_codes(mean, log_sigma, normal)
    value, adversary_loss = divergence(Codes(z, mean, log_sigma, check=check), normal)
    return Latent(z, value, adversary_loss=adversary_loss)
