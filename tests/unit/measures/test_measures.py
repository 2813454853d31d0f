"""Measures on a posterior: against closed forms, brute force, scipy and minepy themselves."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import mpmath
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from minepy import MINE
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, ortho_group
from tests.project import TINY
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior, map_threads
from hebae.config.parse import parse
from hebae.config.registry import MEASURES
from hebae.measures import (
    active_units,
    covariance,
    index_code_information,
    measure,
    mutual_information,
)
from hebae.measures.index_code_information import _bounds, gaussian_kl, log_densities

SOURCE = Path(__file__).parents[3] / "src"
TRAINED = changed(model="hebae", latent_dim=3, lam=0.1, seed=7)
RUN = TRAINED.identity


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_posterior(n: int, d: int, mixing: str = "full", seed: int = 0) -> Posterior:
    """Means ~ N(0, 1), σ of every image and dimension its own, in about .2 to 1."""
    draw = rng(seed)
    mixings = {
        "identity": np.eye(d),
        "diagonal": np.diag(draw.uniform(0.5, 2, d)),
        "full": np.linalg.cholesky(np.cov(draw.normal(size=(d, 3 * d))) + 0.1 * np.eye(d)),
    }
    sigma = draw.uniform(0.2, 1, (n, d))
    return Posterior(draw.normal(size=(n, d)), sigma, mixings[mixing])


def posterior_covariances(posterior: Posterior) -> np.ndarray:
    """D_i L Lᵀ D_i of every image: (N, d, d)."""
    factor = posterior.sigma[:, :, None] * posterior.mixing
    return factor @ factor.transpose(0, 2, 1)


def information(posterior: Posterior, noise: np.ndarray) -> float:
    own, aggregate = log_densities(posterior, noise, np.arange(len(noise)))
    return float((own - aggregate).mean())


def displaced(posterior: Posterior, noise: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """z − μ of the codes that noise (n, d) makes of images `owner` (n,)."""
    return posterior.sigma[owner] * (noise @ posterior.mixing.T)


def save(path: Path, posterior: Posterior, **replaced: np.ndarray) -> Path:
    arrays = {
        name: getattr(posterior, name).astype(np.float32) for name in ("mean", "sigma", "mixing")
    }
    np.savez(path, **(arrays | replaced))
    return path


# --- the posterior


def test_load_reads_what_was_saved(tmp_path):
    posterior = random_posterior(5, 3)
    loaded = Posterior.load(save(tmp_path / "posterior.npz", posterior))
    for name in ("mean", "sigma", "mixing"):
        assert getattr(loaded, name).dtype == np.float64
        assert_array_equal(getattr(loaded, name), getattr(posterior, name).astype(np.float32))


def test_load_names_the_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.npz: no such posterior; encode"):
        Posterior.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("keep", [0, 1, 30, 100, -40, -1])
def test_load_rejects_a_file_cut_short(tmp_path, keep):
    path = save(tmp_path / "posterior.npz", random_posterior(5, 3))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not a readable posterior"):
        Posterior.load(path)


@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_load_of_an_altered_file_is_a_user_error_or_harmless(tmp_path_factory, data):
    posterior = random_posterior(5, 3)
    path = save(tmp_path_factory.mktemp("altered") / "posterior.npz", posterior)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = Posterior.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert_array_equal(loaded.mean, posterior.mean.astype(np.float32))


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (dict(mean=np.zeros(3)), "mean has shape"),
        (dict(mean=np.zeros((0, 3))), "mean has shape"),
        (dict(sigma=np.ones((5, 2))), r"sigma has shape \(5, 2\), expected \(5, 3\)"),
        (dict(mixing=np.eye(2)), r"mixing has shape \(2, 2\), expected \(3, 3\)"),
        (dict(mean=np.diag([0, 0, np.nan, 0, 0])[:, :3]), "mean has values that are not finite"),
        (dict(sigma=np.full((5, 3), np.inf)), "sigma has values that are not finite"),
        (dict(sigma=np.full((5, 3), -1.0)), "sigma has negative values"),
        (dict(mean=np.full((5, 3), "a")), "not a readable posterior"),
        (dict(mean=np.full((5, 3), None)), "not a readable posterior"),
    ],
)
def test_load_rejects_wrong_arrays(tmp_path, replaced, message):
    path = save(tmp_path / "posterior.npz", random_posterior(5, 3), **replaced)
    with pytest.raises(UserError, match=message):
        Posterior.load(path)


def test_load_rejects_a_single_array(tmp_path):
    np.save(tmp_path / "posterior.npy", np.zeros((5, 3)))
    with pytest.raises(UserError, match="not a readable posterior"):
        Posterior.load(tmp_path / "posterior.npy")


def test_load_rejects_a_lacking_array(tmp_path):
    np.savez(tmp_path / "posterior.npz", mean=np.zeros((5, 3)), sigma=np.zeros((5, 3)))
    with pytest.raises(UserError, match="mixing"):
        Posterior.load(tmp_path / "posterior.npz")


def test_samples_have_the_moments_of_the_posterior():
    posterior = random_posterior(3, 4)
    codes = posterior.sample(rng(1), draws=100_000)
    assert codes.shape == (3, 100_000, 4)
    for image, expected in enumerate(posterior_covariances(posterior)):
        assert_allclose(codes[image].mean(0), posterior.mean[image], atol=0.03)
        assert_allclose(np.cov(codes[image].T), expected, atol=0.03)


def test_samples_of_a_deterministic_encoder_are_its_means():
    posterior = Posterior(rng().normal(size=(5, 3)), np.zeros((5, 3)), np.eye(3))
    assert posterior.deterministic and not random_posterior(5, 3).deterministic
    assert_array_equal(posterior.sample(rng()), posterior.mean)


def test_map_threads_keeps_the_order():
    assert map_threads(abs, range(-9, 9), 3) == [abs(x) for x in range(-9, 9)]


# --- covariance


def test_moments_and_correlation_against_numpy():
    codes = rng().normal(size=(200, 4)) @ rng(1).normal(size=(4, 4)) + 5
    mean, matrix = covariance.moments(codes)
    assert_allclose(mean, codes.mean(0))
    assert_allclose(matrix, np.cov(codes.T, ddof=0))
    assert_allclose(np.array(covariance.correlation(matrix)), np.corrcoef(codes.T))


def test_covariance_of_constant_posteriors_is_the_analytic_one():
    """μ and σ the same for all images: Cov(μ) = 0 and Cov(z) = D L Lᵀ D."""
    one = random_posterior(1, 3)
    posterior = Posterior(
        np.repeat(one.mean, 200_000, 0), np.repeat(one.sigma, 200_000, 0), one.mixing
    )
    rows = covariance.covariance(posterior, rng())
    matrices = {
        which: np.reshape([row["covariance"] for row in rows if row["which"] == which], (3, 3))
        for which in ("mean", "sample")
    }
    assert_array_equal(matrices["mean"], 0)
    assert_allclose(matrices["sample"], posterior_covariances(one)[0], atol=0.01)
    assert all(row["correlation"] is None for row in rows if row["which"] == "mean")


def test_covariance_rows_are_all_pairs_of_both_kinds():
    rows = covariance.covariance(random_posterior(10, 3), rng())
    assert [(row["which"], row["i"], row["j"]) for row in rows] == [
        (which, i, j) for which in ("mean", "sample") for i in range(3) for j in range(3)
    ]


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e4])
def test_correlation_of_a_constant_dimension_is_empty(constant):
    codes = rng().normal(size=(1000, 3))
    codes[:, 1] = constant
    matrix = covariance.moments(codes)[1]
    assert_array_equal(matrix[1], 0)
    empty = [[value is None for value in row] for row in covariance.correlation(matrix)]
    assert empty == [[False, True, False], [True, True, True], [False, True, False]]


# --- mutual information


# Active units


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
def test_means_and_noise_share_the_variance_of_the_codes(mixing):
    posterior = random_posterior(60, 4, mixing)
    rows = active_units.active_units(posterior)
    assert [row["dimension"] for row in rows] == [0, 1, 2, 3]
    covariances = posterior_covariances(posterior).mean(0)
    assert_allclose([row["noise_variance"] for row in rows], np.diag(covariances))
    assert_allclose([row["mean_variance"] for row in rows], np.var(posterior.mean, 0))
    codes = posterior.sample(rng(1), 4000).reshape(-1, 4)
    total = [row["mean_variance"] + row["noise_variance"] for row in rows]
    assert_allclose(total, codes.var(0), rtol=0.03)


def test_a_variable_that_is_the_prior_is_not_active():
    mean = np.column_stack(
        [np.zeros(100), 0.099 * np.sign(np.arange(100) - 49.5), np.arange(100.0)]
    )
    posterior = Posterior(mean, np.ones((100, 3)), np.eye(3))
    rows = active_units.active_units(posterior)
    assert [row["active"] for row in rows] == [0, 0, 1]  # .0098 is below a hundredth
    assert [row["noise_variance"] for row in rows] == [1, 1, 1]


def plain_minepy(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    mine = MINE(alpha=0.6, c=15, est="mic_e")
    mine.compute_score(x, y)
    return mine.mic(), mine.tic(norm=True)


def gaussian_codes(n: int, sigma: float, d: int = 2) -> Posterior:
    """Means ~ N(0, 1 − σ²) and the same σ everywhere: every z_j ~ N(0, 1) in total."""
    mean = rng(5).normal(size=(n, d)) * np.sqrt(1 - sigma**2)
    return Posterior(mean, np.full((n, d), sigma), np.eye(d))


def test_indices_draws_is_a_plain_loop_over_minepy():
    posterior = random_posterior(30, 2)
    expected, draw = [], rng(3)
    for _ in range(2):
        images = draw.choice(30, 8, replace=False)
        noise = draw.standard_normal((8, 10, 2)) @ posterior.mixing.T
        for j in range(2):
            x, y = [], []
            for label, image in enumerate(images):
                for m in range(10):
                    x.append(float(label))
                    mean, sigma = posterior.mean[image, j], posterior.sigma[image, j]
                    y.append(mean + sigma * noise[label, m, j])
            expected.append(plain_minepy(np.array(x), np.array(y)))
    scores = mutual_information.indices_draws(posterior, rng(3), indices=8, draws=10, sets=2)
    assert_array_equal(scores, np.reshape(expected, (2, 2, 2)).mean(0))


def test_mean_vs_sample_is_a_plain_loop_over_minepy():
    posterior = random_posterior(300, 3)
    codes = posterior.sample(rng(3))
    expected = [plain_minepy(posterior.mean[:, j].copy(), codes[:, j].copy()) for j in range(3)]
    assert_array_equal(mutual_information.mean_vs_sample(posterior, rng(3)), expected)


@pytest.mark.parametrize("protocol", ["indices_draws", "mean_vs_sample"])
def test_scores_do_not_depend_on_threads(protocol):
    measure = getattr(mutual_information, protocol)
    posterior = random_posterior(200, 3)
    assert_array_equal(measure(posterior, rng(1)), measure(posterior, rng(1), threads=3))


def test_mic_falls_with_sigma_as_documented():
    """FACTS §4.10: MIC 1.0/.94/.73/.14 for σ = 0/.1/.3/.9, codes of unit variance in total."""
    mic = [
        mutual_information.indices_draws(gaussian_codes(200, sigma), rng(1))[:, 0].mean()
        for sigma in (0, 0.1, 0.3, 0.9)
    ]
    assert mic == sorted(mic, reverse=True)
    assert_allclose(mic, (1.0, 0.94, 0.73, 0.14), atol=0.06)


def test_mean_vs_sample_falls_with_sigma():
    """Measured at n = 1000; §4.10's 1.0/.96/.79/.21 are those of the estimator mic_approx."""
    mic = [
        mutual_information.mean_vs_sample(gaussian_codes(1000, sigma), rng(1))[:, 0].mean()
        for sigma in (0, 0.1, 0.3, 0.9)
    ]
    assert mic == sorted(mic, reverse=True)
    assert_allclose(mic, (1.0, 0.92, 0.72, 0.13), atol=0.05)


