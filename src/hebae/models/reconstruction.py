"""Reconstruction terms, which compare a decoder's output with an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Reconstruction:
    """Functions that belong together, and a number.

    ``inputs``: turns uint8 images (n, height, width, channels) into what the networks see.
    ``error``: gives the error of each image, (n,), from the decoder's output and the inputs.
    ``pixels``: turns the decoder's output into uint8 images, the mean of p(x|z) if pixels are
        independent.
    ``mean``: turns the decoder's output into the mean of p(x|z) if pixels are independent, in units
        of the image's range, [0, 1].
    ``scale``: the training loss is scale · mean error + λ · regulariser. λ / scale can be compared
        between models that scale the same error differently.
    """

    inputs: Callable[[Tensor], Tensor]
    error: Callable[[Tensor, Tensor], Tensor]
    pixels: Callable[[Tensor], Tensor]
    scale: float = 1.0
    mean: Callable[[Tensor], Tensor] = torch.sigmoid


def _to_unit(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Bernoulli cross entropy, summed over pixels; grey values count as probabilities."""
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss.flatten(1).sum(dim=1)


def _sigmoid_pixels(logits: Tensor) -> Tensor:
    return logits.float().sigmoid().mul(255).round().to(torch.uint8)


def bernoulli(image_shape: Sequence[int]) -> Reconstruction:
    """−log p(x|z) of independent Bernoulli pixels, in nats; the decoder outputs logits."""
    return Reconstruction(_to_unit, _cross_entropy, _sigmoid_pixels)


def _to_binary(images: Tensor) -> Tensor:
    return (images > 127).to(torch.float32)


def binary(image_shape: Sequence[int]) -> Reconstruction:
    """−log p(x|z) in nats of images made black and white, at the middle of the grey values.

    The decoder outputs the logit that a pixel is white. Pixels are independent, or each is given
    the pixels before it. In both cases this is the exact probability of a discrete image. Grey
    values taken as probabilities have that only on average, and only if pixels are independent.
    """
    return Reconstruction(_to_binary, _cross_entropy, _sigmoid_pixels)


def gaussian(image_shape: Sequence[int], *, variance: float = 0.01) -> Reconstruction:
    """−log p(x|z) in nats of independent Gaussian pixels of a fixed variance, images in [0, 1].

    Mean x̂ = sigmoid(output): Σ (x − x̂)²/2σ² + P/2·log 2πσ² over the P = height · width ·
    channels values. It comes from a density, so it may be negative.
    """
    constant = 0.5 * prod(image_shape) * math.log(2 * math.pi * variance)

    def error(output: Tensor, target: Tensor) -> Tensor:
        squares = (output.sigmoid() - target).square().flatten(1).sum(dim=1)
        return squares / (2 * variance) + constant

    return Reconstruction(_to_unit, error, _sigmoid_pixels)


def _to_signed(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(127.5).sub_(1)


def _mean_square(output: Tensor, target: Tensor) -> Tensor:
    return (output.tanh() - target).square().flatten(1).mean(dim=1)


def _signed_pixels(output: Tensor) -> Tensor:
    """Round and clip: a cast alone truncates, and wraps white to black."""
    return output.float().tanh().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _signed_mean(output: Tensor) -> Tensor:
    return output.tanh().add(1).div(2)


def squared_error(
    image_shape: Sequence[int], *, reduction: str = "mean", factor: float = 1.0
) -> Reconstruction:
    """Mean over pixels and channels of (x̂ − x)², images in [−1, 1], x̂ = tanh(output).

    The error is always this mean, so that models can be compared. The loss has factor · mean, or
    factor · sum over the P = height · width · channels values: scale = factor or factor · P. (The
    released code has the mean for VAE and HEBAE, .05 · sum for WAE; docs/paper.md.) Up to a
    constant, loss / λ is −log p(x|z) + R for Gaussian pixels of variance P λ / (2 · scale).
    """
    scale = {"mean": factor, "sum": factor * prod(image_shape)}[reduction]
    return Reconstruction(_to_signed, _mean_square, _signed_pixels, scale, _signed_mean)
