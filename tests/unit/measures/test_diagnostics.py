"""MMD² and log det over a split: against double loops, closed forms and their own null."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import binom
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.config.fields import to_json
from hebae.config.protocols import Diagnostics
from hebae.measures import diagnostics as module
from hebae.measures import index_code_information
from hebae.measures.diagnostics import (
    diagnostics,
    kernel_matrix,
    log_det,
    log_det_of_the_prior,
    main,
    mmd,
)

SOURCE = Path(__file__).parents[3] / "src"
TRAINED = changed(model="infovae", latent_dim=3, lam=0.1, seed=7)
COLUMNS = ["n_codes", "n_prior", "kernel", "mmd", "null_low", "null_high", "p_value", "log_det"]
COLUMNS += ["log_det_low", "log_det_high"]
KERNELS = ("imq", "gaussian")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def constants(d: int) -> list[float]:
    return [2 * d * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]


def kernel_value(kernel: str, a: np.ndarray, b: np.ndarray) -> float:
    squared = math.dist(a, b) ** 2
    if kernel == "imq":
        return sum(c / (c + squared) for c in constants(len(a)))
    return sum(math.exp(-squared / c) for c in constants(len(a)))


def double_loop(kernel: str, codes: np.ndarray, prior: np.ndarray) -> float:
    """Gretton et al. 2012, Lemma 6, as it stands there."""

    def within(points: np.ndarray) -> float:
        n = len(points)
        values = [
            kernel_value(kernel, points[i], points[j]) for i in range(n) for j in range(n) if i != j
        ]
        return sum(values) / (n * (n - 1))

    crossed = [kernel_value(kernel, code, sample) for code in codes for sample in prior]
    return within(codes) + within(prior) - 2 * sum(crossed) / len(crossed)


def standard_errors_from(values: list[float], expected: float) -> float:
    return abs(np.mean(values) - expected) / (np.std(values, ddof=1) / len(values) ** 0.5)


# --- the estimate


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (9, 4, 3), (5, 13, 2)])
def test_estimate_is_the_double_loop_for_unequal_sizes(kernel, n, m, d):
    codes, prior = rng().normal(0.5, 1.3, (n, d)), rng(1).normal(size=(m, d))
    estimate = mmd(codes, prior, kernel, permutations=1).estimate
    assert estimate == pytest.approx(double_loop(kernel, codes, prior), abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_chunks_and_threads_change_nothing(kernel):
    codes, prior = rng().normal(0.2, 1, (41, 3)), rng(1).normal(size=(23, 3))
    expected = mmd(codes, prior, kernel, 30, rng(2))
    for chunk in (1, 7, 41, 63, 64, 65):
        result = mmd(codes, prior, kernel, 30, rng(2), chunk)
        assert_allclose(result, expected, rtol=0, atol=1e-13)
        for threads in (2, 5):
            assert mmd(codes, prior, kernel, 30, rng(2), chunk, threads) == result


@pytest.mark.parametrize("kernel", KERNELS)
def test_estimate_is_unbiased_and_negative_values_are_kept(kernel):
    """E = 0 for q = p; the diagonal in one of the two within terms would add over 1 here."""
    draw = rng()
    estimates = [
        mmd(draw.normal(size=(5, 2)), draw.normal(size=(3, 2)), kernel, 1).estimate
        for _ in range(2000)
    ]
    assert standard_errors_from(estimates, 0) < 3.5
    assert min(estimates) < -0.1
    assert 0.3 < np.mean(np.array(estimates) < 0) < 0.8


def expected_kernel(kernel: str, d: int, variance: float, distance: float) -> float:
    """E k(x, y) for x − y ~ N(δ, v I) in d dimensions, ‖δ‖² = `distance`.

    A square t² of N(δ, v) has E exp(−u t²) = (1 + 2uv)^(−1/2) exp(−u δ²/(1 + 2uv)), by completing
    the square: u t² + (t − δ)²/(2v) is (1 + 2uv)/(2v) · (t − δ/(1 + 2uv))² + u δ²/(1 + 2uv).
    The dimensions are independent, so their product is

        E exp(−u‖x − y‖²) = (1 + 2uv)^(−d/2) exp(−u‖δ‖²/(1 + 2uv)).

    The Gaussian kernel has u = 1/C: (C/(C + 2v))^(d/2) exp(−‖δ‖²/(C + 2v)). The inverse
    multiquadratic is a mixture of Gaussians, C/(C + r) = ∫ e^(−t) e^(−t r/C) dt over t > 0.
    """

    def gaussian(u: float) -> float:
        spread = 1 + 2 * u * variance
        return spread ** (-d / 2) * math.exp(-u * distance / spread)

    if kernel == "gaussian":
        return sum(gaussian(1 / c) for c in constants(d))
    return sum(
        quad(lambda t, c=c: math.exp(-t) * gaussian(t / c), 0, math.inf)[0] for c in constants(d)
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 0.5), (0.6, 1.0), (-0.4, 1.5)])
def test_estimate_has_the_closed_form_between_gaussians(kernel, shift, scale):
    """MMD² of N(m, s² I) and N(0, I) = E k(x, x') + E k(y, y') − 2 E k(x, y).

    The differences are N(0, 2s² I), N(0, 2 I) and N(m, (1 + s²) I).
    """
    d = 3
    expected = (
        expected_kernel(kernel, d, 2 * scale**2, 0)
        + expected_kernel(kernel, d, 2, 0)
        - 2 * expected_kernel(kernel, d, 1 + scale**2, d * shift**2)
    )
    draw = rng(1)
    estimates = [
        mmd(draw.normal(shift, scale, (60, d)), draw.normal(size=(90, d)), kernel, 1).estimate
        for _ in range(400)
    ]
    assert standard_errors_from(estimates, expected) < 3.5
    assert np.std(estimates) / 20 < 0.06 * expected  # so that 3.5 of them are a test


@pytest.mark.parametrize("kernel", KERNELS)
def test_heaps_far_apart_are_as_far_as_can_be(kernel):
    """k = 7 within either and 0 across."""
    codes, prior = np.zeros((5, 3)), np.full((4, 3), 2.0**20)
    assert mmd(codes, prior, kernel, 1).estimate == pytest.approx(14, abs=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_two_points_are_closer_than_equal_ones(kernel):
    """Far from 0 rounding takes the squared distance of equal points to either side of 0."""
    points = rng().normal(size=(50, 3)) * 1e7
    matrix = kernel_matrix(points, points, kernel)
    assert matrix.min() >= 0 and matrix.max() <= 7 + 1e-12


@pytest.mark.parametrize(("n", "m"), [(1, 5), (5, 1)])
def test_a_single_point_has_no_estimate(n, m):
    with pytest.raises(ValueError, match="two points of either kind"):
        mmd(np.zeros((n, 2)), np.zeros((m, 2)))


def test_memory_does_not_grow_with_the_square():
    codes, prior = rng().normal(size=(1500, 2)), rng(1).normal(size=(1500, 2))
    tracemalloc.start()
    try:
        mmd(codes, prior, permutations=20, chunk=128)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6 < 8 * 3000**2 / 30


# --- the permutations


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_interval_and_p_value_are_those_of_a_loop_over_relabellings(kernel, shift):
    codes, prior = rng(5).normal(shift, 1, (8, 2)), rng(6).normal(size=(5, 2))
    result = mmd(codes, prior, kernel, permutations=30, rng=rng(3), chunk=4)
    pooled, draw, null = np.concatenate([codes, prior]), rng(3), []
    for _ in range(30):
        order = draw.permutation(13)
        null.append(double_loop(kernel, pooled[order[:8]], pooled[order[8:]]))
    exceeding = sum(value >= double_loop(kernel, codes, prior) for value in null)
    assert 1 < exceeding < 29  # else any count would do
    assert result.p_value == pytest.approx((1 + exceeding) / 31)
    null.sort()
    # linear between the order statistics: .025 · 29 = .725 and .975 · 29 = 28.275
    assert result.null_low == pytest.approx(0.275 * null[0] + 0.725 * null[1], abs=1e-12)
    assert result.null_high == pytest.approx(0.725 * null[28] + 0.275 * null[29], abs=1e-12)


def test_relabelled_estimates_that_equal_the_observed_one_count():
    result = mmd(np.zeros((4, 1)), np.zeros((4, 1)), permutations=9, rng=rng())
    assert result == (0, 0, 0, 1)


def test_relabellings_without_a_generator_are_always_the_same():
    codes, prior = rng().normal(size=(20, 2)), rng(1).normal(size=(30, 2))
    assert mmd(codes, prior) == mmd(codes, prior) == mmd(codes, prior, rng=rng(0))
    assert mmd(codes, prior) != mmd(codes, prior, rng=rng(1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_p_values_are_uniform_where_q_is_p(kernel):
    """Each of 1/40, ..., 40/40 has the same chance.

    The ends of the interval are .95 of the way from the first to the second of the 39 relabelled
    estimates (.025 · 38), and so at the other end: the observed one is outside with about 2 · 1.95
    of the 40 ranks it can have.
    """
    draw, repeats = rng(2), 400
    results = [
        mmd(draw.normal(size=(12, 2)), draw.normal(size=(17, 2)), kernel, 39, draw)
        for _ in range(repeats)
    ]
    p_values = np.array([result.p_value for result in results])
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        low, high = binom.interval(0.999, repeats, level)
        assert low <= np.count_nonzero(p_values <= level + 1e-9) <= high
    outside = sum(not r.null_low <= r.estimate <= r.null_high for r in results)
    low, high = binom.interval(0.999, repeats, 2 * 1.95 / 40)
    assert low <= outside <= high


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("shift", "scale"), [(0.7, 1), (0, 0.4), (0, 2)])
def test_codes_off_the_prior_have_the_smallest_p_value(kernel, shift, scale):
    codes, prior = rng().normal(shift, scale, (100, 3)), rng(1).normal(size=(150, 3))
    result = mmd(codes, prior, kernel, 199, rng(2))
    assert result.p_value == 1 / 200
    assert result.estimate > 2 * result.null_high > 0 > result.null_low


def test_codes_more_even_than_samples_lie_below_the_interval():
    """What a fitted encoder can do: quantiles of N(0, I)'s radius along a golden spiral."""
    index = np.arange(300)
    radius, angle = np.sqrt(-2 * np.log((index + 0.5) / 300)), 2 * np.pi * 0.618034 * index
    codes = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    result = mmd(codes, rng(1).normal(size=(2000, 2)), rng=rng(2))
    assert result.estimate < result.null_low < 0
    assert result.p_value > 0.95