def test_one_draw_an_image_tells_nothing_about_sigma():
    """Why many draws are the default: labels without an order, each with one point."""
    low, high = (
        mutual_information.indices_draws(gaussian_codes(1000, s), rng(1), 1000, 1, 3)[:, 0].mean()
        for s in (0, 0.9)
    )
    assert low == pytest.approx(high, abs=0.02)
    assert low < 0.06


def test_more_images_than_the_grid_resolves_cap_the_score():
    scores = mutual_information.indices_draws(gaussian_codes(200, 0), rng(1), 50, 20)
    assert_allclose(scores[:, 0], 0.70, atol=0.06)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("protocol", ["indices_draws", "mean_vs_sample"])
def test_noise_that_vanishes_changes_no_score(protocol, offset):
    """Ties alone would raise the TIC of σ = 0 by .06. Some images have the same code."""
    mean = rng(4).normal(size=(300, 2)) + offset
    mean[:60] = mean[60:120]
    scores = []
    for sigma in (0, 1e-15, 1e-12, 1e-6):
        posterior = Posterior(mean, np.full(mean.shape, float(sigma)), np.eye(2))
        scores.append(getattr(mutual_information, protocol)(posterior, rng(1)))
    assert_allclose(scores, np.broadcast_to(scores[0], np.shape(scores)), atol=0.01)


