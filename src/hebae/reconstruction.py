"""Reconstruction terms: what a decoder's output says of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Reconstruction:
    """Three functions that belong together.

    ``scale``: uint8 images (n, height, width, channels) to what the networks see.
    ``nats``: decoder output and scaled images to −log p(x|z) an image, shape (n,).
    ``pixels``: decoder output to uint8 images.
    """

    scale: Callable[[Tensor], Tensor]
    nats: Callable[[Tensor, Tensor], Tensor]
    pixels: Callable[[Tensor], Tensor]


def _to_unit(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Bernoulli cross entropy, summed over pixels; grey values count as probabilities."""
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss.flatten(1).sum(dim=1)


def _sigmoid_pixels(logits: Tensor) -> Tensor:
    return logits.float().sigmoid().mul(255).round().to(torch.uint8)


bernoulli = Reconstruction(scale=_to_unit, nats=_cross_entropy, pixels=_sigmoid_pixels)
