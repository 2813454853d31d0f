"""Distances of second moments of draws of N(0, I) from I, against the draws themselves."""

from __future__ import annotations

import numpy as np
import pytest

from hebae.measures.covariance import correlation, moments
from hebae.measures.sampling_floor import (
    covariance_distance,
    floors,
    off_diagonal_correlation,
)


def simulated(n: int, d: int, repeats: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """‖Cov − I‖ and the root mean square correlation of n draws, as the measure takes them."""
    rng, off, found = np.random.default_rng(5), ~np.eye(d, dtype=bool), []
    for _ in range(repeats):
        matrix = moments(rng.normal(size=(n, d)))[1]
        correlations = np.array(correlation(matrix), float)[off]
        found.append((np.linalg.norm(matrix - np.eye(d)), np.sqrt((correlations**2).mean())))
    return tuple(np.array(found).T)


@pytest.mark.parametrize(("n", "d"), [(3, 2), (5, 3), (3, 6), (30, 2), (200, 8)])
def test_floors_are_what_draws_have(n, d):
    distances, correlations = simulated(n, d)
    of_distance, of_correlation = floors(n, d)
    assert of_distance.expected == covariance_distance(n, d)
    assert of_correlation.expected == off_diagonal_correlation(n)
    for floor, values in ((of_distance, distances), (of_correlation, correlations)):
        assert floor.expected == pytest.approx(np.sqrt((values**2).mean()), rel=0.05)
        # the standard error of a share of .025 of 3,000 is .003, and of 4,000 matrices .0025
        assert np.mean(values < floor.low - 1e-12) == pytest.approx(0.025, abs=0.014)
        assert np.mean(values > floor.high + 1e-12) == pytest.approx(0.025, abs=0.014)


@pytest.mark.parametrize(("n", "d"), [(4, 2), (3, 5)])
def test_the_closed_form_is_the_mean_square(n, d):
    """E‖Σ̂ − I‖² from 400,000 draws: the standard error is below half a per cent."""
    codes = np.random.default_rng(1).normal(size=(400_000, n, d))
    codes -= codes.mean(1, keepdims=True)
    square = ((codes.transpose(0, 2, 1) @ codes / n - np.eye(d)) ** 2).sum((1, 2)).mean()
    assert covariance_distance(n, d) ** 2 == pytest.approx(square, rel=0.02)


def test_one_draw_or_one_variable_has_no_correlation():
    assert floors(1, 3)[0] == pytest.approx((np.sqrt(3),) * 3)
    assert floors(1, 3)[1] is floors(9, 1)[1] is None


def test_floors_are_always_the_same_numbers():
    before = floors(60_000, 16)
    floors.cache_clear()
    assert floors(60_000, 16) == before
    assert before[0].low < before[0].expected < before[0].high < 0.1