def test_scores_without_ties_are_those_of_the_codes_themselves():
    """Which random order equal values have is another stream than the codes'."""
    posterior = random_posterior(40, 2)
    values = rng(2).normal(size=(40, 2))
    values[:, 1] = np.round(values[:, 1])
    found = mutual_information.ranks(values, rng(3))
    assert_array_equal(found[:, 0].argsort(), values[:, 0].argsort())
    for column in found.T:
        assert sorted(column) == list(range(40))
    assert (np.diff(values[found[:, 1].argsort().astype(int), 1]) >= 0).all()
    orders = {tuple(mutual_information.ranks(np.array([[1.0], [0], [1], [1]]), rng(k))[:, 0])
              for k in range(99)}  # fmt: skip
    assert len(orders) == 6 and {order[1] for order in orders} == {0}
    scores = mutual_information.indices_draws(posterior, rng(3), 8, 10, 3)
    shifted = Posterior(posterior.mean * 8, posterior.sigma * 8, posterior.mixing)
    assert_array_equal(mutual_information.indices_draws(shifted, rng(3), 8, 10, 3), scores)


def test_a_constant_dimension_scores_zero():
    posterior = Posterior(np.ones((50, 2)), np.zeros((50, 2)), np.eye(2))
    assert_array_equal(mutual_information.indices_draws(posterior, rng()), 0)
    assert_array_equal(mutual_information.mean_vs_sample(posterior, rng()), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(indices=31), "indices: 31 is more than the 30 images"),
        (dict(threads=0), "--threads is 0; it must be at least 1"),
    ],
)
def test_options_out_of_bounds_are_user_errors(options, message):
    with pytest.raises(UserError, match=message):
        mutual_information.indices_draws(random_posterior(30, 2), rng(), **options)