# --- log det


def test_kernels_and_scales_are_those_of_training():
    """Stated twice, since measures do without torch."""
    from hebae.measures import diagnostics as measure
    from hebae.models.divergences import mmd as training

    assert tuple(measure.SCALES) == tuple(training.SCALES)
    assert set(measure.KERNELS) == set(training.KERNELS)
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((40, 3)) + 0.5, rng.standard_normal((30, 3))
    constants = [2 * 3 * scale for scale in training.SCALES]
    for kernel in training.KERNELS:
        ours = mmd(a, b, kernel, permutations=1).estimate
        theirs = training.mmd_squared(torch.from_numpy(a), torch.from_numpy(b), constants, kernel)
        assert ours == pytest.approx(theirs.item(), abs=1e-12)


def test_log_det_of_a_matrix_made_by_hand():
    """Covariance diag(9/2, 1/2), 1/N; a linear map adds twice the log of its determinant."""
    codes = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert log_det(codes) == pytest.approx(math.log(9 / 4), abs=1e-14)
    mixed = codes @ np.array([[1.0, 0.5], [0, 2]]) + 10
    assert log_det(mixed) == pytest.approx(math.log(9 / 4) + 2 * math.log(2), abs=1e-12)


def test_log_det_of_the_prior_is_near_0_and_of_twice_the_prior_d_log_4():
    """Its standard deviation is √(2d/N), .02."""
    codes = rng().normal(size=(20_000, 5))
    assert log_det(codes) == pytest.approx(0, abs=0.07)
    assert log_det(2 * codes) == pytest.approx(log_det(codes) + 5 * math.log(4), abs=1e-12)


