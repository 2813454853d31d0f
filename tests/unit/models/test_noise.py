"""Four kinds of noise, each with any divergence: what they are, and which models they are."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.runs import changed, silent
from torch.distributions import MultivariateNormal, kl_divergence

from hebae.codes.encode import write_posterior
from hebae.codes.posterior import Posterior
from hebae.codes.trained import Trained
from hebae.config.registry import OBJECTIVES
from hebae.data import digits
from hebae.models.autoencoder import Autoencoder
from hebae.models.latent import normal_stream
from hebae.training.loop import Single, train_epoch
from hebae.training.stack import Stack

NOISES = ("no_noise", "free_noise", "batch_noise", "fixed_noise")
TWINS = {
    "VAE": ({"objective": "vae"}, "free_noise", "posterior_kl"),
    "HEBAE": ({}, "batch_noise", "moments"),
    "WAE-MMD": ({"objective": "wae_mmd"}, "no_noise", "mmd"),
    "InfoVAE": (
        {"objective": "infovae", "parameters": {"divergence": {"name": "mmd"}}},
        "free_noise",
        "mmd",
    ),
}


def of(noise: str, divergence: str, **fields):
    own = fields.pop("parameters", {})
    return changed(objective=noise, parameters={"divergence": {"name": divergence}} | own, **fields)


def grid() -> list[tuple[str, str]]:
    """All pairs of them: HEBAE's, the WAE's and the VAE's divergences."""
    return [
        (noise, divergence) for noise in NOISES for divergence in OBJECTIVES[noise].divergences[:3]
    ]


@pytest.fixture(scope="module")
def few() -> torch.Tensor:
    return torch.from_numpy(digits.load(Path()).train_images)[: 3 * 128]


def after_an_epoch(run, images) -> dict[str, torch.Tensor]:
    single = Single(run, images.shape[1:], images.device)
    train_epoch(single, images, 0, silent())
    return single.model.state_dict()


def outputs(model: Autoencoder, n: int = 40):
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (n, 8, 8, 1), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        return model.encode(model.reconstruction.inputs(images))


@pytest.mark.parametrize(("existing", "noise", "divergence"), TWINS.values(), ids=TWINS)
def test_an_existing_model_is_its_twin_bit_for_bit(existing, noise, divergence, few):
    """The weights after an epoch, and the scores of a split."""
    run, twin = changed(**existing), of(noise, divergence)
    ours, theirs = after_an_epoch(twin, few), after_an_epoch(run, few)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    scores = [
        Autoencoder(each, (8, 8, 1)).evaluate(few, normal_stream(1, few.device))[0]
        for each in (run, twin)
    ]
    assert scores[0] == scores[1]
    if existing.get("objective") != "infovae":  # whose bound depends on α
        assert run.bound == twin.bound


def test_the_diagonal_variant_is_its_twin_too(few):
    own = {"reparameterisation": "diagonal"}
    theirs = after_an_epoch(changed(parameters=own), few)
    ours = after_an_epoch(of("batch_noise", "moments", parameters=own), few)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("noise", "divergence"), grid())
def test_each_divergence_is_that_of_the_gaussians_it_sees(noise, divergence):
    """moments: of μ. posterior_kl: of each q(z|x), with the σ and the L that z is drawn with."""
    model = Autoencoder(of(noise, divergence), (8, 8, 1))
    mean, log_sigma = outputs(model)
    latent = model.latent(mean, log_sigma, normal_stream(3, mean.device))
    mean = mean.double()
    centre = mean.mean(0)
    covariance = (mean - centre).T @ (mean - centre) / len(mean)
    prior = MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double())
    if divergence == "moments":
        expected = kl_divergence(MultivariateNormal(centre, covariance), prior)
    elif divergence == "posterior_kl":
        factor = torch.linalg.cholesky(covariance) if noise == "batch_noise" else torch.eye(4)
        scale = log_sigma.double().exp()[:, :, None] * factor.double()
        expected = kl_divergence(MultivariateNormal(mean, scale_tril=scale), prior).mean()
    elif divergence == "squared_norm":
        expected = mean.square().sum(1).mean() / 2
    else:
        assert divergence == "mmd"
        return  # test_divergences.py; which codes it sees is below
    assert latent.regulariser.item() == pytest.approx(expected.item(), rel=1e-3)