# --- index-code information


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
@pytest.mark.parametrize("d", [1, 3])
def test_log_densities_against_scipy_one_by_one(mixing, d):
    posterior = random_posterior(6, d, mixing)
    noise, owner = rng(2).standard_normal((12, d)), np.repeat(np.arange(6), 2)
    codes = posterior.mean[owner] + displaced(posterior, noise, owner)
    components = [
        multivariate_normal(mean, matrix)
        for mean, matrix in zip(posterior.mean, posterior_covariances(posterior), strict=True)
    ]
    own, aggregate = log_densities(posterior, noise, owner)
    for n, code in enumerate(codes):
        assert own[n] == pytest.approx(components[owner[n]].logpdf(code), abs=1e-10)
        density = sum(component.pdf(code) for component in components) / 6
        assert aggregate[n] == pytest.approx(np.log(density), abs=1e-10)


@pytest.mark.parametrize("mixing", ["identity", "full"])
def test_measure_against_a_double_loop(mixing):
    posterior = random_posterior(8, 2, mixing)
    codes = posterior.sample(rng(4), 3)
    matrices = posterior_covariances(posterior)
    terms, to_prior = [], []
    for i in range(8):
        for code in codes[i]:
            densities = [
                multivariate_normal(posterior.mean[j], matrices[j]).pdf(code) for j in range(8)
            ]
            terms.append(np.log(densities[i]) - np.log(np.mean(densities)))
            prior = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(code)
            to_prior.append(np.log(np.mean(densities)) - prior)
    row = index_code_information.index_code_information(posterior, rng(4), draws=3)
    assert row["nats"] == pytest.approx(np.mean(terms), abs=1e-10)
    assert row["kl_aggregate"] == pytest.approx(np.mean(to_prior), abs=1e-10)
    assert row["log_n"] == pytest.approx(np.log(8))


def test_separated_codes_tell_their_index():
    posterior = Posterior(np.arange(50.0)[:, None] * 100, np.ones((50, 1)), np.eye(1))
    row = index_code_information.index_code_information(posterior, rng())
    assert row["nats"] == pytest.approx(np.log(50), abs=1e-12)


