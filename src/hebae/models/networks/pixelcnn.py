"""Dense encoder and autoregressive decoder: a gated PixelCNN given the code.

p(x|z) = Π_i Bernoulli(x_i | x_<i, z), pixels in raster order (van den Oord et al. 2016,
"Conditional Image Generation with PixelCNN Decoders", Fig. 2). The vertical stack of layers sees
the rows above a pixel. The horizontal stack sees the pixels to its left in its row and, through the
vertical stack, the rows above. Together they see every earlier pixel within reach, without a blind
spot.

No kernel is masked. The vertical stack reads the image moved down by one row, and the horizontal
stack reads it moved right by one pixel. After that a layer may read its own position too. So each
layer is a plain convolution, padded only above or on the left. With r = ``layers · (kernel // 2)``,
a pixel's logit depends on the r + 1 pixels left of it, and on the r + 1 rows above it, from r
columns left of it to r columns right of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from hebae.models.networks import dense

MAPS = 4  # feature maps of a code; the dense decoder makes one, its logits


def _conv(inputs: int, outputs: int, size: tuple[int, int], generator, **options) -> nn.Conv2d:
    """A convolution with Glorot-uniform kernels and zero biases."""
    conv = nn.Conv2d(inputs, outputs, size, **options)
    nn.init.xavier_uniform_(conv.weight, generator=generator)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _gate(features: Tensor) -> Tensor:
    """tanh of the first half of the channels times σ of the second (Eq. 2)."""
    first, second = features.chunk(2, dim=1)
    return first.tanh() * second.sigmoid()


class GatedLayer(nn.Module):
    """A layer of both stacks. Its input is padded already, or is a window of the full input.

    All tensors are (n, channels, height, width).
    """

    def __init__(self, inputs: int, channels: int, kernel: int, generator: torch.Generator):
        super().__init__()
        self.inputs = inputs
        self.half = kernel // 2
        self.residual = inputs == channels  # not in the first layer, whose input is the image
        rows, columns = (self.half + 1, kernel), (1, self.half + 1)
        padding = (0, self.half)
        self.vertical = _conv(inputs, 2 * channels, rows, generator, padding=padding)
        self.horizontal = _conv(inputs, 2 * channels, columns, generator)
        self.link = _conv(2 * channels, 2 * channels, (1, 1), generator)
        # V * s: two layers, because the halves of one twice as wide would be copied in memory
        self.vertical_maps = _conv(MAPS, 2 * channels, (1, 1), generator, bias=False)
        self.horizontal_maps = _conv(MAPS, 2 * channels, (1, 1), generator, bias=False)
        self.last = _conv(channels, channels, (1, 1), generator)

    def down(self, features: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the vertical stack, and what it and the code add to the horizontal stack.

        ``features`` has kernel // 2 more rows than the result, all above it.
        """
        # in place, because memory takes as much of a step's time as arithmetic
        features = self.vertical(features).add_(self.vertical_maps(maps))
        given = self.link(features).add_(self.horizontal_maps(maps))
        return _gate(features), given

    def right(self, features: Tensor, given: Tensor) -> Tensor:
        """The output of the horizontal stack, given what the vertical stack and the code add to it.

        ``features`` has kernel // 2 more columns than the result, all left of it.
        """
        result = self.last(_gate(self.horizontal(features) + given))
        return features[..., self.half :] + result if self.residual else result


