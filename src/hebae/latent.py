"""What an objective makes of the encoder's output."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Normal = Callable[[Tensor], Tensor]
"""Standard normal noise, of the shape, type and device of its argument."""


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