def test_the_squared_norm_is_the_kl_but_for_a_constant_of_sigma():
    """KL(N(μ, s²I) ‖ N(0, I)) − ½‖μ‖² is the same for all μ, and grows without limit as s → 0."""
    gaps = []
    for sigma in (1e-2, 1e-6):
        model = Autoencoder(
            of("fixed_noise", "posterior_kl", parameters={"sigma": sigma}), (8, 8, 1)
        )
        mean, log_sigma = outputs(model)
        for shift in (0.0, 1.0):
            moved = mean + shift
            kl = model.latent(moved, log_sigma, normal_stream(3, mean.device)).regulariser
            gaps.append((kl - moved.square().sum(1).mean() / 2).item())
            assert gaps[-1] == pytest.approx(2 * sigma**2 - 2 - 4 * math.log(sigma), rel=1e-4)
    assert gaps[2] > gaps[0] + 30


def test_moments_do_not_see_the_noise_and_mmd_does():
    for divergence, sees in (("moments", False), ("mmd", True)):
        model = Autoencoder(of("free_noise", divergence), (8, 8, 1))
        mean, log_sigma = outputs(model)
        log_sigma.requires_grad_()
        latent = model.latent(mean, log_sigma, normal_stream(3, mean.device))
        assert latent.regulariser.requires_grad == sees


@pytest.mark.parametrize("sigma", [None, 0.25])
def test_a_fixed_sigma_is_the_one_everything_sees(sigma):
    parameters = {} if sigma is None else {"sigma": sigma}
    model = Autoencoder(of("fixed_noise", "moments", parameters=parameters), (8, 8, 1))
    mean, log_sigma = outputs(model)
    torch.testing.assert_close(log_sigma.exp(), torch.full((40, 4), sigma or 0.1))
    z = model.latent(mean, log_sigma, normal_stream(3, mean.device)).z
    noise = normal_stream(3, mean.device)(mean)
    torch.testing.assert_close(z, mean + (sigma or 0.1) * noise)
    # the encoder has no output for it
    free = Autoencoder(of("free_noise", "moments"), (8, 8, 1))
    sizes = [sum(p.numel() for p in own.encoder.parameters()) for own in (model, free)]
    assert sizes[1] - sizes[0] == (32 + 1) * 4


def test_the_posterior_of_a_fixed_sigma_has_it(few, tmp_path):
    run = of("fixed_noise", "moments", parameters={"sigma": 0.25})
    model = Autoencoder(run, (8, 8, 1)).eval()
    trained = Trained(run, model, few.device, few.numpy(), np.zeros((len(few), 1)))
    write_posterior(tmp_path / "posterior.npz", trained, trained.images, "test")
    posterior = Posterior.load(tmp_path / "posterior.npz")
    np.testing.assert_allclose(posterior.sigma, 0.25, rtol=1e-6)
    assert np.array_equal(posterior.mixing, np.eye(4)) and not posterior.deterministic


@pytest.mark.parametrize("objective", ["vae", "hebae", "free_noise"])
def test_an_encoder_of_log_variance_has_half_its_output_as_log_sigma(objective):
    plain = {} if objective != "free_noise" else {"divergence": {"name": "moments"}}
    models = [
        Autoencoder(changed(objective=objective, parameters=plain | own), (8, 8, 1))
        for own in ({}, {"log_variance": True}, {"log_variance": False})
    ]
    (_, log_sigma), (_, halved), (_, same) = map(outputs, models)
    assert torch.equal(halved, log_sigma / 2) and torch.equal(same, log_sigma)


@pytest.mark.parametrize(("noise", "divergence"), grid())
def test_each_packs(noise, divergence, few):
    """Packed, every weight is after an epoch where it is after a separate one."""
    runs = [of(noise, divergence, lam=lam, seed=seed) for lam, seed in ((1.0, 0), (0.5, 1))]
    stack = Stack(runs, few.shape[1:], few.device)
    train_epoch(stack, few, 0, silent())
    for run, model in zip(runs, stack.models, strict=True):
        for name, tensor in after_an_epoch(run, few).items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_what_compares_with_the_papers_bound():
    """Where R is a KL in nats; not the MMD, nor what is left of an infinite KL."""
    bounds = {pair: of(*pair).bound for pair in grid()}
    assert {divergence for (_, divergence), bound in bounds.items() if bound} == {
        "moments",
        "posterior_kl",
    }
    assert not any(
        bound for (_, divergence), bound in bounds.items() if divergence in ("mmd", "squared_norm")
    )
    assert not replace(of("free_noise", "moments"), reconstruction="squared_error").bound


def test_which_need_more_images_than_dimensions():
    needs = {pair for pair in grid() if of(*pair).needs_covariance}
    assert needs == {pair for pair in grid() if pair[0] == "batch_noise" or pair[1] == "moments"}
