"""The identities of Section 3: against scipy, torch, brute force, and at the edges."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import entropy, multivariate_normal
from tests.runs import changed
from tests.unit.measures.test_measures import posterior_covariances, random_posterior, rng
from torch.distributions import MultivariateNormal, kl_divergence

from hebae.base.errors import UserError
from hebae.codes.posterior import Posterior
from hebae.measures import identities as module
from hebae.measures.covariance import moments
from hebae.measures.identities import (
    centred_kl,
    code_moments,
    expected_regulariser,
    gaussian_kl,
    identities,
    informations,
    mean_kl,
    of_batches,
    penalised_kl,
    rows,
)
from hebae.measures.index_code_information import index_code_information

IDENTITIES = {
    "theorem_1", "closed_form", "reparameterisation", "total_covariance", "surgery",
    "information", "plugged_in_prior", "cross_image",
}  # fmt: skip


def hebae_like(n: int = 300, d: int = 4, sigma: float = 0.3, seed: int = 0) -> Posterior:
    """Correlated, skewed means with an offset; L is the Cholesky factor of their covariance."""
    draw = rng(seed)
    mean = draw.exponential(size=(n, d)) @ draw.normal(size=(d, d)) + draw.normal(size=d)
    scale = sigma * draw.uniform(0.5, 1.5, (n, d))
    return Posterior(mean, scale, np.linalg.cholesky(moments(mean)[1]))


def table(posterior: Posterior, size: int = 40, own_factor: bool = True, seed: int = 0) -> dict:
    return {row["identity"]: row for row in identities(posterior, rng(seed), size, own_factor)}


def divergence(mean: np.ndarray, covariance: np.ndarray, of_prior: np.ndarray) -> float:
    """KL(N(m, Σ) ‖ N(of_prior, I)) by torch."""
    tensors = map(torch.from_numpy, (mean, covariance, of_prior))
    mean, covariance, other = tensors
    identity = torch.eye(len(mean), dtype=torch.float64)
    return kl_divergence(
        MultivariateNormal(mean, covariance), MultivariateNormal(other, identity)
    ).item()


# --- single terms


@pytest.mark.parametrize("d", [1, 2, 7])
def test_both_sides_of_theorem_1_are_torchs(d):
    mean, covariance = moments(hebae_like(d=d).mean)
    left = divergence(mean, covariance, np.zeros(d))
    assert gaussian_kl(mean, covariance) == pytest.approx(left)
    assert centred_kl(covariance) == pytest.approx(divergence(mean, covariance, mean))
    for multiplier in (0, 1, 10):
        expected = divergence(mean, covariance, mean) + multiplier * (mean @ mean) / 2
        assert penalised_kl(mean, covariance, multiplier) == pytest.approx(expected)


def test_the_moments_of_codes_are_those_of_many_codes():
    posterior = hebae_like(sigma=0.8)
    mean, covariance = code_moments(posterior)
    expected = moments(posterior.mean)[1] + posterior_covariances(posterior).mean(0)
    assert_allclose(covariance, expected, rtol=1e-12)
    codes = posterior.sample(rng(1), 2000).reshape(-1, 4)
    assert_allclose(codes.mean(0), mean, atol=0.02)
    assert_allclose(np.cov(codes.T), covariance, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
def test_the_mean_kl_is_torchs(mixing):
    posterior = random_posterior(20, 3, mixing)
    covariances = posterior_covariances(posterior)
    each = [divergence(m, c, np.zeros(3)) for m, c in zip(posterior.mean, covariances, strict=True)]
    assert mean_kl(posterior) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
def test_both_forms_of_information_are_brute_force(mixing, monkeypatch):
    """Of the same codes: scipy's densities, and scipy's entropy of the index given a code."""
    posterior = random_posterior(30, 3, mixing)
    monkeypatch.setattr(module, "FEWEST", 64)
    monkeypatch.setattr(module, "PAIRS", 64)
    monkeypatch.setattr(module, "BLOCK", 500)  # several blocks
    density, entropy_form, difference = informations(posterior, rng(3))
    draw = rng(3)
    owners = np.concatenate([draw.permutation(30) for _ in range(3)])[:64]
    noise = draw.standard_normal((64, 3)) @ posterior.mixing.T * posterior.sigma[owners]
    codes = posterior.mean[owners] + noise
    densities = np.array(
        [
            multivariate_normal(mean, covariance).pdf(codes)
            for mean, covariance in zip(
                posterior.mean, posterior_covariances(posterior), strict=True
            )
        ]
    )
    own = densities[owners, np.arange(64)]
    assert density.value == pytest.approx(np.log(own / densities.mean(0)).mean())
    given = entropy(densities / densities.sum(0), axis=0)
    assert entropy_form.value == pytest.approx(math.log(30) - given.mean())
    assert difference.value == pytest.approx(entropy_form.value - density.value)
    expected = np.log(own / densities.mean(0)).std(ddof=1) / 8
    assert density.error == pytest.approx(expected)


def test_information_agrees_with_the_table_of_that_name():
    posterior = hebae_like(sigma=0.5)
    found, _, _ = informations(posterior, rng(0))
    other = index_code_information(posterior, rng(1), draws=20)["nats"]
    assert found.value == pytest.approx(other, abs=5 * found.error)


def test_what_a_batch_adds_by_a_loop_over_images(monkeypatch):
    monkeypatch.setattr(module, "BATCHES", 3)
    means = hebae_like(n=50).mean
    found, draw = of_batches(means, 20, rng(2)), rng(2)
    regularisers, others, pairs = [], [], []
    for _ in range(3):
        chosen = draw.permutation(50)[:20]
        batch, outside = means[chosen], np.delete(means, chosen, axis=0)
        mean, covariance = batch.mean(0), np.cov(batch.T, bias=True)
        regularisers.append(divergence(mean, covariance, np.zeros(4)))
        inverse = np.linalg.inv(covariance)
        others.append(np.mean([(x - mean) @ inverse @ (x - mean) / 2 for x in outside]))
        pairs += [
            (x - mean) @ inverse @ (y - mean) / 4
            for i, x in enumerate(batch)
            for j, y in enumerate(batch)
            if i != j
        ]
    assert found.regulariser.value == pytest.approx(np.mean(regularisers))
    assert found.regulariser.error == pytest.approx(np.std(regularisers, ddof=1) / math.sqrt(3))
    assert found.others.value == pytest.approx(np.mean(others))
    assert found.cross == pytest.approx(np.mean(pairs)) == pytest.approx(-1 / 19)


# --- the table


@pytest.mark.parametrize("sigma", [1e-18, 1e-6, 0.01, 0.3, 2.0])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_identities_hold_at_every_noise_and_offset(sigma, offset):
    """Beyond rounding and four standard errors none is off; R of 1,000² loses digits alike."""
    posterior = hebae_like(sigma=sigma)
    posterior = Posterior(posterior.mean + offset, posterior.sigma, posterior.mixing)
    found = table(posterior)
    exact = {name: row for name, row in found.items() if row["kind"] == "identity"}
    assert exact.keys() == IDENTITIES
    for name, row in exact.items():
        rounding = 1e-11 * (1 + abs(row["left"]))
        assert abs(row["residual"]) <= rounding + 4 * (row["standard_error"] or 0), name
        assert row["residual"] == row["left"] - row["right"]
        if row["standard_error"] is not None:
            assert row["standard_error"] < 0.3 + 0.02 * offset * (1 + sigma)


def test_a_dimension_of_hardly_any_deviation_is_not_singular():
    posterior = hebae_like()
    scale = np.array([1, 1, 1, 1e-8])
    mean = posterior.mean * scale
    narrow = Posterior(mean, posterior.sigma, np.linalg.cholesky(moments(mean)[1]))
    found = table(narrow)
    covariance = moments(posterior.mean)[1]
    expected = np.linalg.slogdet(covariance)[1] + 2 * math.log(1e-8)
    assert 2 * np.log(np.diag(narrow.mixing)).sum() == pytest.approx(expected)
    trace = np.trace(moments(mean)[1]) + mean.mean(0) @ mean.mean(0)
    assert found["theorem_1"]["left"] == pytest.approx((trace - 4 - expected) / 2)
    assert abs(found["theorem_1"]["residual"]) < 1e-11
    assert abs(found["closed_form"]["residual"]) <= 4 * found["closed_form"]["standard_error"]


def test_a_constant_dimension_leaves_r_empty_and_the_rest_there():
    """As in a collapsed VAE: Σ̂ is singular, while the codes are not."""
    posterior = hebae_like()
    mean = posterior.mean * np.array([1, 1, 1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = table(Posterior(mean, posterior.sigma, np.eye(4)), own_factor=False)
    for name in ("theorem_1", "closed_form", "plugged_in_prior", "batch_regulariser"):
        assert found[name]["left"] is None and found[name]["residual"] is None
    for name in ("total_covariance", "surgery", "information", "gaussian_aggregate"):
        assert found[name]["residual"] is not None
    assert abs(found["surgery"]["residual"]) <= 4 * found["surgery"]["standard_error"]


def test_the_diagonal_factor_is_off_by_the_total_correlation():
    """The released code has √diag Σ̂ for L: KL(N(0, Σ̂) ‖ N(0, diag Σ̂)) = −½ log det of Corr."""
    posterior = hebae_like()
    covariance = moments(posterior.mean)[1]
    diagonal = np.diag(np.sqrt(np.diag(covariance)))
    found = table(Posterior(posterior.mean, posterior.sigma, diagonal))["reparameterisation"]
    correlation = np.corrcoef(posterior.mean.T)
    assert found["residual"] == pytest.approx(-np.linalg.slogdet(correlation)[1] / 2)
    assert found["residual"] > 0.1


def test_gaussian_codes_without_noise_of_their_own_are_the_gaussian():
    """One posterior that is the prior: I = 0, q(z) = p, and only R, of the means, is infinite."""
    posterior = Posterior(np.zeros((50, 3)), np.ones((50, 3)), np.eye(3))
    found = table(posterior, size=20, own_factor=False)
    assert found["gaussian_aggregate"]["residual"] == pytest.approx(0, abs=1e-12)
    assert found["information"]["left"] == pytest.approx(0, abs=1e-12)
    assert found["full_information"]["residual"] == pytest.approx(-math.log(50))
    assert found["means_for_codes"]["left"] is None


def test_deterministic_codes():
    posterior = hebae_like()
    still = Posterior(posterior.mean, 0 * posterior.sigma, np.eye(4))
    found = table(still, own_factor=False)
    assert not {"surgery", "information", "gaussian_aggregate", "reparameterisation"} & set(found)
    assert found["full_information"]["residual"] == pytest.approx(0, abs=1e-12)
    assert found["means_for_codes"]["residual"] == pytest.approx(0, abs=1e-12)
    assert abs(found["total_covariance"]["residual"]) < 1e-11
    mean = np.repeat(posterior.mean[:100], 3, axis=0)  # three images a code
    twice = table(Posterior(mean, 0 * posterior.sigma, np.eye(4)), own_factor=False)
    assert twice["full_information"]["residual"] == pytest.approx(-math.log(3))


def test_the_bias_of_a_batch_does_not_depend_on_the_gaussian():
    """R of a batch less R of all, for Gaussian codes of any mean and covariance."""
    draw = rng(1)
    means = draw.normal(size=(20_000, 4)) @ draw.normal(size=(4, 4)) + 3
    found = table(Posterior(means, np.ones(means.shape), np.eye(4)), size=30, own_factor=False)
    row = found["batch_bias"]
    bias, whole = expected_regulariser(np.array([30, 20_000]), 4)
    assert row["right"] == pytest.approx(bias - whole)
    assert abs(row["residual"]) <= 4 * row["standard_error"] and row["right"] > 0.2
    assert found["batch_regulariser"]["residual"] == pytest.approx(row["left"])
    # E ½tr Σ̂⁻¹(Σ + …) of the docs: ½ d ((n + 1)/(n − d − 2)) for images outside the batch
    prior = found["batch_prior"]
    assert prior["left"] == pytest.approx(2 * 31 / 24, abs=4 * prior["standard_error"])


@pytest.mark.parametrize("size", [4, 300, 400])
def test_without_batches_there_are_no_rows_of_them(size):
    found = table(hebae_like(), size=size)
    assert not [name for name in found if "batch" in name or name == "cross_image"]


def test_codes_without_a_density_are_a_user_error():
    posterior = hebae_like()
    some = posterior.sigma.copy()
    some[3, 1] = 0
    with pytest.raises(UserError, match="sigma is 0 for some codes"):
        table(Posterior(posterior.mean, some, posterior.mixing))
    with pytest.raises(UserError, match="mixing matrix is singular"):
        table(Posterior(posterior.mean, posterior.sigma, np.diag([1.0, 1, 1, 0])))


def test_rows_are_those_of_the_run():
    """Its seed, its batch size, and whether its L is made from its codes; the same each time."""
    posterior = hebae_like()
    run = changed(batch_size=60)
    found = rows(posterior, run, threads=1)
    assert found == rows(posterior, run, threads=1)
    names = [row["identity"] for row in found]
    assert len(set(names)) == len(names) and "reparameterisation" in names
    (cross,) = (row for row in found if row["identity"] == "cross_image")
    assert cross["right"] == pytest.approx(-2 * math.log1p(-1 / 59**2))
    vae = changed(objective="vae", parameters={}, batch_size=60)
    assert "reparameterisation" not in [row["identity"] for row in rows(posterior, vae, 1)]
    other = rows(posterior, changed(seed=4, batch_size=60), threads=1)
    assert other != found


# --- the multiplier of the mean (docs/identities.md)


@pytest.mark.parametrize("multiplier", [0.0, 1.0, 10.0, 100.0])
def test_a_multiplier_of_the_mean_shrinks_the_covariance_that_minimises_r_of_a_batch(multiplier):
    """E over batches of n from N(0, v I) of the penalised KL is least at v = n/(n + w − 1)."""
    n, d, draw = 32, 3, rng(0)
    batches = draw.standard_normal((400, n, d))
    found = [moments(batch) for batch in batches]

    def expected(v: float) -> float:
        return np.mean([penalised_kl(math.sqrt(v) * m, v * s, multiplier) for m, s in found])

    best = n / (n + multiplier - 1)
    grid = best * np.array([0.8, 0.9, 1, 1.1, 1.2])
    values = np.array([expected(v) for v in grid])
    assert values.argmin() == 2
    # a parabola in log v through the middle three has its least value there, too
    low, middle, high = values[1:4]
    shift = (low - high) / (low - 2 * middle + high) / 2 * 0.1
    assert abs(shift) < 0.03
