"""Averages estimates with quadratic cost over blocks of codes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 1000


def mean_over_blocks(estimate: Callable[..., Tensor], *codes: Tensor) -> Tensor:
    """The estimate averaged over blocks of at least 1,000 codes (n, d) each, where there are more.

    An unbiased estimate stays unbiased, and its cost becomes linear in n. A block takes every k-th
    code. Neighbours in a split may be alike (in MNIST they share writers), so a block of neighbours
    would not represent the split.
    """
    blocks = max(1, codes[0].shape[0] // BLOCK)
    parts = ([part[k::blocks] for part in codes] for k in range(blocks))
    return torch.stack([estimate(*part) for part in parts]).mean()
