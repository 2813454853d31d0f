"""The codes that an objective makes from the encoder's output, and what they cost."""

from __future__ import annotations

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
