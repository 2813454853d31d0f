"""Importance-weighted bounds: against exact likelihoods, brute force and the per-sample bound."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.runs import changed
from torch.distributions import MultivariateNormal, Normal

from hebae.base import files
from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.codes.trained import Trained
from hebae.config.fields import to_json
from hebae.config.protocols import Bounds
from hebae.config.run import Run
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.measures import bounds
from hebae.measures.bounds import importance_bounds, log_weights, weights_of_images
from hebae.measures.identities import gaussian_kl
from hebae.models.autoencoder import Autoencoder
from hebae.models.divergences.gaussian import posterior_kl, widened_factors
from hebae.models.reconstruction import Reconstruction

ROOT = Path(__file__).parents[3]
HEBAE = changed(latent_dim=3, epochs=12)
VAE = dataclasses.replace(HEBAE, objective="vae", model="VAE")
INFOVAE = dataclasses.replace(
    HEBAE, objective="infovae", model="InfoVAE", parameters={"divergence": {"name": "mmd"}}
)
WAE = dataclasses.replace(HEBAE, objective="wae_mmd", model="WAE", lam=10.0)
PIXELCNN = dataclasses.replace(
    VAE,
    model="AR",
    network="pixelcnn",
    network_parameters={
        "encoder_widths": [8],
        "decoder_widths": [8],
        "channels": 4,
        "layers": 2,
    },
    reconstruction="binary",
)


def doubles(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# The formulas, where log p(x) is known: x = W z + noise of standard deviation S


W, S = doubles(0, 5, 3), 0.7


def linear_gaussian(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Data x (n, 5) of the model, and log p(x) (n,)."""
    covariance = W @ W.T + S**2 * torch.eye(5, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance)
    x = doubles(1, n, 3) @ W.T + S * doubles(2, n, 5)
    return x, evidence.log_prob(x)