def test_log_det_of_a_singular_covariance_is_empty():
    codes = rng().normal(size=(50, 3))
    assert log_det(np.column_stack([codes, np.full(50, 0.1)])) is None
    assert log_det(np.column_stack([codes, codes @ [1, 2, 3]])) is None
    assert log_det(codes[:3]) is None
    assert log_det(codes[:4]) is not None


@pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-12, 1e-170, 1e150])
def test_log_det_of_a_dimension_of_any_scale(scale):
    """Scaling one dimension by s adds 2 log s, and log det of a shifted float32 is its own."""
    codes = rng().normal(size=(500, 4)) @ rng(1).normal(size=(4, 4))
    expected = np.linalg.slogdet(np.cov(codes.T, ddof=0))[1] + 2 * math.log(scale)
    codes[:, 1] *= scale
    assert log_det(codes) == pytest.approx(expected, rel=1e-12)
    kl = index_code_information.gaussian_kl(codes)
    mean, variance = codes.mean(0), codes.var(0)
    assert kl == pytest.approx((variance.sum() + mean @ mean - 4 - expected) / 2, rel=1e-12)


def test_log_det_of_codes_far_from_0():
    codes = rng().normal(size=(500, 4))
    codes[:, 1] *= 1e-8
    expected = np.linalg.slogdet(np.cov((codes * [1, 1e8, 1, 1]).T, ddof=0))[1]
    expected -= 2 * math.log(1e8)
    # 1,000 has 13 decimals in float64: five digits of a deviation of 1e-8
    assert log_det(codes + 1000) == pytest.approx(expected, abs=1e-5)
    single = (codes * [1, 1e8, 1, 1] + 1000).astype(np.float32)
    assert log_det(single) == pytest.approx(
        np.linalg.slogdet(np.cov(single.T.astype(float), ddof=0))[1], abs=1e-9
    )
    assert log_det((codes + 1000).astype(np.float32)) is None  # all of 1e-8 is lost
    dependent = np.column_stack([codes, codes @ [1, 0, 2, 3]]) + 1000
    assert log_det(dependent) is None