def test_identical_posteriors_tell_nothing():
    posterior = Posterior(np.ones((50, 3)), np.full((50, 3), 0.2), random_posterior(1, 3).mixing)
    row = index_code_information.index_code_information(posterior, rng())
    assert row["nats"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mixing", ["identity", "full"])
def test_gaussian_aggregate_has_the_analytic_information(mixing):
    """z = L(m + s ε), m ~ N(0, (1 − s²) I): I = −d/2 log s² for any L, far below log N here.

    q(z) = N(0, L Lᵀ) up to sampling, so kl_aggregate is near kl_gaussian.
    """
    d, sigma, n = 2, 0.5, 4000
    factor = random_posterior(1, d, mixing).mixing
    mean = gaussian_codes(n, sigma, d).mean @ factor.T
    posterior = Posterior(mean, np.full((n, d), sigma), factor)
    row = index_code_information.index_code_information(posterior, rng(), draws=2)
    assert row["nats"] == pytest.approx(-d * np.log(sigma), abs=0.05)
    expected = (np.trace(factor @ factor.T) - d) / 2 - np.linalg.slogdet(factor)[1]
    assert row["kl_aggregate"] == pytest.approx(expected, abs=0.06)
    assert row["kl_gaussian"] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
def test_surgery_adds_up_to_the_mean_kl(mixing):
    """mean KL(q(z|x_i) ‖ p), in closed form, = I(n; z) + KL(q(z) ‖ p)."""
    posterior = random_posterior(300, 3, mixing)
    matrices = posterior_covariances(posterior)
    trace = np.trace(matrices, axis1=1, axis2=2)
    squares = (posterior.mean**2).sum(1)
    mean_kl = ((trace + squares - 3 - np.linalg.slogdet(matrices)[1]) / 2).mean()
    row = index_code_information.index_code_information(posterior, rng(), draws=30)
    assert row["nats"] + row["kl_aggregate"] == pytest.approx(mean_kl, abs=0.05)
    assert 0 < row["nats"] < row["log_n"]
    assert row["kl_gaussian"] < row["kl_aggregate"]


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 5))
@settings(deadline=None, max_examples=20)
def test_information_is_invariant_to_rotation_of_isotropic_codes(seed, d):
    draw = rng(seed)
    sigma = np.repeat(draw.uniform(0.05, 1, (20, 1)), d, 1)
    posterior = Posterior(draw.normal(size=(20, d)), sigma, np.eye(d))
    rotation = ortho_group.rvs(d, random_state=draw)
    noise = draw.normal(size=(20, d))
    rotated = Posterior(posterior.mean @ rotation.T, sigma, np.eye(d))
    assert_allclose(information(rotated, noise @ rotation.T), information(posterior, noise))


@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-6, 2))
@settings(deadline=None, max_examples=20)
def test_information_is_invariant_to_the_units_of_each_dimension(seed, exponent):
    """Stretching codes by s per dimension, in σ or on L's side, leaves I; and I ≤ log N."""
    draw = rng(seed)
    posterior = random_posterior(20, 3, seed=seed)
    noise, stretch = draw.normal(size=(20, 3)), 10**exponent * draw.uniform(1, 2, 3)
    stretched = Posterior(posterior.mean * stretch, posterior.sigma * stretch, posterior.mixing)
    moved = Posterior(posterior.mean, posterior.sigma / stretch[0], posterior.mixing * stretch[0])
    expected = information(posterior, noise)
    assert_allclose(information(stretched, noise), expected)
    assert_allclose(information(moved, noise), expected)
    assert expected <= np.log(20) + 1e-12


@pytest.mark.parametrize("sigma", [1e-3, 1e-6, 1e-12])
def test_small_sigma_does_not_cancel(sigma):
    """Two codes one σ apart, far from 0: multiplied-out squares would lose the difference."""
    mean = np.array([[3.0, -2.0], [3.0 + sigma, -2.0]])
    factor = np.array([[1.0, 0.0], [0.5, 2.0]])
    posterior = Posterior(mean, np.full((2, 2), sigma), factor)
    separation = (np.linalg.inv(factor) @ ((mean[1] - mean[0]) / sigma)) @ (
        np.linalg.inv(factor) @ ((mean[1] - mean[0]) / sigma)
    )
    own, aggregate = log_densities(posterior, np.zeros((2, 2)), np.arange(2))
    expected = -np.log((1 + np.exp(-separation / 2)) / 2)
    assert_allclose(own - aggregate, expected, atol=1e-10)


def test_far_codes_do_not_underflow():
    posterior = Posterior(np.array([[0.0], [1e6]]), np.full((2, 1), 1e-3), np.eye(1))
    own, aggregate = log_densities(posterior, np.array([[5e8]]), np.array([0]))
    assert np.isfinite(own).all() and np.isfinite(aggregate).all()