def posterior_of(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """p(z|x): its mean (n, 3) and a factor of its covariance."""
    precision = torch.eye(3, dtype=torch.float64) + W.T @ W / S**2
    covariance = torch.linalg.inv(precision)
    return x @ W @ covariance / S**2, torch.linalg.cholesky(covariance)


def weights_of(x: torch.Tensor, mean: torch.Tensor, factor: torch.Tensor, k: int) -> torch.Tensor:
    """Log weights of k codes from N(mean, factor factorᵀ) for each x."""
    noise = doubles(3, len(x), k, 3)
    codes = mean[:, None] + noise @ factor.T
    error = -Normal(codes @ W.T, S).log_prob(x[:, None]).sum(2)
    log_det = torch.linalg.slogdet(factor)[1].expand(len(x))
    return log_weights(error, codes, noise, log_det)


def test_with_the_exact_posterior_every_bound_is_log_p():
    x, evidence = linear_gaussian(20)
    weights = weights_of(x, *posterior_of(x), 12)
    found = importance_bounds(weights, [1, 3, 12])
    torch.testing.assert_close(found, evidence[:, None].expand(-1, 3), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("width", [0.6, 1.8])
def test_with_another_q_bounds_rise_towards_log_p(width):
    x, evidence = linear_gaussian(500)
    mean, factor = posterior_of(x)
    mean, factor = mean + 0.2, width * factor
    weights = weights_of(x, mean, factor, 512)
    found = importance_bounds(weights, [1, 8, 64, 512]).mean(0)
    gaps = evidence.mean() - found
    assert (gaps > 0).all() and (gaps.diff() < 0).all()
    assert gaps[3] < 0.15 * gaps[0]
    # L_1 is the ELBO, log p(x) − KL(q ‖ p(z|x))
    exact_mean, exact_factor = posterior_of(x)
    q = MultivariateNormal(mean, scale_tril=factor)
    kl = torch.distributions.kl_divergence(
        q, MultivariateNormal(exact_mean, scale_tril=exact_factor)
    )
    error = weights.std() / math.sqrt(weights.numel())
    assert found[0] == pytest.approx(float((evidence - kl).mean()), abs=5 * float(error))


def test_groups_are_all_the_codes_once():
    """L_k from K codes is the mean over the K/k groups, none of them left out."""
    weights = doubles(4, 6, 12) * 3
    found = importance_bounds(weights, [1, 4, 6, 12])
    for column, k in enumerate([1, 4, 6, 12]):
        for row, values in enumerate(weights):
            groups = [values[start : start + k] for start in range(0, 12, k)]
            expected = np.mean([math.log(np.exp(group.numpy()).mean()) for group in groups])
            assert float(found[row, column]) == pytest.approx(expected)


def test_weights_that_overflow_or_vanish():
    """exp of either is out of a double's range."""
    for offset in (-2000.0, 900.0):
        weights = doubles(5, 2, 8) + offset
        found = importance_bounds(weights, [8])
        expected = importance_bounds(weights - offset, [8]) + offset
        torch.testing.assert_close(found, expected)
    weights[0, 1:] = -torch.inf  # of one code that counts
    assert float(importance_bounds(weights, [8])[0, 0]) == pytest.approx(
        float(weights[0, 0]) - math.log(8)
    )


# Of networks


def trained(run: Run, n_images: int = 6) -> Trained:
    """A run whose networks are as they are initialised, and some digits."""
    arrays = digits.load(Path())
    shape = arrays.test_images.shape[1:]
    return Trained(
        run=run,
        model=Autoencoder(run, shape).eval(),
        device=torch.device("cpu"),
        images=arrays.test_images[:n_images],
        labels=arrays.test_labels[:n_images],
    )


def posterior(n: int = 6, d: int = 3, sigma: float = 0.4, seed: int = 6) -> Posterior:
    """A posterior whose images share a covariance that is not diagonal."""
    factor = torch.linalg.cholesky(torch.cov(doubles(seed, d, 50) + doubles(seed + 1, 1, 50)))
    return Posterior(
        mean=doubles(seed + 2, n, d).numpy(),
        sigma=(sigma * (0.5 + torch.rand(n, d, generator=torch.Generator().manual_seed(seed))))
        .double()
        .numpy(),
        mixing=factor.numpy(),
    )


def all_weights(
    of: Trained, q: Posterior, n_images: int, samples: int, width: float = 0.0
) -> torch.Tensor:
    return torch.cat(list(weights_of_images(of, q, range(n_images), samples, width)))


@pytest.mark.parametrize("width", [0.0, 0.3])
@pytest.mark.parametrize("run", [HEBAE, PIXELCNN], ids=["dense", "autoregressive"])
def test_weights_one_by_one(run, width):
    """Every density from torch.distributions, in two loops; every image decoded by itself."""
    of, q, samples = trained(run), posterior(), 5
    found = all_weights(of, q, 6, samples, width)
    assert found.shape == (6, samples) and found.dtype == torch.float64
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "bounds"))
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    for i in range(6):
        noise = torch.randn((samples, 3), generator=generator, dtype=torch.float64)
        a = torch.diag(torch.from_numpy(q.sigma[i])) @ torch.from_numpy(q.mixing)
        if width:
            a = torch.linalg.cholesky(a @ a.T + width**2 * torch.eye(3))
        density = MultivariateNormal(torch.from_numpy(q.mean[i]), a @ a.T)
        x = of.model.reconstruction.inputs(torch.from_numpy(of.images[i : i + 1]))
        for j in range(samples):
            z = torch.from_numpy(q.mean[i]) + a @ noise[j]
            with torch.no_grad():
                logits = of.model.decoder(z.float()[None], x)
            likelihood = -float(of.model.reconstruction.error(logits, x)[0])
            expected = likelihood + float(prior.log_prob(z) - density.log_prob(z))
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("samples", [1, 4, 60])
def test_how_images_are_cut_into_chunks_changes_nothing(monkeypatch, size, samples):
    """Nor does how many images there are."""
    of, q = trained(HEBAE), posterior()
    expected = all_weights(of, q, 6, samples)
    monkeypatch.setattr(Autoencoder, "chunk", size)
    torch.testing.assert_close(all_weights(of, q, 6, samples), expected, rtol=1e-6, atol=1e-4)
    fewer = all_weights(of, q, 4, samples)
    torch.testing.assert_close(fewer, expected[:4], rtol=1e-6, atol=1e-4)


def test_no_more_than_a_chunk_passes_the_decoder(monkeypatch):
    of = trained(HEBAE)
    passed = []
    of.model.decoder.register_forward_pre_hook(lambda _, given: passed.append(len(given[0])))
    monkeypatch.setattr(Autoencoder, "chunk", 50)
    all_weights(of, posterior(), 6, 20)
    assert passed == [40, 40, 40]
    all_weights(of, posterior(), 2, 120)
    assert passed[3:] == [50, 50, 20] * 2


