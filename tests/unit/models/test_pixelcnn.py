"""The autoregressive decoder: an exact distribution, in raster order, sampled as it is scored."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hebae.models.networks import dense, pixelcnn

LATENT = 3


def build(shape=(5, 4, 1), stochastic=True, seed=0, **parameters):
    parameters = {"channels": 12, "layers": 2, "kernel": 3} | parameters
    widths = {"encoder_widths": [7, 6], "decoder_widths": [8, 9]}
    generator = torch.Generator().manual_seed(seed)
    return pixelcnn.build(shape, LATENT, stochastic, generator, **widths, **parameters)


def disturbed(shape, seed=0, **parameters) -> nn.Module:
    """A decoder in float64 far from a fresh one: larger weights, and biases that are not zero.

    Its logits vary with deviation 1.5 about 0, so that neither pixel value is rare.
    """
    _, decoder = build(shape, seed=seed, **parameters)
    decoder.double()
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in decoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.mul_(2).add_(0.3 * noise)
        logits = decoder(codes_of(64, 7), draw(64, *shape, seed=7).round())
        last = decoder.head[-1]
        last.bias.sub_(logits.mean())
        for parameter in (last.weight, last.bias):
            parameter.mul_(1.5 / logits.std())
    return decoder


def draw(*shape, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def codes_of(n: int, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, LATENT, generator=generator, dtype=torch.float64)


def every_image(height: int, width: int) -> torch.Tensor:
    """All binary images, (2^(height · width), height, width, 1)."""
    pixels = list(itertools.product((0.0, 1.0), repeat=height * width))
    return torch.tensor(pixels, dtype=torch.float64).reshape(-1, height, width, 1)


@torch.no_grad()
def probabilities(decoder: nn.Module, code: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """p(x|z) of each image, for one code (1, d)."""
    logits = decoder(code.expand(len(images), -1), images)
    loss = binary_cross_entropy_with_logits(logits, images, reduction="none")
    return loss.flatten(1).sum(1).neg().exp()


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_probabilities_of_all_images_sum_to_one(kernel):
    images = every_image(3, 3)
    assert len(images) == 512
    for seed in range(3):
        decoder = disturbed((3, 3, 1), seed=seed, kernel=kernel)
        first, second = (probabilities(decoder, code[None], images) for code in codes_of(2, seed))
        for p in (first, second):
            assert float(p.sum()) == pytest.approx(1, abs=1e-9)
            assert p.max() > 8 * p.mean()  # far from uniform
        assert (first - second).abs().sum() > 0.1  # and another for another code


def sees(pixel: tuple[int, int], other: tuple[int, int], reach: int) -> bool:
    """Whether a pixel's logit depends on another pixel, by the module's description."""
    (row, column), (other_row, other_column) = pixel, other
    if other_row == row:
        return column - reach - 1 <= other_column < column
    return row - reach - 1 <= other_row < row and abs(column - other_column) <= reach


@pytest.mark.parametrize(
    ("shape", "layers", "kernel", "everything"),
    [
        ((5, 5), 4, 3, True),
        ((5, 5), 2, 5, True),
        ((4, 6), 5, 3, True),
        ((7, 9), 2, 3, False),
        ((7, 9), 1, 5, False),
        ((9, 7), 1, 3, False),
    ],
)
def test_a_logit_depends_on_the_earlier_pixels_in_reach_and_on_no_other(
    shape, layers, kernel, everything
):
    height, width = shape
    decoder = disturbed((*shape, 1), layers=layers, kernel=kernel)
    images = draw(1, *shape, 1).round()
    code = codes_of(1)
    jacobian = torch.autograd.functional.jacobian(lambda x: decoder(code, x), images)
    jacobian = jacobian.reshape(height * width, height * width)
    places = list(np.ndindex(height, width))
    expected = torch.tensor([[sees(i, j, layers * (kernel // 2)) for j in places] for i in places])
    earlier = torch.ones(len(places), len(places)).tril(-1).bool()
    assert (jacobian[~earlier] == 0).all()  # exactly
    assert torch.equal(jacobian != 0, expected)
    assert torch.equal(expected, earlier) is everything


def test_every_logit_depends_on_the_code():
    decoder = disturbed((6, 5, 1))
    images = torch.zeros(1, 6, 5, 1, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: decoder(z, images), codes_of(1))
    assert (jacobian != 0).all()


def test_the_code_says_something_else_of_each_place():
    """Without the maps' places, pixels away from the edges of an empty image are all alike."""
    decoder = disturbed((9, 9, 1), layers=1)
    images = torch.zeros(1, 9, 9, 1, dtype=torch.float64)
    with torch.no_grad():
        inside = decoder(codes_of(1), images)[0, 3:-1, 3:-1].flatten()
        assert len(inside.unique()) == len(inside)
        for layer in decoder.layers:
            layer.vertical_maps.weight.zero_()
            layer.horizontal_maps.weight.zero_()
        inside = decoder(codes_of(1), images)[0, 3:-1, 3:-1].flatten()
    torch.testing.assert_close(inside, inside[:1].expand(25), rtol=0, atol=1e-12)