def every_pair(
    posterior: Posterior, noise: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """log q(z_i|x_j), (n, N), by whitening every difference, and log q(z_i)."""
    apart = posterior.mean[owner][:, None] - posterior.mean
    scaled = (apart + displaced(posterior, noise, owner)[:, None]) / posterior.sigma
    whitened = scaled @ np.linalg.inv(posterior.mixing).T
    log_determinant = np.linalg.slogdet(posterior.mixing)[1] + np.log(posterior.sigma).sum(1)
    d = noise.shape[1]
    pairs = -(whitened**2).sum(2) / 2 - log_determinant - d / 2 * np.log(2 * np.pi)
    return pairs, logsumexp(pairs, axis=1) - np.log(len(posterior.mean))


@pytest.mark.parametrize("mixing", ["identity", "diagonal", "full"])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.05, 0.2, 0.5, 1])
def test_ruling_images_out_changes_no_digit(mixing, scale):
    """From all images far apart to all of them near, and codes far off their means, too."""
    posterior = random_posterior(400, 3, mixing)
    posterior = Posterior(posterior.mean, posterior.sigma * scale, posterior.mixing)
    owner = rng(2).permutation(400)
    for noise in (rng(1).normal(size=(400, 3)), rng(1).normal(size=(400, 3)) * 5):
        pairs, expected = every_pair(posterior, noise, owner)
        own, aggregate = log_densities(posterior, noise, owner)
        assert_allclose(own, pairs[np.arange(400), owner], rtol=1e-11)
        assert_allclose(aggregate, expected, rtol=1e-11, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 12), exponent=st.floats(-12, 3))
@settings(deadline=None, max_examples=50)
def test_what_rules_images_out_is_a_lower_bound(seed, d, exponent):
    """Of −2 log q, also for codes a fraction of σ off a mean, where the bound cancels."""
    draw = rng(seed)
    given = random_posterior(30, d, seed=seed)
    sigma = given.sigma * 10 ** (exponent + draw.uniform(-1, 1, given.sigma.shape))
    posterior = Posterior(given.mean, sigma, given.mixing)
    noise, owner = draw.normal(size=(30, d)) + 0.1, np.arange(30)
    codes = posterior.mean + displaced(posterior, noise, owner)
    norm = np.linalg.norm(given.mixing, 2)
    log_normaliser = every_pair(posterior, noise * 0, owner)[0].diagonal()
    factors = _bounds(codes, posterior.mean.T, 1 / sigma.T, norm, log_normaliser)
    exact = -2 * every_pair(posterior, noise, owner)[0]
    assert (factors[0] @ factors[1] <= exact + 1e-9).all()


@pytest.mark.parametrize("mixing", ["identity", "full"])
@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("sigma", [1, 1e-3, 1e-9, 1e-15, 1e-18, 1e-30])
def test_densities_in_80_digits(mixing, offset, sigma):
    """Also where z − μ, in float64, is 0 or mere rounding, and of two images that are equal."""
    given = random_posterior(6, 2, mixing)
    mean = given.mean + offset
    mean[1], mean[2] = mean[0], mean[0] * (1 + 1e-16)
    posterior = Posterior(mean, given.sigma * sigma, given.mixing)
    posterior.sigma[1] = posterior.sigma[0]
    noise, owner = rng(3).normal(size=(12, 2)), np.repeat(np.arange(6), 2)
    own, aggregate = log_densities(posterior, noise, owner)
    (a, b), (c, d) = ([mpmath.mpf(value) for value in row] for row in posterior.mixing)
    with mpmath.workdps(80):
        for k, (image, (e0, e1)) in enumerate(zip(owner, noise.tolist(), strict=True)):
            step = a * e0 + b * e1, c * e0 + d * e1
            z = [mpmath.mpf(mean[image, j]) + posterior.sigma[image, j] * step[j] for j in (0, 1)]
            logs = []
            for centre, (s0, s1) in zip(mean, posterior.sigma, strict=True):
                u, v = (z[0] - centre[0]) / s0, (z[1] - centre[1]) / s1
                x, y = (d * u - b * v) / (a * d - b * c), (a * v - c * u) / (a * d - b * c)
                volume = mpmath.log(2 * mpmath.pi * s0 * s1 * (a * d - b * c))
                logs.append(-(x * x + y * y) / 2 - volume)
            assert own[k] == pytest.approx(float(logs[image]), rel=1e-13)
            mixture = mpmath.log(sum(map(mpmath.exp, logs)) / 6)
            assert aggregate[k] == pytest.approx(float(mixture), rel=1e-12)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("sigma", [1e-6, 1e-12, 1e-16, 1e-18, 1e-38])