@pytest.mark.parametrize("sigma", [1e-6, 1e-17])
def test_tiny_widths(sigma):
    """The second is lost when it is added to a mean: codes then are the means, exactly."""
    of, q = trained(HEBAE), posterior(sigma=sigma)
    found = all_weights(of, q, 6, 1000)
    assert found.isfinite().all()
    # log w = log p(x|μ) + log p(μ) + ½‖ε‖² + log det + d/2 log 2π − …, whose mean is known
    x = of.model.reconstruction.inputs(torch.from_numpy(of.images))
    mean = torch.from_numpy(q.mean)
    with torch.no_grad():
        error = of.model.reconstruction.error(of.model.decoder(mean.float(), x), x)
    log_det = np.log(q.sigma).sum(1) + np.linalg.slogdet(q.mixing)[1]
    expected = -error.numpy() - (q.mean**2).sum(1) / 2 + 1.5 + log_det
    np.testing.assert_allclose(found.mean(1), expected, atol=0.2)  # √(d/2) / √1000 = .04
    # and what more codes gain is the noise's alone
    gain = importance_bounds(found, [1, 10, 100])
    gain = (gain - gain[:, :1]).mean(0)
    half = np.random.default_rng(0).chisquare(3, (20_000, 100)) / 2
    of_noise = [np.log(np.exp(half[:, :k]).mean(1)).mean() - 1.5 for k in (1, 10, 100)]
    np.testing.assert_allclose(gain, of_noise, atol=0.12)


def test_widened_factors():
    """Also where nothing is known of σ but that it is tiny, or where it is 0."""
    sigma, mixing = torch.tensor([[0.5, 2.0], [1e-17, 1e-9], [0.0, 0.0]]).double(), doubles(7, 2, 2)
    factor, log_det = widened_factors(sigma.log(), mixing, 0.1, sigma)
    own, own_log_det = widened_factors(sigma[:2].log(), mixing, 0.0, sigma[:2])
    identity = torch.eye(2).double()
    for i in range(3):
        a = torch.diag(sigma[i]) @ mixing
        torch.testing.assert_close(factor[i] @ factor[i].T, a @ a.T + 0.01 * identity)
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(factor[i])[1])
    for i in range(2):
        torch.testing.assert_close(own[i], torch.diag(sigma[i]) @ mixing, atol=0, rtol=1e-12)
        expected = sigma[i].log().sum() + torch.linalg.slogdet(mixing)[1]
        torch.testing.assert_close(own_log_det[i], expected)