def written_out(decoder: nn.Module, maps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The logits (height, width) of one image, from Fig. 2 of the PixelCNN paper, in loops.

    maps (m, height, width), image (height, width). Nothing is moved or padded here: what a
    place reads outside is zero, and the first layer reads one row higher, one pixel further left.
    """
    height, width = image.shape

    def at(features, row, column):
        inside = 0 <= row < height and 0 <= column < width
        return features[:, row, column] if inside else np.zeros(len(features))

    def weight(conv):
        return conv.weight.detach().numpy()

    def pointwise(conv, values):
        bias = 0 if conv.bias is None else conv.bias.detach().numpy()
        return weight(conv)[:, :, 0, 0] @ values + bias

    def gate(values):
        half = len(values) // 2
        return np.tanh(values[:half]) / (1 + np.exp(-values[half:]))

    vertical = horizontal = image[None]
    for number, layer in enumerate(decoder.layers):
        before = 1 if number == 0 else 0
        rows, columns = weight(layer.vertical).shape[2:]
        new_vertical, new_horizontal = [], []
        for r, c in np.ndindex(height, width):
            upper = layer.vertical.bias.detach().numpy().copy()
            for a, b in np.ndindex(rows, columns):
                upper += weight(layer.vertical)[:, :, a, b] @ at(
                    vertical, r - before - (rows - 1 - a), c + b - columns // 2
                )
            upper += pointwise(layer.vertical_maps, maps[:, r, c])
            lower = layer.horizontal.bias.detach().numpy().copy()
            for b in range(rows):
                lower += weight(layer.horizontal)[:, :, 0, b] @ at(
                    horizontal, r, c - before - (rows - 1 - b)
                )
            lower += pointwise(layer.link, upper)
            lower += pointwise(layer.horizontal_maps, maps[:, r, c])
            result = pointwise(layer.last, gate(lower))
            new_vertical.append(gate(upper))
            new_horizontal.append(result if number == 0 else result + horizontal[:, r, c])
        vertical, horizontal = (
            np.transpose(new).reshape(-1, height, width) for new in (new_vertical, new_horizontal)
        )
    logits = np.zeros((height, width))
    for r, c in np.ndindex(height, width):
        hidden = pointwise(decoder.head[1], np.maximum(horizontal[:, r, c], 0))
        logits[r, c] = pointwise(decoder.head[3], np.maximum(hidden, 0))[0]
    return logits


@pytest.mark.parametrize(("layers", "kernel"), [(3, 3), (2, 5)])
def test_the_layers_are_the_papers(layers, kernel):
    decoder = disturbed((5, 6, 1), layers=layers, kernel=kernel)
    images = draw(2, 5, 6, 1).round()
    codes = codes_of(2)
    with torch.no_grad():
        maps = decoder.maps(codes)
        logits = decoder(codes, images)
    assert maps.shape == (2, 5, 6, 4) and logits.shape == (2, 5, 6, 1)
    for number in range(2):
        expected = written_out(
            decoder, maps[number].numpy().transpose(2, 0, 1), images[number, :, :, 0].numpy()
        )
        np.testing.assert_allclose(logits[number, :, :, 0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "layers", "kernel"),
    [((12, 7), 2, 3), ((7, 12), 1, 5), ((3, 2), 3, 5), ((4, 4), 2, 1)],
)
def test_a_sample_is_what_forward_makes_of_its_uniform_numbers(shape, layers, kernel):
    """Each pixel follows from those before it, so no other image can pass this."""
    decoder = disturbed((*shape, 1), layers=layers, kernel=kernel)
    codes, uniform = codes_of(6), draw(6, *shape, 1)
    sample = decoder.sample(codes, uniform)
    assert sample.shape == uniform.shape and sample.dtype == torch.float64
    assert ((sample == 0) | (sample == 1)).all()
    assert 0.1 < float(sample.mean()) < 0.9
    with torch.no_grad():
        probability = decoder(codes, sample).sigmoid()
    assert (uniform - probability).abs().min() > 1e-9  # no rounding decides
    assert torch.equal((uniform < probability).double(), sample)
    assert probability.std() > 0.1


def test_a_certain_pixel_is_certain():
    """uniform lies in [0, 1): a probability of 0 is never a 1, of 1 always."""
    _, decoder = build()
    uniform = torch.zeros(1, 5, 4, 1)
    for logit, pixel in ((-1e4, 0), (1e4, 1)):
        nn.init.constant_(decoder.head[-1].bias, logit)
        assert (decoder.sample(torch.zeros(1, LATENT), uniform) == pixel).all()
        uniform = torch.full_like(uniform, 1 - 2**-24)


def test_frequencies_of_samples_are_the_probabilities():
    decoder = disturbed((2, 2, 1), seed=4)
    n, images, code = 20_000, every_image(2, 2), codes_of(1)
    expected = n * probabilities(decoder, code, images)
    assert expected.min() > 20 and expected.max() > 2 * n / 16  # fit for χ², not uniform
    sample = decoder.sample(code.expand(n, -1), draw(n, 2, 2, 1, seed=5))
    places = (sample.flatten(1) @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long()
    counts = torch.bincount(places, minlength=16)
    chi_square = float(((counts - expected).square() / expected).sum())
    assert chi_square < 37.7  # 99.9 % point, 15 degrees of freedom


def test_report_is_called_after_each_row():
    _, decoder = build((6, 3, 1))
    calls = []
    with torch.inference_mode():
        codes, uniform = torch.zeros(2, LATENT), torch.rand(2, 6, 3, 1)
        sample = decoder.sample(codes, uniform, lambda: calls.append(None))
    assert len(calls) == 6
    assert sample.shape == (2, 6, 3, 1) and sample.dtype == torch.float32


def test_a_sample_keeps_no_graph_and_can_be_trained_on():
    _, decoder = build()
    graphs = []
    hook = decoder.head.register_forward_hook(lambda _, x, y: graphs.append(y.requires_grad))
    codes = torch.zeros(2, LATENT, requires_grad=True)
    sample = decoder.sample(codes, torch.rand(2, 5, 4, 1))
    assert len(graphs) == 20 and not any(graphs)
    assert not sample.is_inference()
    hook.remove()
    decoder(codes, sample).sum().backward()


def test_the_gradient_reaches_every_parameter():
    decoder = disturbed((5, 4, 1), layers=3)
    images = draw(4, 5, 4, 1).round()
    logits = decoder(codes_of(4), images)
    binary_cross_entropy_with_logits(logits, images).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_encoder_is_the_dense_one():
    for stochastic in (True, False):
        encoder, _ = build(stochastic=stochastic)
        generator = torch.Generator().manual_seed(0)
        widths = {"encoder_widths": [7, 6], "decoder_widths": [8, 9]}
        expected, _ = dense.build((5, 4, 1), LATENT, stochastic, generator, **widths)
        assert type(encoder) is dense.Encoder
        images = torch.rand(2, 5, 4, 1)
        for ours, theirs in zip(encoder(images), expected(images), strict=True):
            assert theirs is ours is None or torch.equal(ours, theirs)


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = build(seed=1)
    torch.manual_seed(2)
    same, other = build(seed=1), build(seed=2)
    for a, b, c in zip(first, same, other, strict=True):
        a, b, c = a.state_dict(), b.state_dict(), c.state_dict()
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert all(key.endswith("bias") or not torch.equal(a[key], c[key]) for key in a)


def test_initial_weights_are_glorot_uniform_without_offset():
    _, decoder = build((28, 28, 1), channels=32, kernel=5)
    for name, parameter in decoder.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 0).all(), name
            continue
        outputs, inputs, *size = parameter.shape
        bound = math.sqrt(6 / ((inputs + outputs) * math.prod(size)))
        assert 0.9 * bound < float(parameter.detach().abs().max()) <= bound, name


def test_initial_logits_are_near_zero():
    _, decoder = build((28, 28, 1), channels=32, layers=5, kernel=5)
    images = draw(4, 28, 28, 1).round().float()
    with torch.no_grad():
        logits = decoder(codes_of(4).float(), images)
    assert logits.abs().max() < 1
    assert logits.std() > 0


def test_bfloat16_is_float32_rounded():
    _, decoder = build((8, 6, 1))
    codes, images = codes_of(3).float(), draw(3, 8, 6, 1).round().float()
    expected = decoder(codes, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = decoder(codes, images)
        sample = decoder.sample(codes, draw(3, 8, 6, 1).float())
    assert logits.dtype == torch.bfloat16 and sample.dtype == torch.float32
    assert ((sample == 0) | (sample == 1)).all()
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.02)
    logits.float().sum().backward()


def test_bfloat16_rounds_no_probability():
    _, decoder = build((2, 3, 1))
    last = decoder.head[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 2)
    for distance, pixel in ((-1e-5, 1), (1e-5, 0)):
        uniform = torch.full((1, 2, 3, 1), 1 / (1 + math.exp(-2)) + distance)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (decoder.sample(torch.zeros(1, LATENT), uniform) == pixel).all()


def test_activations_keep_channels_last():
    """Any other order would silently cost time."""
    _, decoder = build((8, 6, 1))
    formats = []

    def hook(module, inputs, output):
        for tensor in (inputs[0], module.weight, output):
            formats.append(tensor.is_contiguous(memory_format=torch.channels_last))

    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook)
    decoder(codes_of(2).float(), draw(2, 8, 6, 1).round().float())
    assert len(formats) == 3 * (6 * 2 + 2) and all(formats)


@pytest.mark.parametrize(
    ("shape", "kernel", "match"),
    [((4, 4, 3), 3, "not of 3 channels"), ((4, 4, 1), 4, "odd, not 4")],
)
def test_what_the_decoder_cannot_be(shape, kernel, match):
    with pytest.raises(ValueError, match=match):
        build(shape, kernel=kernel)
