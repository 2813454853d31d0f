"""Reconstruction terms: what they compute, and what the loss makes of them."""

import numpy as np
import pytest
import torch
from tests.runs import changed, silent

from hebae.base.seeds import derive_seed
from hebae.codes.trained import Trained
from hebae.models.autoencoder import Autoencoder
from hebae.models.latent import normal_stream
from hebae.models.reconstruction import bernoulli, binary, gaussian, squared_error
from hebae.training.loop import Single, train_epoch
from hebae.training.optimiser import Adam

FACE = (64, 64, 3)
RELEASED_WAE = {"reduction": "sum", "factor": 0.05}


def faces(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, *FACE), generator=torch.Generator().manual_seed(0)).byte()


def test_colours_go_in_and_come_out():
    term = squared_error((16, 16, 1))
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    inputs = term.inputs(pixels)
    assert inputs.min() == -1 and inputs.max() == 1
    # short of ±1, which tanh never reaches
    output = torch.atanh(inputs.double().clamp(-1 + 1e-9, 1 - 1e-9)).float()
    assert torch.equal(term.pixels(output), pixels)


def test_pixels_are_clipped_and_rounded_and_never_wrap():
    """The released code casts what lies outside, and white turns black."""
    term = squared_error((1, 5, 1))
    output = torch.tensor([-100.0, 100.0, 0.0, -0.01, 0.01]).reshape(1, 1, 5, 1)
    # 127.5 is rounded to even; (1 ± tanh .01) · 127.5 = 126.2 and 128.8
    assert term.pixels(output).flatten().tolist() == [0, 255, 128, 126, 129]


@pytest.mark.parametrize("parameters", [{}, RELEASED_WAE, {"factor": 3.0}])
def test_the_error_is_the_mean_square_whatever_the_scale(parameters):
    term = squared_error(FACE, **parameters)
    output = torch.randn(3, *FACE, generator=torch.Generator().manual_seed(1))
    inputs = term.inputs(faces())
    expected = ((np.tanh(output.double().numpy()) - inputs.double().numpy()) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(term.error(output, inputs), expected, rtol=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"variance": 0.001}, {"variance": 2.0}])
def test_gaussian_pixels_are_torchs(parameters):
    term = gaussian((8, 8, 1), **parameters)
    images = faces()[:, :8, :8, :1]
    output = torch.randn(3, 8, 8, 1, generator=torch.Generator().manual_seed(1)).double()
    inputs = term.inputs(images).double()
    assert inputs.min() >= 0 and inputs.max() <= 1
    deviation = parameters.get("variance", 0.01) ** 0.5
    pixels = torch.distributions.Normal(output.sigmoid(), deviation)
    torch.testing.assert_close(term.error(output, inputs), -pixels.log_prob(inputs).sum((1, 2, 3)))
    assert term.scale == 1


def test_binary_images_are_black_and_white_at_the_middle():
    term = binary((16, 16, 1))
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(term.inputs(pixels).flatten(), (torch.arange(256) >= 128).float())
    output = torch.randn(1, 16, 16, 1, generator=torch.Generator().manual_seed(1))
    chances = torch.distributions.Bernoulli(logits=output)
    expected = -chances.log_prob(term.inputs(pixels)).sum((1, 2, 3))
    torch.testing.assert_close(term.error(output, term.inputs(pixels)), expected)
    assert torch.equal(term.pixels(output), output.sigmoid().mul(255).round().byte())


def test_scales_are_those_of_the_released_code():
    """FID against a common λ: 100 of the WAE's .05 · sum is .163 of the others' mean."""
    assert squared_error(FACE).scale == 1
    assert squared_error(FACE, reduction="mean", factor=2.5).scale == 2.5
    assert squared_error(FACE, **RELEASED_WAE).scale == pytest.approx(0.05 * 64 * 64 * 3)
    assert 100 / squared_error(FACE, **RELEASED_WAE).scale == pytest.approx(0.163, abs=5e-4)
    assert bernoulli((28, 28, 1)).scale == 1


def test_the_loss_is_a_gaussian_likelihood_of_the_variance_the_scale_implies():
    """loss / λ = −log p(x|z) + R up to a constant, at variance P λ / (2 · scale)."""
    weight = 0.001
    inputs = squared_error(FACE).inputs(faces()).double()
    output = torch.randn(3, *FACE, generator=torch.Generator().manual_seed(1)).double()
    for parameters in ({}, RELEASED_WAE):
        term = squared_error(FACE, **parameters)
        variance = 64 * 64 * 3 * weight / (2 * term.scale)
        gaussian = torch.distributions.Normal(output.tanh(), variance**0.5)
        nats = -gaussian.log_prob(inputs).flatten(1).sum(1)
        ours = term.scale * term.error(output, inputs) / weight
        differences = (nats - nats[0]) - (ours - ours[0])
        assert differences.abs().max() < 1e-6 * ours.abs().max()


def convolutional_run(**fields):
    return changed(
        network="convolutional",
        network_parameters={"width": 1 / 64},
        reconstruction="squared_error",
        batch_size=8,
        **fields,
    )


@pytest.mark.parametrize("factor", [1.0, 20.0])
def test_training_weighs_the_error_by_the_scale(factor, monkeypatch):
    """The gradient that a step sees is that of scale · error + λ · R, written out."""
    run = convolutional_run(objective="vae", lam=0.5, reconstruction_parameters={"factor": factor})
    images = faces(8)
    seen = []
    monkeypatch.setattr(
        Adam,
        "minimise",
        lambda self, loss, _: seen.append(torch.autograd.grad(loss, self.parameters)),
    )
    single = Single(run, FACE, torch.device("cpu"))
    (terms,) = train_epoch(single, images, 0, silent())

    twin = Autoencoder(run, FACE).train()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(
        derive_seed(run.seed, "shuffle", 0)))  # fmt: skip
    x = images[order].float() / 127.5 - 1
    mean, log_sigma = twin.encoder(x)
    noise = normal_stream(derive_seed(run.seed, "noise", 0), torch.device("cpu"))(mean)
    error = (twin.decoder(mean + log_sigma.exp() * noise).tanh() - x).square().mean()
    kl = 0.5 * (mean**2 + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(1).mean()
    (factor * error + 0.5 * kl).backward()
    for ours, parameter in zip(seen[0], twin.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-3, atol=1e-7)
    assert terms.reconstruction == pytest.approx(error.item(), rel=1e-5)
    assert terms.bounds(run.bound, likelihood=False) == {
        "reconstruction": terms.reconstruction,
        "regulariser": pytest.approx(kl.item(), rel=1e-4),
        "elbo_paper": None,
        "elbo": None,
        "elbo_widened": None,
        "noise_deviation": terms.noise_deviation,
    }


def test_the_common_weight_undoes_the_scale():
    run = convolutional_run(lam=100.0, reconstruction_parameters=RELEASED_WAE)
    trained = Trained(run, Autoencoder(run, FACE), torch.device("cpu"), None, None)
    assert trained.common_weight == pytest.approx(100 / 614.4)


def test_chunks_bound_the_pixels_at_once():
    shapes = ((8, 8, 1), (28, 28, 1), FACE, (2000, 2000, 3))
    widths = {"encoder_widths": [1], "decoder_widths": [1]}
    small = changed(network_parameters=widths)
    assert [Autoencoder(small, shape).chunk for shape in shapes] == [1000, 1000, 65, 1]
    pixelcnn = changed(network="pixelcnn", network_parameters=widths)
    assert [Autoencoder(pixelcnn, shape).chunk for shape in shapes[:2]] == [1000, 127]
