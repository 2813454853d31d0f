"""Convolutional encoder and decoder (paper, App. B.2; Tolstikhin et al. 2017).

TensorFlow's SAME padding of even sides, at stride 2, adds one pixel before and two after.
PyTorch's ``padding=2`` reads the pixels that SAME would read of the mirrored image, with the
kernel mirrored: so the networks see images mirrored at both axes and give them back mirrored,
and are the TensorFlow ones with other names for the weights. Padding by one and two instead
would copy every activation, and put those of the backward pass on a path ten times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

FILTERS = (128, 256, 512, 1024)
KERNEL = 5
DEVIATION = 0.02  # of the initial weights
EPSILON = 1e-3  # of batch normalisation, Keras's default


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that never leaves inference mode, as in the released code.

    Its statistics stay 0 and 1, so it is a learned scale and offset of each channel.
    """

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__(channels, epsilon)
        self.train()

    def train(self, mode: bool = True) -> FrozenBatchNorm2d:
        return super().train(False)


BATCH_NORM = {"trained": nn.BatchNorm2d, "frozen": FrozenBatchNorm2d}


class Encoder(nn.Module):
    """Images (n, height, width, channels) to the mean and log σ of their codes, each (n, d)."""

    def __init__(
        self,
        image_shape: Sequence[int],
        filters: Sequence[int],
        normalise: type[nn.BatchNorm2d],
        latent_dim: int,
        heads: int,
    ) -> None:
        super().__init__()
        height, width, channels = image_shape
        self.heads = heads
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, *filters)):
            conv = nn.Conv2d(inputs, outputs, KERNEL, stride=2, padding=2, bias=False)
            layers += [conv, normalise(outputs, EPSILON), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        side = 2 ** len(filters)
        self.last = nn.Linear(filters[-1] * (height // side) * (width // side), latent_dim * heads)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """log σ is None for a deterministic encoder."""
        # channels are last in memory already, where they are fastest
        mirrored = images.flip(1, 2).permute(0, 3, 1, 2)
        output = self.last(self.layers(mirrored).flatten(1))
        return output.chunk(2, dim=1) if self.heads == 2 else (output, None)


class Decoder(nn.Module):
    """Codes (n, d) to one number a pixel and channel (n, height, width, channels).

    The reconstruction term applies the link: tanh for a squared error, as in the paper.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        filters: Sequence[int],
        normalise: type[nn.BatchNorm2d],
        latent_dim: int,
    ) -> None:
        super().__init__()
        height, width, channels = image_shape
        side = 2 ** (len(filters) - 1)
        self.first = nn.Linear(latent_dim, filters[-1] * (height // side) * (width // side))
        self.unflatten = nn.Unflatten(1, (filters[-1], height // side, width // side))
        layers: list[nn.Module] = [normalise(filters[-1], EPSILON), nn.ReLU()]
        for inputs, outputs in pairwise(reversed(filters)):
            conv = nn.ConvTranspose2d(
                inputs, outputs, KERNEL, stride=2, padding=2, output_padding=1, bias=False
            )
            layers += [conv, normalise(outputs, EPSILON), nn.ReLU()]
        last = nn.ConvTranspose2d(filters[0], channels, KERNEL, padding=2, bias=False)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, codes: Tensor, images: Tensor | None = None) -> Tensor:
        """Pixels are independent given the code: the images are not looked at."""
        features = self.unflatten(self.first(codes))
        features = features.contiguous(memory_format=torch.channels_last)
        return self.layers(features).permute(0, 2, 3, 1).flip(1, 2)


def build(
    image_shape: Sequence[int],
    latent_dim: int,
    stochastic: bool,
    generator: torch.Generator,
    *,
    width: float = 1.0,
    batch_norm: str = "trained",
) -> tuple[nn.Module, nn.Module]:
    """The encoder and decoder for images (height, width, channels), sides multiples of 16.

    Args:
        width: factor on the paper's numbers of filters, 128-256-512-1024.
        batch_norm: ``trained`` is the text; ``frozen`` is the released code, where only scale
            and offset are learned.
    """
    filters = [max(1, round(width * number)) for number in FILTERS]
    normalise = BATCH_NORM[batch_norm]
    encoder = Encoder(image_shape, filters, normalise, latent_dim, 2 if stochastic else 1)
    decoder = Decoder(image_shape, filters, normalise, latent_dim)
    for module in (encoder, decoder):
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=DEVIATION, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        module.to(memory_format=torch.channels_last)
    return encoder, decoder