@pytest.mark.parametrize(("n", "d"), [(5, 2), (50, 8), (400, 3)])
def test_log_det_of_the_prior_is_what_samples_of_it_have(n, d):
    rng = np.random.default_rng(4)
    samples = [log_det(rng.standard_normal((n, d))) for _ in range(2000)]
    low, high = log_det_of_the_prior(n, d)
    within = np.mean([low < value < high for value in samples])
    assert within == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))
    assert np.mean(np.array(samples) < low) == pytest.approx(0.025, abs=0.014)
    assert log_det_of_the_prior(d, d) is None


def test_log_det_of_many_dimensions_does_not_underflow():
    codes = 1e-3 * rng().normal(size=(2000, 100))
    assert log_det(codes) == pytest.approx(200 * math.log(1e-3), rel=0.01)


# --- both together


def random_posterior(n: int, d: int = 3, seed: int = 0) -> Posterior:
    draw = rng(seed)
    mixing = np.array([[1.0, 0, 0], [0.4, 0.8, 0], [0, 0.3, 1.2]])[:d, :d]
    return Posterior(draw.normal(size=(n, d)), draw.uniform(0.2, 1, (n, d)), mixing)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_is_of_one_code_an_image_against_samples_of_the_prior(kernel):
    posterior = random_posterior(12)
    row = diagnostics(posterior, rng(1), kernel, permutations=5, n_prior=9)
    assert list(row) == COLUMNS
    assert (row["n_codes"], row["n_prior"], row["kernel"]) == (12, 9, kernel)
    draw = rng(1)
    noise, prior = draw.standard_normal((12, 3)), draw.standard_normal((9, 3))
    codes = posterior.mean + posterior.sigma * (noise @ posterior.mixing.T)
    assert row["mmd"] == pytest.approx(double_loop(kernel, codes, prior), abs=1e-12)
    _, expected = np.linalg.slogdet(np.cov(codes.T, ddof=0))
    assert row["log_det"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "samples"), [(2, 2000), (2500, 2500), (10_000, 10_000), (60_000, 10_000)]
)
def test_samples_of_the_prior_are_as_many_as_codes_within_bounds(monkeypatch, images, samples):
    sizes = []

    def counted(codes, prior, *_, **__):
        sizes.append((len(codes), len(prior)))
        return module.Mmd(0, 0, 0, 1)

    monkeypatch.setattr(module, "mmd", counted)
    row = diagnostics(random_posterior(images), rng())
    assert sizes == [(row["n_codes"], row["n_prior"])] == [(images, samples)]


def test_posteriors_that_make_up_the_prior_are_found_at_it_and_collapsed_means_are_not():
    """μ ~ N(0, .75), σ² = .25 add to N(0, I); without σ they fall short of it."""
    mean = rng(3).normal(0, 0.75**0.5, (400, 3))
    whole = diagnostics(Posterior(mean, np.full((400, 3), 0.5), np.eye(3)), rng())
    short = diagnostics(Posterior(mean, np.zeros((400, 3)), np.eye(3)), rng())
    assert whole["p_value"] > 0.05 and whole["log_det"] == pytest.approx(0, abs=0.4)
    assert short["p_value"] < 0.05
    assert short["log_det"] == pytest.approx(3 * math.log(0.75), abs=0.4)


def test_no_threads_are_a_user_error():
    with pytest.raises(UserError, match="is 0; it must be at least 1"):
        diagnostics(random_posterior(5), rng(), threads=0)


# --- the command


def save(path: Path, posterior: Posterior) -> None:
    names = ("mean", "sigma", "mixing")
    np.savez(path, **{name: getattr(posterior, name).astype(np.float32) for name in names})