def test_spikes_have_the_kl_of_a_closed_form(sigma, offset):
    """q(z) of n spikes far apart: log q(z) = log q(z|x_i) − log n at the codes of x_i, so that
    KL(q ‖ p) = −d log σ − d/2 − log n + mean ‖μ_i‖²/2 + dσ²/2, and I = log n."""
    n, d = 100, 3
    mean = rng(1).normal(size=(n, d)) + offset
    posterior = Posterior(mean, np.full((n, d), sigma), np.eye(d))
    row = index_code_information.index_code_information(posterior, rng(), draws=40)
    squares = (mean**2).sum(1).mean() / 2
    expected = -d * np.log(sigma) - d / 2 - np.log(n) + squares
    assert row["nats"] == pytest.approx(np.log(n), abs=1e-12)
    # 4,000 codes: the standard error of ‖ε‖²/2 is .02; it was d/2 = 1.5 too high
    assert row["kl_aggregate"] == pytest.approx(
        expected, abs=0.08 + squares * 1e-4 * (sigma > 1e-9)
    )


@pytest.mark.parametrize("threads", [2, 3, 50])
def test_information_does_not_depend_on_threads(threads):
    """Nor, therefore, on how the codes are split into parts."""
    posterior = random_posterior(40, 3)
    measure = index_code_information.index_code_information
    assert measure(posterior, rng(1)) == measure(posterior, rng(1), threads=threads)


def test_deterministic_codes_have_the_entropy_of_the_index():
    mean = rng().normal(size=(100, 3))
    measure = index_code_information.index_code_information
    row = measure(Posterior(mean, np.zeros((100, 3)), np.eye(3)), rng())
    assert row["nats"] == row["log_n"] == np.log(100)
    assert row["kl_aggregate"] is None
    assert row["kl_gaussian"] == pytest.approx(gaussian_kl(mean))
    mean[1] = mean[0]  # two images told apart no more: they lose log 2 each
    row = measure(Posterior(mean, np.zeros((100, 3)), np.eye(3)), rng())
    assert row["nats"] == pytest.approx(np.log(100) - 2 / 100 * np.log(2))


def test_gaussian_kl_against_monte_carlo_and_where_it_is_infinite():
    codes = rng().normal(size=(500, 3)) @ np.diag([0.5, 1, 2]) + 1
    fitted = multivariate_normal(codes.mean(0), np.cov(codes.T, ddof=0))
    drawn = fitted.rvs(400_000, random_state=1)
    ratio = fitted.logpdf(drawn) - multivariate_normal(np.zeros(3), np.eye(3)).logpdf(drawn)
    assert gaussian_kl(codes) == pytest.approx(ratio.mean(), abs=0.03)
    assert gaussian_kl(np.column_stack([codes, np.ones(500)])) is None
    assert gaussian_kl(codes[:3]) is None


@pytest.mark.parametrize(
    ("posterior", "message"),
    [
        (Posterior(np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 1.0]]), np.eye(2)), "sigma is 0"),
        (Posterior(np.zeros((2, 2)), np.ones((2, 2)), np.diag([1.0, 0.0])), "singular"),
    ],
)
def test_codes_without_a_density_are_a_user_error(posterior, message):
    with pytest.raises(UserError, match=message):
        index_code_information.index_code_information(posterior, rng())


def test_memory_grows_with_n_and_not_with_its_square():
    n, d = 3000, 4
    posterior = random_posterior(n, d)
    tracemalloc.start()
    try:
        index_code_information.index_code_information(posterior, rng())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 8 * d * n < 8 * n * n


# --- the command


def measured() -> dict[str, dict[str, object]]:
    """Every measure of a posterior alone, with its protocol in a config."""
    schema = yaml.safe_load((SOURCE.parent / "workflow/schemas/config.schema.yaml").read_text())
    dataset = parse(TINY, schema).experiment.datasets["digits"]
    return {
        name: vars(getattr(dataset, measure.protocol)) if measure.protocol else {}
        for name, measure in MEASURES.items()
        if measure.rows
    }


