"""Networks: App. B's layers, counted and compared with TensorFlow's convention written out."""

import numpy as np
import pytest
import torch
from tests.runs import changed
from torch import nn

from hebae.models.autoencoder import Autoencoder
from hebae.models.networks import convolutional


def build(shape=(32, 16, 3), latent_dim=5, stochastic=True, seed=0, **parameters):
    generator = torch.Generator().manual_seed(seed)
    return convolutional.build(shape, latent_dim, stochastic, generator, **parameters)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def same_convolution(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """TensorFlow's conv2d, padding SAME, stride 2, as its documentation states it.

    images (n, h, w, c), kernel (k, k, c, filters). The total padding is
    max((⌈h/2⌉ − 1)·2 + k − h, 0), the smaller half of it before.
    """
    n, height, width, _ = images.shape
    k = kernel.shape[0]
    out = [-(-side // 2) for side in (height, width)]
    before = [max((o - 1) * 2 + k - s, 0) // 2 for o, s in zip(out, (height, width), strict=True)]
    result = np.zeros((n, *out, kernel.shape[3]))
    for i, j in np.ndindex(*out):
        for a, b in np.ndindex(k, k):
            y, x = 2 * i + a - before[0], 2 * j + b - before[1]
            if 0 <= y < height and 0 <= x < width:
                result[:, i, j] += images[:, y, x] @ kernel[a, b]
    return result


def same_transpose(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The transpose of :func:`same_convolution`, from its definition: ⟨Tx, y⟩ = ⟨x, Cy⟩.

    images (n, h, w, filters), kernel (k, k, c, filters); result (n, 2h, 2w, c).
    """
    n, height, width, _ = images.shape
    result = np.zeros((n, 2 * height, 2 * width, kernel.shape[2]))
    for i, j in np.ndindex(height, width):
        for a, b in np.ndindex(*kernel.shape[:2]):
            y, x = 2 * i + a - 1, 2 * j + b - 1  # k = 5 and even sides: one pixel before
            if 0 <= y < 2 * height and 0 <= x < 2 * width:
                result[:, y, x] += images[:, i, j] @ kernel[a, b].T
    return result


def test_the_transpose_is_the_transpose():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 4, 6, 3)), rng.normal(size=(1, 8, 12, 2))
    kernel = rng.normal(size=(5, 5, 2, 3))
    left = (same_transpose(x, kernel) * y).sum()
    assert left == pytest.approx((x * same_convolution(y, kernel)).sum())


def tensorflow_kernel(weight: torch.Tensor) -> np.ndarray:
    """A kernel as TensorFlow has it, (k, k, c, filters), from ours, which sees mirrored images."""
    return weight.detach().double().numpy().transpose(2, 3, 1, 0)[::-1, ::-1]


def relu(x):
    return np.maximum(x, 0)


def affine(layer: nn.BatchNorm2d, x: np.ndarray) -> np.ndarray:
    """Inference-mode batch normalisation of channels that stand last."""
    mean, variance, weight, bias = (
        getattr(layer, name).detach().double().numpy()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-3) * weight + bias


def disturb(module: nn.Module) -> None:
    """Statistics, scales and offsets that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.running_var, layer.weight):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
                for tensor in (layer.running_mean, layer.bias):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def test_the_encoder_is_tensorflows_with_mirrored_kernels():
    encoder, _ = build(width=1 / 64)
    disturb(encoder)
    encoder.double().eval()
    images = torch.rand(2, 32, 16, 3, dtype=torch.float64)
    features = images.numpy()
    for conv, norm in zip(encoder.layers[::3], encoder.layers[1::3], strict=True):
        features = relu(affine(norm, same_convolution(features, tensorflow_kernel(conv.weight))))
    assert features.shape == (2, 2, 1, 16)
    # the dense layer reads the mirrored features, channel by channel
    flat = features[:, ::-1, ::-1].transpose(0, 3, 1, 2).reshape(2, -1)
    weight, bias = (p.detach().numpy() for p in encoder.last.parameters())
    with torch.no_grad():
        mean, log_sigma = encoder(images)
    np.testing.assert_allclose(torch.cat([mean, log_sigma], 1), flat @ weight.T + bias, atol=1e-12)


def test_the_decoder_is_tensorflows_with_mirrored_kernels():
    _, decoder = build(width=1 / 64)
    disturb(decoder)
    decoder.double().eval()
    codes = torch.randn(2, 5, dtype=torch.float64)
    with torch.no_grad():
        output = decoder(codes)
        first = decoder.first(codes).numpy()
    assert output.shape == (2, 32, 16, 3)
    features = first.reshape(2, 16, 4, 2).transpose(0, 2, 3, 1)[:, ::-1, ::-1]
    layers = list(decoder.layers)
    features = relu(affine(layers[0], features))
    for conv, norm in zip(layers[2:-1:3], layers[3:-1:3], strict=True):
        # a transposed convolution's weight is (inputs, outputs, k, k): outputs are C's inputs
        kernel = tensorflow_kernel(conv.weight)
        features = relu(affine(norm, same_transpose(features, kernel)))
    kernel = layers[-1].weight.detach().numpy()
    expected = np.zeros((2, 32, 16, 3))
    padded = np.pad(features, [(0, 0), (2, 2), (2, 2), (0, 0)])
    for a, b in np.ndindex(5, 5):
        # stride 1 is symmetric; C's transpose reads the kernel mirrored, as do mirrored images
        expected += padded[:, a : a + 32, b : b + 16] @ kernel[:, :, a, b]
    np.testing.assert_allclose(output, expected, atol=1e-12)


def test_the_papers_networks_have_the_papers_size():
    """19.3 M and 21.5 M parameters, layer by layer (App. B.2)."""
    encoder, decoder = build((64, 64, 3), 64)
    filters = (128, 256, 512, 1024)
    norms = 2 * sum(filters)
    stack = 25 * (128 * 256 + 256 * 512 + 512 * 1024)
    assert count(encoder) == 25 * 3 * 128 + stack + norms + 1024 * 4 * 4 * 128 + 128 == 19_313_920
    dense = 64 * 8 * 8 * 1024 + 8 * 8 * 1024
    assert count(decoder) == dense + norms + stack + 25 * 128 * 3 == 21_476_480
    deterministic, _ = build((64, 64, 3), 64, stochastic=False)
    assert count(encoder) - count(deterministic) == 1024 * 4 * 4 * 64 + 64
    assert [layer.out_channels for layer in encoder.layers[::3]] == list(filters)


@pytest.mark.parametrize("width", [0.125, 0.25, 2, 0.001])
def test_width_multiplies_the_filters(width):
    encoder, decoder = build(width=width)
    filters = [max(1, round(n * width)) for n in (128, 256, 512, 1024)]
    assert [layer.out_channels for layer in encoder.layers[::3]] == filters
    assert decoder.first.out_features == filters[-1] * 4 * 2


def test_initial_weights_are_normal_with_deviation_02_and_no_offset():
    for module in build((64, 64, 3), 64, width=0.25):
        for name, parameter in module.state_dict().items():
            if parameter.ndim > 1:
                assert float(parameter.std()) == pytest.approx(0.02, rel=0.05), name
                assert abs(float(parameter.mean())) < 1e-3, name
            else:
                ones = name.endswith(("weight", "running_var"))
                assert (parameter == (1 if ones else 0)).all(), name


def test_weights_come_from_the_seed_alone():
    first, same, other = (build(seed=seed)[1].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["first.weight"], other["first.weight"])


def test_trained_normalisation_uses_the_batch_and_frozen_never_does():
    codes = torch.randn(8, 5)
    for batch_norm, normalised in (("trained", True), ("frozen", False)):
        _, decoder = build(width=1 / 16, batch_norm=batch_norm)
        before = {key: value.clone() for key, value in decoder.state_dict().items()}
        decoder.train()
        norm = decoder.layers[0]
        seen = []
        norm.register_forward_hook(lambda _, x, y, seen=seen: seen.append((x[0], y)))
        decoder(codes).sum().backward()
        inputs, outputs = seen[0]
        if normalised:
            flat = outputs.transpose(0, 1).flatten(1)
            torch.testing.assert_close(flat.mean(1), torch.zeros(64), atol=1e-5, rtol=0)
        else:
            torch.testing.assert_close(outputs, inputs / (1 + 1e-3) ** 0.5)
            after = decoder.state_dict()
            assert all(torch.equal(before[key], after[key]) for key in before)
        assert norm.weight.grad is not None  # the scale is learned either way
        decoder.eval()
        assert not norm.training


def test_activations_keep_channels_last():
    """Any other order would silently double the time of a step."""
    encoder, decoder = build(width=1 / 16)
    formats = []

    def hook(module, inputs, output):
        dense = {"memory_format": torch.channels_last}
        formats.append(inputs[0].is_contiguous(**dense) and output.is_contiguous(**dense))

    gradients = []

    def backward_hook(module, _, grad_output):
        gradients.append(grad_output[0].is_contiguous(memory_format=torch.channels_last))

    for module in (*encoder.layers, *decoder.layers):
        module.register_forward_hook(hook)
        if isinstance(module, nn.BatchNorm2d):
            module.register_full_backward_pre_hook(lambda m, g: backward_hook(m, None, g))
    mean, _ = encoder(torch.rand(4, 32, 16, 3))
    decoder(mean).square().sum().backward()
    assert len(formats) == 12 + 12 and all(formats)
    assert len(gradients) == 4 + 4 and all(gradients)


def every_bfloat16() -> torch.Tensor:
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)


def test_relu_on_the_bits_is_relu():
    """For every number. NaNs stay, so that a diverged run is recognised."""
    x = every_bfloat16()
    rectified = convolutional._rectify(x.clone())
    torch.testing.assert_close(rectified, x.relu(), rtol=0, atol=0, equal_nan=True)


def test_the_gradient_on_the_bits_is_relus():
    outputs = every_bfloat16().relu()
    outputs = outputs[~outputs.isnan()]
    grad = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = torch.where(outputs > 0, grad, torch.zeros(()).bfloat16())
    assert torch.equal(convolutional._rectified_gradient(grad, outputs), expected)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [False, True])
def test_a_fused_layer_is_its_three_layers(transposed, rows, monkeypatch):
    """In value and in every gradient, whichever way the weights' is computed."""
    options = dict(stride=2, padding=2, bias=False, dtype=torch.float64)
    if transposed:
        conv = nn.ConvTranspose2d(6, 4, 5, output_padding=1, **options)
    else:
        conv = nn.Conv2d(6, 4, 5, **options)
    norm, relu = convolutional.FrozenBatchNorm2d(4, 1e-3).double(), nn.ReLU()
    disturb(norm)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(3, 8, 12, 6, dtype=torch.float64, generator=generator)
    images = images.permute(0, 3, 1, 2).requires_grad_()
    monkeypatch.setattr(convolutional, "_few_positions", lambda small: rows)
    tensors = [images, conv.weight, norm.weight, norm.bias]
    seen = []
    for output in (relu(norm(conv(images))), convolutional._layer(conv, norm, relu, images)):
        weights = torch.randn(output.shape, generator=generator.manual_seed(3), dtype=output.dtype)
        seen.append([output, *torch.autograd.grad((output * weights).sum(), tensors)])
    for plain, fused in zip(*seen, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rows", [False, True])
def test_bfloat16_gradients_are_those_of_float32_but_for_rounding(rows, monkeypatch):
    monkeypatch.setattr(convolutional, "_few_positions", lambda small: rows)
    networks = nn.ModuleList(build((32, 32, 3), width=1 / 8, batch_norm="frozen"))
    with torch.no_grad():
        for parameter in networks.parameters():
            if parameter.ndim > 1:
                parameter *= 5  # for gradients that are more than rounding
    images = torch.rand(16, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    seen = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            mean, _ = networks[0](images)
            output = networks[1](mean.float())
        loss = (output.float().tanh() - images).square().mean()
        seen.append(torch.autograd.grad(loss, list(networks.parameters())))
    for exact, rounded in zip(*seen, strict=True):
        assert rounded.dtype == torch.float32
        assert float((rounded - exact).norm() / exact.norm()) < 0.05


def test_a_run_builds_them():
    run = changed(network="convolutional", network_parameters={"width": 1 / 32})
    model = Autoencoder(run, (64, 64, 3))
    mean, log_sigma = model.encoder(torch.rand(3, 64, 64, 3))
    assert mean.shape == log_sigma.shape == (3, 4)
    assert model.decoder(mean).shape == (3, 64, 64, 3)