@pytest.fixture
def files(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"run": asdict(TRAINED), "n_train": 40}))
    save(tmp_path / "posterior.npz", random_posterior(30))
    save(tmp_path / "posterior_train.npz", random_posterior(40, seed=1))
    names = {
        "posterior": "posterior.npz",
        "train-posterior": "posterior_train.npz",
        "run": "run.json",
        "output": "table.csv",
    }
    return {name: tmp_path / file for name, file in names.items()}


def flags(
    files: dict[str, Path], *more: object, kernel: str = "imq", permutations: int = 200
) -> list[str]:
    paths = [part for name, path in files.items() for part in (f"--{name}", path)]
    protocol = ("--protocol", to_json(Diagnostics(kernel, permutations)))
    return [str(part) for part in (*paths, *protocol, *more)]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hebae.measures.diagnostics", *arguments],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )


def test_command_writes_a_row_for_either_split_and_repeats_itself(files):
    outcome = run_command(*flags(files))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    content = files["output"].read_bytes()
    rows = list(csv.DictReader(content.decode().splitlines()))
    assert list(rows[0]) == [*TRAINED.identity, "n_train", "split", *COLUMNS]
    for row, split, name in zip(
        rows, ("train", "test"), ("train-posterior", "posterior"), strict=True
    ):
        seed = derive_seed(TRAINED.seed, f"diagnostics/{split}")
        expected = diagnostics(Posterior.load(files[name]), rng(seed))
        # rounding may differ by the number of BLAS's threads, which the command sets to one
        for column in COLUMNS[3:]:
            assert float(row.pop(column)) == pytest.approx(expected.pop(column), rel=1e-9)
        expected = TRAINED.identity | dict(n_train=40, split=split) | expected
        assert row == {column: str(value) for column, value in expected.items()}
    files["output"].unlink()
    outcome = run_command(*flags(files, "--threads", 2))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    # by a command too: in this process BLAS may round in another way
    assert files["output"].read_bytes() == content


def test_command_takes_kernel_and_permutations(files):
    main(flags(files, kernel="gaussian", permutations=4))
    rows = list(csv.DictReader(files["output"].read_text().splitlines()))
    assert [row["kernel"] for row in rows] == ["gaussian"] * 2
    assert {row["p_value"] for row in rows} <= {"0.2", "0.4", "0.6", "0.8", "1.0"}


def test_another_seed_draws_other_samples(files):
    tables = []
    for seed in (1, 2):
        record = {"run": asdict(TRAINED) | {"seed": seed}, "n_train": 40}
        files["run"].write_text(json.dumps(record))
        main(flags(files))
        rows = csv.DictReader(files["output"].read_text().splitlines())
        tables.append([row["mmd"] for row in rows])
    assert not {*tables[0]} & {*tables[1]} and len({*tables[0], *tables[1]}) == 4


def test_a_singular_covariance_is_an_empty_field(files):
    save(files["posterior"], Posterior(np.ones((30, 3)), np.zeros((30, 3)), np.eye(3)))
    main(flags(files, permutations=2))
    rows = list(csv.DictReader(files["output"].read_text().splitlines()))
    assert rows[1]["log_det"] == "" != rows[0]["log_det"]


@pytest.mark.parametrize("name", ["posterior", "train-posterior", "run"])
@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_command_reports_a_bad_file_in_one_line(files, name, content):
    files[name].unlink()
    if content is not None:
        files[name].write_bytes(content)
    with pytest.raises(UserError) as error:
        main(flags(files))
    assert str(error.value).startswith(f"{files[name]}: ") and "\n" not in str(error.value)
    assert not files["output"].exists()


@pytest.mark.parametrize("name", ["posterior", "train-posterior"])
def test_command_reports_a_posterior_of_one_image(files, name):
    save(files[name], random_posterior(1))
    with pytest.raises(UserError, match=r"posterior.*\.npz: one image only"):
        main(flags(files))


def test_command_reports_a_run_without_n_train(files):
    files["run"].write_text(json.dumps({"run": asdict(TRAINED)}))
    with pytest.raises(UserError, match=r"run\.json: .*n_train"):
        main(flags(files))


@pytest.mark.parametrize("protocol", ["", "3", '{"kernel":"imq"}', '{"kernel":1,"permutations":2}'])
def test_command_reports_what_is_no_protocol_in_one_line(files, protocol):
    with pytest.raises(UserError, match="not the description of a Diagnostics: ") as error:
        main(flags(files, "--protocol", protocol))
    assert "\n" not in str(error.value)
    assert not files["output"].exists()


def test_command_starts_without_torch_and_pandas():
    code = "import sys, hebae.measures.diagnostics; print({'torch', 'pandas'} & set(sys.modules))"
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert outcome.stdout == "set()\n"
