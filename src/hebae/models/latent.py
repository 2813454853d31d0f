"""The codes that an objective makes from the encoder's output, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Normal = Callable[[Tensor], Tensor]
"""Standard normal noise, of the shape, type and device of its argument."""


class SingularCovariance(ValueError):
    """The covariance of a batch of codes has no Cholesky factor worth using."""


def normal_stream(seed: int, device: torch.device) -> Normal:
    """A stream of standard normal noise."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device)

    return normal


class Discrepancy(NamedTuple):
    """How far codes are from the prior."""

    value: Tensor
    """A scalar. Codes follow its gradient, which may be the gradient of a surrogate."""
    adversary_loss: Tensor | None = None
    """The adversary's loss, a scalar; its gradient moves the adversary alone."""


class Codes(NamedTuple):
    """What a divergence may look at: the codes of a batch, and the Gaussians they are drawn from.

    z_i ~ N(μ_i, D_i L Lᵀ D_i), D_i = diag σ_i.
    """

    z: Tensor
    """Codes, shape (n, d)."""
    mean: Tensor
    """μ, shape (n, d)."""
    log_sigma: Tensor | None = None
    """log σ, shape (n, d); None if nothing is drawn, and z = μ."""
    mixing: Tensor | None = None
    """L, shape (d, d); None if it is the identity."""
    moments: tuple[Tensor, Tensor] | None = None
    """The mean (d,) and Cholesky factor (d, d) of the covariance of μ, if they are known already.
    """
    check: bool = True
    """Whether a covariance without full rank is an error; otherwise what needs it is NaN."""


Divergence = Callable[[Codes, Normal], Discrepancy]
"""How far a batch is from the prior; it draws samples of the prior if it needs them."""


def of_codes(divergence: Callable[[Tensor, Normal], Discrepancy]) -> Divergence:
    """The divergence of a batch that a function of its codes z (n, d) alone makes."""
    return lambda codes, normal: divergence(codes.z, normal)


class Latent(NamedTuple):
    """Codes of a batch of n images, and what the objective charges for them.

    In every objective, z = μ + σ∘(L ε). Objectives differ in L and in the charge.
    """

    z: Tensor
    """Codes, shape (n, d)."""
    regulariser: Tensor
    """R, unweighted, a scalar."""
    mixing: Tensor | None = None
    """L, shape (d, d); None if it is the identity or nothing is sampled."""
    adversary_loss: Tensor | None = None
    """The loss of the objective's adversary, a scalar; None if it has no adversary."""


def gaussian_codes(mean: Tensor, log_sigma: Tensor, normal: Normal) -> Tensor:
    """z = μ + σ∘ε, (n, d): the reparameterisation with L = I (Eq. 3; Kingma & Welling 2013)."""
    return mean + log_sigma.exp() * normal(mean)


def learned_deviation(output: Tensor, *, log_variance: bool = False) -> Tensor:
    """log σ (n, d) from the encoder's output, which is log σ, or log σ² as in the released VAE."""
    return output / 2 if log_variance else output


def fixed_deviation(mean: Tensor, *, sigma: float = 0.1) -> Tensor:
    """log σ (n, d) of codes whose σ is the same for all images and dimensions."""
    return torch.full_like(mean, math.log(sigma))