class Decoder(nn.Module):
    """Codes (n, d) and images (n, height, width, 1) to the logits of the images' pixels.

    A dense network turns the code into feature maps, s = m(z), which every gated layer sees. So the
    code can say something different about each position (van den Oord et al., Sec. 2.3).
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        widths: Sequence[int],
        channels: int,
        layers: int,
        kernel: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.half = kernel // 2
        # channels last in memory, where convolutions are fastest
        self.maps = dense.Decoder(widths, (*image_shape[:2], MAPS), generator)
        self.layers = nn.ModuleList(
            GatedLayer(inputs, channels, kernel, generator)
            for inputs in (1, *[channels] * (layers - 1))
        )
        self.head = nn.Sequential(
            nn.ReLU(),
            _conv(channels, channels, (1, 1), generator),
            nn.ReLU(),
            _conv(channels, 1, (1, 1), generator),
        )

    def forward(self, codes: Tensor, images: Tensor) -> Tensor:
        """The logit of each pixel, given the code and the pixels of ``images`` before it.

        Args:
            codes: (n, d).
            images: (n, height, width, 1), 0 or 1.

        Returns:
            (n, height, width, 1); their Bernoulli cross entropy is −log p(images|codes).
        """
        maps = self.maps(codes).permute(0, 3, 1, 2)
        images = images.permute(0, 3, 1, 2)
        vertical, horizontal = pad(images, (0, 0, 1, -1)), pad(images, (1, -1))
        for layer in self.layers:
            vertical, given = layer.down(pad(vertical, (0, 0, self.half, 0)), maps)
            horizontal = layer.right(pad(horizontal, (self.half, 0)), given)
        return self.head(horizontal).permute(0, 2, 3, 1)

    @torch.no_grad()
    def sample(
        self, codes: Tensor, uniform: Tensor, report: Callable[[], object] | None = None
    ) -> Tensor:
        """Images of the codes, pixel by pixel; a pixel is 1 where uniform < probability.

        Args:
            codes: (n, d).
            uniform: (n, height, width, 1), from [0, 1).
            report: called after each row.

        Returns:
            (n, height, width, 1), 0 or 1, of the type of ``codes``.
        """
        maps = self.maps(codes).permute(0, 3, 1, 2)
        uniform = uniform.permute(0, 3, 1, 2)
        n, _, height, width = uniform.shape
        # A layer's row r reads the rows r − half to r of its input, which no later pixel changes.
        # So the last half rows are kept once they are computed; zeros replace the padding of
        # forward. The same holds for the pixels in a row. The result is that of forward, with each
        # row and pixel computed once.
        above = [codes.new_zeros(n, layer.inputs, self.half, width) for layer in self.layers]
        row = codes.new_zeros(n, 1, 1, width)
        rows = []
        for index in range(height):
            features, given = row, []
            for depth, layer in enumerate(self.layers):
                window = torch.cat([above[depth], features], dim=2)
                above[depth] = window[:, :, 1:]
                features, addend = layer.down(window, maps[:, :, index : index + 1])
                given.append(addend)
            row = self._sample_row(given, uniform[:, :, index : index + 1]).to(codes.dtype)
            rows.append(row)
            if report is not None:
                report()
        return torch.cat(rows, dim=2).permute(0, 2, 3, 1)

    def _sample_row(self, given: Sequence[Tensor], uniform: Tensor) -> Tensor:
        """Sample a row (n, 1, 1, width); ``given`` is added to layers of the horizontal stack."""
        like, n = given[0], len(uniform)
        left = [like.new_zeros(n, layer.inputs, 1, self.half) for layer in self.layers]
        pixel = like.new_zeros(n, 1, 1, 1)
        pixels = []
        for index in range(uniform.shape[3]):
            features = pixel
            for depth, layer in enumerate(self.layers):
                window = torch.cat([left[depth], features], dim=3)
                left[depth] = window[..., 1:]
                features = layer.right(window, given[depth][..., index : index + 1])
            # in the type of `uniform`, because bfloat16 would round the probability
            probability = self.head(features).to(uniform.dtype).sigmoid()
            pixel = (uniform[..., index : index + 1] < probability).to(like.dtype)
            pixels.append(pixel)
        return torch.cat(pixels, dim=3)


def build(
    image_shape: Sequence[int],
    latent_dim: int,
    stochastic: bool,
    generator: torch.Generator,
    *,
    encoder_widths: Sequence[int],
    decoder_widths: Sequence[int],
    channels: int = 32,
    layers: int = 5,
    kernel: int = 5,
) -> tuple[nn.Module, nn.Module]:
    """The dense encoder and the autoregressive decoder for images (height, width, 1).

    Args:
        decoder_widths: hidden widths of the dense network that turns a code into feature maps.
        channels: channels of each stack.
        layers: layers of each stack, at least 1.
        kernel: width of the window of a layer of the vertical stack. Its height is kernel // 2 + 1,
            and so is the width of the window of the horizontal stack.

    Raises:
        ValueError: for images of several channels, or an even kernel.
    """
    if image_shape[2] != 1:
        raise ValueError(f"the decoder is of one-channel images, not of {image_shape[2]} channels")
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, not {kernel}")
    heads = 2 if stochastic else 1
    encoder = dense.Encoder([prod(image_shape), *encoder_widths], latent_dim, heads, generator)
    widths = [latent_dim, *decoder_widths]
    decoder = Decoder(image_shape, widths, channels, layers, kernel, generator)
    return encoder, decoder.to(memory_format=torch.channels_last)