class Linear(torch.nn.Module):
    """A decoder for which log p(x) is known: the mean of x is W z."""

    def forward(self, codes: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return codes @ W.T.float()


def linear_run(n: int, mean=None, sigma: float = 1e-6) -> tuple[Trained, Posterior, torch.Tensor]:
    """A run with this decoder, the posterior of an encoder, and log p(x) of its n images, (n,).

    The encoder's mean is that of p(z|x), unless another is given.
    """
    x, evidence = linear_gaussian(n)
    error = Reconstruction(
        lambda images: x[images.long().flatten()].float(),
        lambda output, target: -Normal(output, S).log_prob(target).sum(1),
        lambda output: output,
    )
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    model = Autoencoder(HEBAE, (8, 8, 1))
    model.decoder, model.reconstruction = Linear(), error
    mean = posterior_of(x)[0] if mean is None else mean
    q = Posterior(mean.numpy(), np.full((n, 3), sigma), np.eye(3))
    return Trained(HEBAE, model, torch.device("cpu"), images, images), q, evidence


@pytest.mark.parametrize("sigma", [1e-6, 1e-18, 0.0], ids=["narrow", "narrower", "deterministic"])
def test_a_narrow_q_widened_bounds_the_same_log_p(sigma):
    """What k codes of the narrow one leave of the gap, those of a wide one close."""
    of, q, evidence = linear_run(80, sigma=sigma)
    evaluated, pilot = range(50), range(50, 80)
    width = bounds.choose_width(of, q, pilot, 400)
    assert 0 < width < bounds.WIDTHS[-1]
    widened = bounds.bounds_of_images(of, q, evaluated, [1, 10, 400], width).mean(0)
    gaps = float(evidence[:50].mean()) - widened
    assert gaps[0] > gaps[1] > gaps[2] and -0.1 < gaps[2] < 0.3  # below 0 from noise: 50 images
    if sigma:
        own = bounds.bounds_of_images(of, q, evaluated, [400])
        assert float(evidence[:50].mean()) - own.mean() > 30
    others = [bounds.bounds_of_images(of, q, evaluated, [400], s).mean() for s in bounds.WIDTHS[1:]]
    assert max(others) - widened[2] < 0.05  # the pilot's choice is good for others


def test_a_good_q_is_not_widened():
    """Widening the exact posterior can only lower the bound."""
    of, q, evidence = linear_run(60)
    factor = posterior_of(linear_gaussian(60)[0])[1]
    q = dataclasses.replace(q, sigma=np.ones_like(q.sigma), mixing=factor.numpy())
    assert bounds.choose_width(of, q, range(30, 60), 10) == 0
    own = bounds.bounds_of_images(of, q, range(30), [1, 10])
    np.testing.assert_allclose(own, evidence[:30, None].expand(-1, 2), atol=1e-4)


def test_codes_far_away():
    """Means off by 1,000 and σ = 1e-18: the bound is finite, and the exact one of L_1."""
    mean = posterior_of(linear_gaussian(12)[0])[0] + 1000
    of, q, _ = linear_run(12, mean, sigma=1e-18)
    x = linear_gaussian(12)[0]
    for width in (0.0, 0.5):
        found = bounds.bounds_of_images(of, q, range(12), [1, 200], width)
        assert np.isfinite(found).all()
        # E log p(x|z) + E log p(z) + entropy, in closed form for z ~ N(mean, scale² I)
        scale = width or 1e-18
        squares = ((x - mean @ W.T) ** 2).sum(1) + scale**2 * (W**2).sum()
        likelihood = -squares / (2 * S**2) - 2.5 * math.log(2 * math.pi * S**2)
        kl = (mean.square().sum(1) + 3 * scale**2 - 3) / 2 - 3 * math.log(scale)
        np.testing.assert_allclose(found[:, 0], likelihood - kl, rtol=1e-3)
    assert bounds.choose_width(of, q, range(6, 12), 10) in bounds.WIDTHS


@pytest.mark.parametrize(
    "bounds_by_width, chosen",
    [
        # 1 below in the mean: with an error of 2, of .5, and of 0
        ([[-5, -1], [-1, -3]], 0),
        ([[-2, -3], [-1.5, -1.5]], 1),
        ([[-2, -2], [-1, -1]], 1),
        ([[-1, -1], [-2, -2], [-1, -1]], 0),  # a tie
        ([[-1, -1], [-9, -9], [-9, -9]], 0),
        ([[-9, -9], [-8, -8], [-1, -3]], 2),  # the end
        ([[math.nan, -1], [-2, -2]], 1),
        ([[-math.inf, -1], [-2, -2], [-1, -math.inf]], 1),
        ([[-math.inf, -1], [math.nan, 0]], 0),
        ([[-3], [-2], [-2]], 1),  # one image
    ],
)
def test_the_smallest_of_the_best_widths(bounds_by_width, chosen):
    assert bounds.smallest_of_the_best(np.array(bounds_by_width, float)) == chosen


def test_widths_within_noise_of_the_best_are_ties():
    """The largest of such widths would be chosen in a fifth of all pilots, or more."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(2000, 1, 50)) * 5  # images differ more than widths do
    clearly = np.array([-3.0, -1, 0, 0, 0, 0])[:, None]
    pilots = first + clearly + 0.1 * rng.normal(size=(2000, 6, 50))
    chosen = np.array([bounds.smallest_of_the_best(pilot) for pilot in pilots])
    assert set(chosen) <= {2, 3, 4, 5}
    assert (chosen == 5).mean() < 0.05 and (chosen == 2).mean() > 0.4


def test_the_noise_of_evaluated_images_has_no_part_in_the_choice(monkeypatch):
    of, q, _ = linear_run(12)
    seen = []
    original = bounds.weights_of_images

    def spy(trained, posterior, part, samples, width, purpose):
        seen.append((part, width, purpose))
        return original(trained, posterior, part, samples, width, purpose)

    monkeypatch.setattr(bounds, "weights_of_images", spy)
    bounds.choose_width(of, q, range(6, 12), 5)
    assert seen == [(range(6, 12), width, "bounds/pilot") for width in bounds.WIDTHS]
    pilot, other = (
        torch.cat(list(original(of, q, range(6), 5, 0.5, purpose)))
        for purpose in ("bounds/pilot", "bounds")
    )
    assert not torch.isclose(pilot, other).any()


def test_codes_without_a_density():
    of, q = trained(HEBAE), posterior()
    q.sigma[2, 1] = 0
    singular = Posterior(q.mean, q.sigma + 1, np.ones((3, 3)))
    for one in (q, singular):
        assert not bounds.has_density(one)
        with pytest.raises(ValueError, match="no density"):
            all_weights(of, one, 6, 2)
        assert all_weights(of, one, 6, 2, width=0.1).isfinite().all()  # widened, they have one
        assert bounds.choose_width(of, one, range(6), 2) > 0
    assert bounds.has_density(posterior())


MEMORY = """
import resource
from tests.unit.measures.test_bounds import HEBAE, all_weights, posterior, trained

of, q = trained(HEBAE), posterior()
peaks = []
for samples in (1000, 200_000):
    all_weights(of, q, 1, samples)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""


def test_memory_is_that_of_a_chunk():
    """The logits of all codes would be 51 MB, each of half a dozen times."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 60  # megabytes; noise and codes are 5 MB each


# The command


def step(module: str, *arguments) -> None:
    importlib.import_module(f"hebae.{module}").main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


def prepared(run: Run, folder: Path, data: Path) -> Path:
    """A trained and encoded run."""
    step(
        "training.train", "--run", run.to_json(), "--data", data, "--output", folder,
        "--checkpoints", folder / "checkpoints", "--device", "cpu",
    )  # fmt: skip
    step("codes.encode", *inputs(folder, data), "--output", folder / "posterior.npz")
    return folder


def inputs(folder: Path, data: Path) -> list:
    return ["--run", folder / "run.json", "--weights", folder / "weights.pt", "--data", data]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    return {
        run.model: prepared(run, tmp_path_factory.mktemp(run.model), data)
        for run in (HEBAE, VAE, INFOVAE, WAE)
    }


def protocol(*samples: int, images: int | None = None) -> list[str]:
    return ["--protocol", to_json(Bounds(samples, images))]


def measured(folder: Path, data: Path, output: Path, *asked) -> list[dict[str, str]]:
    step(
        "measures.bounds", *inputs(folder, data), "--posterior", folder / "posterior.npz",
        "--output", output, "--device", "cpu", *asked,
    )  # fmt: skip
    return list(csv.DictReader(output.open()))


def opened(run: Run, folder: Path) -> Trained:
    """A run with the weights in a folder, and all test images."""
    of = trained(run, 500)
    of.model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return of


def reconstruction_of(of: Trained, q: Posterior) -> float:
    """The mean error of the first images, of 40 codes each."""
    x = of.model.reconstruction.inputs(torch.from_numpy(of.images[: len(q.mean)]))
    codes = q.sample(np.random.default_rng(0), 40).swapaxes(0, 1)
    with torch.no_grad():
        return float(np.mean([of.model.error(torch.tensor(z).float(), x).mean() for z in codes]))


@pytest.mark.parametrize("run", [HEBAE, VAE, INFOVAE], ids=lambda run: run.model)
def test_one_code_is_the_per_sample_bound(runs, data, tmp_path, run, capsys):
    """With the KL in closed form, as training evaluates it; from other codes."""
    folder = runs[run.model]
    rows = measured(folder, data, tmp_path / "bounds.csv", *protocol(400, 1, 10))
    assert list(rows[0]) == [
        "dataset", "model", "latent_dim", "weight", "seed",
        "samples", "bound", "standard_error", "n_images", "width", "widened", "widened_error",
        "n_pilot",
    ]  # fmt: skip
    assert [row["samples"] for row in rows] == ["1", "10", "400"]
    found = {(row["model"], row["n_images"], row["n_pilot"]) for row in rows}
    assert found == {(run.model, "450", "50")}
    widened = [float(row["widened"]) for row in rows]
    found = [float(row["bound"]) for row in rows]
    for values in (found, widened):
        assert values == sorted(values) and len(set(values)) == 3
    of = opened(run, folder)
    q = Posterior.load(folder / "posterior.npz").subset(np.arange(450))
    elbo = -reconstruction_of(of, q) - float(
        posterior_kl(*map(torch.from_numpy, (q.mean, np.log(q.sigma), q.mixing))).mean()
    )
    assert found[0] == pytest.approx(elbo, abs=0.15)  # HEBAE's codes are far apart here
    said = capsys.readouterr().err
    assert f"bounds of digits/{run.model}/z3/w1/s3: 450/450 images" in said
    (width,) = {float(row["width"]) for row in rows}
    wider = f"bounds of digits/{run.model}/z3/w1/s3, widened by {width:g}: 450/450 images"
    assert (wider in said) == (width > 0)  # the encoder's own q is measured once


def test_what_the_papers_bound_leaves_out_is_a_sum_over_the_noise():
    """mean KL − R = ½ mean Σ_j (σ_ij² Σ̂_jj − 2 log σ_ij), as docs/bounds.md derives."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + 1
    sigma = np.exp(rng.normal(size=(60, 3)) - 1)
    covariance = np.cov(mean.T, bias=True)
    mixing = np.linalg.cholesky(covariance)
    full = posterior_kl(*map(torch.from_numpy, (mean, np.log(sigma), mixing))).mean().item()
    left_out = (sigma**2 * covariance.diagonal() - 2 * np.log(sigma)).sum(axis=1).mean() / 2
    assert full - gaussian_kl(mean.mean(axis=0), covariance) == pytest.approx(left_out)


def test_a_deterministic_encoder_has_the_bound_with_q_widened_alone(runs, data, tmp_path):
    """q = N(μ, s² I), in nats of the same likelihood as the others'."""
    rows = measured(runs["WAE"], data, tmp_path / "bounds.csv", *protocol(400, 1))
    assert {row["bound"] for row in rows} == {row["standard_error"] for row in rows} == {""}
    (width,) = {float(row["width"]) for row in rows}
    of, q = opened(WAE, runs["WAE"]), Posterior.load(runs["WAE"] / "posterior.npz")
    assert q.deterministic and width > 0
    same = Posterior(q.mean, np.full_like(q.sigma, width), np.eye(3))
    expected = importance_bounds(all_weights(of, same, 450, 400), [1, 400]).numpy()
    for row, column in zip(rows, expected.T, strict=True):
        assert float(row["widened"]) == pytest.approx(column.mean(), rel=1e-6)
        assert float(row["widened_error"]) == pytest.approx(
            column.std(ddof=1) / math.sqrt(450), rel=1e-4
        )
    # L_1 by the closed form of the KL
    kl = (q.mean[:450] ** 2).sum(1).mean() / 2 + 3 * ((width**2 - 1) / 2 - math.log(width))
    assert float(rows[0]["widened"]) == pytest.approx(
        -reconstruction_of(of, same.subset(np.arange(450))) - kl, abs=0.15
    )


def test_where_the_own_q_is_best_both_bounds_are_the_same(runs, data, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "WIDTHS", (0.0, 1000.0))
    (row,) = measured(runs["VAE"], data, tmp_path / "bounds.csv", *protocol(10, images=20))
    assert (row["bound"], row["standard_error"]) == (row["widened"], row["widened_error"])
    assert float(row["width"]) == 0 and row["bound"] != ""


@pytest.mark.parametrize("images", [None, 1, 60, 450])
def test_the_width_is_chosen_on_images_that_are_not_evaluated(
    runs, data, tmp_path, monkeypatch, images
):
    """Other evaluated images leave the width as it is, other pilot images the bounds."""
    parts: dict[str, set[int]] = {"bounds": set(), "bounds/pilot": set()}
    original = bounds.weights_of_images

    def spy(trained, posterior, part, samples, width=0.0, purpose="bounds"):
        parts[purpose] |= set(part)
        return original(trained, posterior, part, samples, width, purpose)

    monkeypatch.setattr(bounds, "weights_of_images", spy)
    (row,) = measured(runs["VAE"], data, tmp_path / "x.csv", *protocol(1, images=images))
    evaluated, pilot = parts["bounds"], parts["bounds/pilot"]
    assert evaluated == set(range(images or 450)) and not evaluated & pilot
    assert (len(evaluated), len(pilot)) == (int(row["n_images"]), int(row["n_pilot"]))
    assert len(pilot) == 50 and max(pilot) < 500


@pytest.mark.parametrize(
    "n_test, images, expected",
    [(500, None, (450, 50)), (10_000, 5000, (5000, 50)), (10_000, None, (9950, 50)),
     (30, None, (27, 3)), (30, 27, (27, 3)), (5, None, (4, 1)), (2, 1, (1, 1)),
     (500, 1, (1, 50))],
)  # fmt: skip
def test_parts_of_the_test_images(n_test, images, expected):
    evaluated, pilot = Bounds((1,), images).parts(n_test)
    assert (len(evaluated), len(pilot)) == expected
    assert evaluated.start == 0 and evaluated.stop == pilot.start and pilot.stop <= n_test


@pytest.mark.parametrize(
    "n_test, images, message",
    [(500, 451, "images: 451 is more than 450; the width of q is chosen on 50 others of the 500"),
     (30, 28, "28 is more than 27"), (1, 1, "bounds: 1 test images are too few")],
)  # fmt: skip
def test_too_few_test_images_for_a_pilot(n_test, images, message):
    with pytest.raises(UserError) as error:
        Bounds((1,), images).parts(n_test)
    assert message in str(error.value)


def test_the_table_is_the_means_of_the_first_images(runs, data, tmp_path):
    rows = measured(runs["HEBAE"], data, tmp_path / "a", *protocol(1, 6, images=5))
    of = opened(HEBAE, runs["HEBAE"])
    q = Posterior.load(runs["HEBAE"] / "posterior.npz")
    expected = importance_bounds(all_weights(of, q, 5, 6), [1, 6]).numpy()
    width = bounds.choose_width(of, q, range(5, 55), 6)
    wide = importance_bounds(all_weights(of, q, 5, 6, width), [1, 6]).numpy()
    columns = {("bound", "standard_error"): expected, ("widened", "widened_error"): wide}
    for names, values in columns.items():
        for row, column in zip(rows, values.T, strict=True):
            assert float(row[names[0]]) == pytest.approx(column.mean(), rel=1e-6)
            error = column.std(ddof=1) / math.sqrt(5)
            assert float(row[names[1]]) == pytest.approx(error, rel=1e-4)
            assert (row["n_images"], float(row["width"])) == ("5", width)
    # again, and of one image alone, of which nothing is known of the spread
    measured(runs["HEBAE"], data, tmp_path / "b", *protocol(1, 6, images=5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (one,) = measured(runs["HEBAE"], data, tmp_path / "c", *protocol(6, images=1))
    assert one["standard_error"] == one["widened_error"] == ""
    assert float(one["bound"]) == pytest.approx(expected[0, 1], rel=1e-6)


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("VAE", protocol(1, images=501), "images: 501 is more than 450; the width of q is"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(runs, data, tmp_path, model, asked, message):
    with pytest.raises(UserError) as error:
        measured(runs[model], data, tmp_path / "out.csv", *asked)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_squared_errors_have_no_bound(runs, data, tmp_path):
    """The record of a run whose reconstruction is no likelihood."""
    record = json.loads((runs["VAE"] / "run.json").read_text())
    record["run"]["reconstruction"] = "squared_error"
    for name in ("weights.pt", "posterior.npz"):
        files.write_bytes(tmp_path / "run" / name, (runs["VAE"] / name).read_bytes())
    files.write_json(tmp_path / "run/run.json", record)
    with pytest.raises(UserError, match="'squared_error' is no likelihood"):
        measured(tmp_path / "run", data, tmp_path / "out.csv", *protocol(1))


@pytest.mark.parametrize("n, d, message", [(499, 3, "encode again"), (500, 4, "encode again")])
def test_a_posterior_of_another_run(runs, data, tmp_path, n, d, message):
    q = posterior(n, d)
    with files.replacing(tmp_path / "posterior.npz") as stream:
        np.savez(stream, mean=q.mean, sigma=q.sigma, mixing=q.mixing)
    with pytest.raises(UserError, match=message):
        step(
            "measures.bounds", *inputs(runs["VAE"], data),
            "--posterior", tmp_path / "posterior.npz",
            "--output", tmp_path / "out.csv", "--device", "cpu", *protocol(1),
        )  # fmt: skip