PROTOCOLS = measured()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"run": asdict(TRAINED)}))
    save(tmp_path / "posterior.npz", random_posterior(30, 3))
    return tmp_path


def flags(files: Path, protocols: dict = PROTOCOLS, **others: object) -> list[str]:
    options = {"posterior": files / "posterior.npz", "run": files / "run.json", "output": files}
    options |= {"protocols": json.dumps(protocols)} | others
    return [str(part) for name, value in options.items() for part in (f"--{name}", value)]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hebae.measures.measure", *arguments],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )


def table(files: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((files / f"{name}.csv").read_text().splitlines()))


def test_command_writes_the_tables_and_repeats_itself(files):
    outcome = run_command(*flags(files))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert {path.stem for path in files.glob("*.csv")} == set(PROTOCOLS)
    before = {path: path.read_bytes() for path in files.glob("*.csv")}
    for name, columns, count in (
        ("covariance", ["which", "i", "j", "covariance", "correlation", "n_codes"], 18),
        ("active_units", ["dimension", "mean_variance", "noise_variance", "active"], 3),
        ("mutual_information", ["protocol", "dimension", "mic", "tic", "ties"], 3),
        ("index_code_information", ["nats", "log_n", "kl_aggregate", "kl_gaussian"], 1),
    ):
        rows = table(files, name)
        assert list(rows[0]) == [*RUN, *columns]
        assert len(rows) == count
        assert all(row["weight"] == "0.1" and row["seed"] == "7" for row in rows)
    run_command(*flags(files, threads=2))
    assert {path: path.read_bytes() for path in before} == before


def test_a_measure_is_the_same_alone_and_beside_the_others(files):
    measure.main(flags(files))
    together = {name: table(files, name) for name in PROTOCOLS}
    for name, protocol in PROTOCOLS.items():
        measure.main(flags(files, {name: protocol}))
        assert table(files, name) == together[name]


@pytest.mark.parametrize("protocol", ["indices_draws", "mean_vs_sample"])
def test_measures_draw_from_a_stream_of_their_name(files, protocol):
    """Other numbers would be other results."""
    posterior = Posterior.load(files / "posterior.npz")

    def stream(name):
        return rng(derive_seed(7, name))

    assert covariance.rows(posterior, TRAINED, 1) == covariance.covariance(
        posterior, stream("covariance")
    )
    assert index_code_information.rows(posterior, TRAINED, 1) == [
        index_code_information.index_code_information(posterior, stream("index_code_information"))
    ]
    counts = dict(indices=4, draws=10, sets=2)
    options = counts if protocol == "indices_draws" else {}
    scores = getattr(mutual_information, protocol)(
        posterior, stream(f"mutual_information/{protocol}"), **options
    )
    rows = mutual_information.rows(posterior, TRAINED, 1, protocol, **counts)
    assert [(row["mic"], row["tic"]) for row in rows] == [tuple(score) for score in scores.tolist()]


@pytest.mark.parametrize("name", ["covariance", "mutual_information", "index_code_information"])
def test_another_seed_draws_other_samples(files, name):
    tables = []
    for seed in (1, 2):
        (files / "run.json").write_text(json.dumps({"run": asdict(TRAINED) | {"seed": seed}}))
        measure.main(flags(files))
        tables.append([{**row, "seed": ""} for row in table(files, name)])
    assert tables[0] != tables[1]


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_command_reports_a_bad_posterior_in_one_line(files, content):
    path = files / "posterior.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    outcome = run_command(*flags(files))
    assert outcome.returncode != 0
    assert outcome.stderr.startswith(f"error: {path}: ")
    assert outcome.stderr.count("\n") == 1
    assert not list(files.glob("*.csv"))


def test_command_reports_other_errors_in_one_line(files):
    many = {"mutual_information": PROTOCOLS["mutual_information"] | {"indices": 31}}
    outcome = run_command(*flags(files, many))
    assert outcome.returncode != 0 and outcome.stderr == (
        f"error: {files / 'posterior.npz'}: mutual_information.indices: 31 is more than the 30 "
        "images\n"
    )
    outcome = run_command(*flags(files, run=files / "none.json"))
    assert outcome.returncode != 0 and outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1


def test_measures_start_without_torch_and_pandas(files):
    code = (
        "import sys, hebae.measures.measure as m; m.main(sys.argv[1:]);"
        " print({'torch', 'pandas'} & set(sys.modules))"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code, *flags(files)],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert outcome.stdout == "set()\n"
