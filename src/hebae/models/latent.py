"""What an objective makes of the encoder's output."""

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
    """Standard normal noise from a stream of its own."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device)

    return normal


class Discrepancy(NamedTuple):
    """How far codes are from the prior."""

    value: Tensor
    """A scalar. What codes should follow is its gradient, which may be that of a surrogate."""
    adversary_loss: Tensor | None = None
    """What the divergence's adversary lowers, a scalar; its gradient moves the adversary alone."""


class Latent(NamedTuple):
    """Codes of a batch of n images, and what the objective charges for them.

    Every objective's code has the form z = μ + σ∘(L ε); what differs is L and the charge.
    """

    z: Tensor
    """Codes, shape (n, d)."""
    regulariser: Tensor
    """R, unweighted, a scalar."""
    mixing: Tensor | None = None
    """L, shape (d, d); None where it is the identity or nothing is sampled."""
    adversary_loss: Tensor | None = None
    """The loss of the objective's adversary, a scalar; None where it has none."""


def gaussian_codes(mean: Tensor, log_sigma: Tensor, normal: Normal) -> Tensor:
    """z = μ + σ∘ε, (n, d): the reparameterisation with L = I (Eq. 3; Kingma & Welling 2013)."""
    return mean + log_sigma.exp() * normal(mean)
