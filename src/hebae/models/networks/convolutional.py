"""Convolutional encoder and decoder (paper, App. B.2; Tolstikhin et al. 2017).

TensorFlow's SAME padding of even sides, at stride 2, adds one pixel before and two after. PyTorch's
``padding=2`` reads the pixels that SAME would read of the mirrored image, with a mirrored kernel.
So our networks see images mirrored at both axes and give them back mirrored. They are the
TensorFlow networks, with each kernel mirrored. Padding by one and two instead would copy every
activation, and the backward pass would be ten times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FILTERS = (128, 256, 512, 1024)
KERNEL = 5
DEVIATION = 0.02  # of the initial kernels and matrices
EPSILON = 1e-3  # of batch normalisation, Keras's default


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that never leaves inference mode, as in the released code.

    Its statistics stay 0 and 1, so it only learns a scale and an offset for each channel.
    """

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__(channels, epsilon)
        self.train()

    def train(self, mode: bool = True) -> FrozenBatchNorm2d:
        return super().train(False)


def _rectify(x: Tensor) -> Tensor:
    """ReLU in place."""
    if x.dtype != torch.bfloat16:
        return x.relu_()
    # On integers of the same bits it takes a tenth of the time: -128 is minus infinity, below it
    # are the negative numbers, and above it are NaNs, which stay, and the positive numbers.
    torch.threshold_(x.view(torch.int16), -128, 0)
    return x


def _rectified_gradient(grad: Tensor, output: Tensor) -> Tensor:
    """The gradient of a ReLU's input, from that of its output."""
    if output.dtype != torch.bfloat16:
        return torch.ops.aten.threshold_backward(grad, output, 0)
    # positive numbers are positive integers
    bits = (x.view(torch.int16) for x in (grad, output))
    return torch.ops.aten.threshold_backward(*bits, 0).view(torch.bfloat16)


def _few_positions(small: Tensor) -> bool:
    """Whether :func:`_kernel_gradient` is faster than oneDNN's for this ``grad``, as measured."""
    n, channels, height, width = small.shape
    few = n * height * width <= 2 * KERNEL**2 * channels
    return few and small.dtype == torch.bfloat16 and small.device.type == "cpu"


def _kernel_gradient(grad: Tensor, images: Tensor, kernel: int) -> Tensor:
    """Gradient of a stride 2 convolution's kernels, by one matrix product for each kernel row.

    With few positions and many channels, oneDNN's own gradient is slow at the sum over positions:
    eight times slower at full width, twice at a quarter.

    Args:
        grad: of the output, (n, a, height, width).
        images: the input, (n, b, 2 · height, 2 · width), channels last in memory.
        kernel: side of the kernel, odd; the padding is kernel // 2.

    Returns:
        (a, b, kernel, kernel), channels last in memory.
    """
    n, a, height, width = grad.shape
    b = images.shape[1]
    sides = (kernel // 2,) * 4
    padded = nn.functional.pad(images.permute(0, 2, 3, 1), (0, 0, *sides)).contiguous()
    step, line, pixel, _ = padded.stride()
    left = grad.permute(1, 0, 2, 3).reshape(a, -1)
    rows = images.new_empty(kernel, a, kernel * b)
    for row, product in enumerate(rows):
        # the inputs of a row of the kernel are contiguous in memory: pixels, then channels
        windows = (n, height, width, kernel * b), (step, 2 * line, 2 * pixel, 1)
        right = padded.as_strided(*windows, row * line).reshape(-1, kernel * b)
        torch.mm(left, right, out=product)
    weight = images.new_empty(a, kernel, kernel, b)
    weight.copy_(rows.view(kernel, a, kernel, b).transpose(0, 1))
    return weight.permute(0, 3, 1, 2)


class _ConvolutionReLU(torch.autograd.Function):
    """max(0, convolution + offset) of stride 2, in one pass over the activations each way.

    Differentiable in images (n, inputs, height, width), weight and offset (outputs). A
    transposed convolution doubles the sides, another halves them.
    """

    @staticmethod
    def forward(ctx, images: Tensor, weight: Tensor, offset: Tensor, transposed: bool) -> Tensor:
        ctx.geometry = [2, 2], [2, 2], [1, 1], transposed, [int(transposed)] * 2, 1
        output = _rectify(torch.convolution(images, weight, offset, *ctx.geometry))
        ctx.transposed = transposed
        ctx.save_for_backward(images, weight, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        images, weight, output = ctx.saved_tensors
        grad = _rectified_gradient(grad, output)
        small, large = (images, grad) if ctx.transposed else (grad, images)
        by_rows = _few_positions(small)
        kernel_grad = _kernel_gradient(small, large, KERNEL) if by_rows else None
        wanted = [ctx.needs_input_grad[0], not by_rows, False]
        images_grad, other, _ = torch.ops.aten.convolution_backward(
            grad, images, weight, None, *ctx.geometry, wanted
        )
        flat = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])
        offset_grad = (flat.new_ones(1, len(flat)) @ flat)[0]
        return images_grad, kernel_grad if by_rows else other, offset_grad, None


def _triples(modules: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, ...]]:
    """Groups layers into triples of a convolution, its normalisation and its ReLU."""
    return zip(*[iter(modules)] * 3, strict=True)


def _layer(conv: nn.Module, norm: nn.BatchNorm2d, relu: nn.ReLU, images: Tensor) -> Tensor:
    """relu(norm(conv(images))).

    If its statistics are fixed, normalisation is a scale and an offset for each channel. The scale
    is multiplied into the kernels, which are smaller than the activations.
    """
    if norm.training:
        return relu(norm(conv(images)))
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    offset = norm.bias - norm.running_mean * scale
    transposed = isinstance(conv, nn.ConvTranspose2d)
    weight = conv.weight * scale.view((1, -1, 1, 1) if transposed else (-1, 1, 1, 1))
    device = images.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    return _ConvolutionReLU.apply(images.to(dtype), weight.to(dtype), offset.to(dtype), transposed)


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
        features = images.flip(1, 2).permute(0, 3, 1, 2)
        for triple in _triples(self.layers):
            features = _layer(*triple, features)
        output = self.last(features.flatten(1))
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
        """Pixels are independent given the code, so the images are not used."""
        features = self.unflatten(self.first(codes))
        features = features.contiguous(memory_format=torch.channels_last)
        norm, relu, *layers, last = self.layers
        features = relu(norm(features))
        for triple in _triples(layers):
            features = _layer(*triple, features)
        return last(features).permute(0, 2, 3, 1).flip(1, 2)


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
        batch_norm: ``trained`` is the text's; ``frozen`` is the released code's, which learns only
            a scale and an offset.
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
