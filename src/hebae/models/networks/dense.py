"""Dense encoder and decoder (paper, App. B.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn


def _linear(inputs: int, outputs: int, generator: torch.Generator, heads: int = 1) -> nn.Linear:
    """A layer with a Glorot-uniform matrix and zero biases, as the released code has it.

    ``heads`` layers are computed as one matrix product; each keeps its own Glorot range.
    """
    layer = nn.Linear(inputs, outputs * heads)
    with torch.no_grad():
        for head in layer.weight.chunk(heads):
            nn.init.xavier_uniform_(head, generator=generator)
        layer.bias.zero_()
    return layer


def stack(widths: Sequence[int], generator: torch.Generator) -> list[nn.Module]:
    """Layers from each width to the next, a ReLU after every one."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [_linear(inputs, outputs, generator), nn.ReLU()]
    return layers


class Encoder(nn.Module):
    """Images (n, height, width, channels) to the mean and log σ of their codes, each (n, d)."""

    def __init__(self, widths: Sequence[int], latent_dim: int, heads: int, generator):
        super().__init__()
        self.heads = heads
        last = _linear(widths[-1], latent_dim, generator, heads)
        self.layers = nn.Sequential(nn.Flatten(), *stack(widths, generator), last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """log σ is None for a deterministic encoder."""
        output = self.layers(images)
        return output.chunk(2, dim=1) if self.heads == 2 else (output, None)


class Decoder(nn.Module):
    """Codes (n, d) to one number a pixel and channel (n, height, width, channels): logits."""

    def __init__(self, widths: Sequence[int], image_shape: Sequence[int], generator):
        super().__init__()
        last = _linear(widths[-1], prod(image_shape), generator)
        unflatten = nn.Unflatten(1, tuple(image_shape))
        self.layers = nn.Sequential(*stack(widths, generator), last, unflatten)

    def forward(self, codes: Tensor, images: Tensor | None = None) -> Tensor:
        """Pixels are independent given the code, so the images are not used."""
        return self.layers(codes)


def build(
    image_shape: Sequence[int],
    latent_dim: int,
    stochastic: bool,
    generator: torch.Generator,
    *,
    encoder_widths: Sequence[int],
    decoder_widths: Sequence[int],
) -> tuple[nn.Module, nn.Module]:
    """The encoder and decoder for images (height, width, channels).

    The paper's are ``encoder_widths=[784, 800]``, ``decoder_widths=[800, 800]``.
    """
    heads = 2 if stochastic else 1
    encoder = Encoder([prod(image_shape), *encoder_widths], latent_dim, heads, generator)
    decoder = Decoder([latent_dim, *decoder_widths], image_shape, generator)
    return encoder, decoder
