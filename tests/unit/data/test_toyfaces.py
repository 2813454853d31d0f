"""toyfaces: the contract, the same bytes always, and every factor visible where it should be."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from hebae.data import toyfaces
from hebae.data.toyfaces import FACTORS, JITTER

SIZES = [len(names) for names in FACTORS.values()]


@pytest.fixture(scope="module")
def arrays():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toyfaces, "N_TRAIN", 300)
        patch.setattr(toyfaces, "N_TEST", 100)
        return toyfaces.load(Path("no such directory"))


def faces(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random labels and jitter."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, SIZES, (n, len(SIZES))), rng.uniform(-1, 1, (n, len(JITTER)))


def varied(factor: str, n: int = 24) -> np.ndarray:
    """Images (classes, n, 64, 64, 3), float, of n faces with each class of one factor."""
    labels, jitter = faces(n)
    images = []
    for label in range(len(FACTORS[factor])):
        labels[:, list(FACTORS).index(factor)] = label
        images.append(toyfaces.draw(labels, jitter))
    return np.stack(images).astype(float)


def test_arrays_are_as_announced(arrays):
    assert arrays.train_images.shape == (300, 64, 64, 3)
    assert arrays.test_images.shape == (100, 64, 64, 3)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.factors == tuple(FACTORS)
    for labels in (arrays.train_labels, arrays.test_labels):
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels.min(0), 0)
        np.testing.assert_array_equal(labels.max(0) + 1, SIZES)


def test_faces_are_the_same_every_time_and_no_two_are_alike(arrays, monkeypatch):
    monkeypatch.setattr(toyfaces, "N_TRAIN", 300)
    monkeypatch.setattr(toyfaces, "N_TEST", 100)
    for key, array in vars(toyfaces.load(Path())).items():
        np.testing.assert_array_equal(array, getattr(arrays, key))
    # between the splits and within them
    both = np.concatenate([arrays.train_images, arrays.test_images]).reshape(400, -1)
    assert len(np.unique(both, axis=0)) == 400
    # one stream for both would begin with the same labels
    assert (arrays.train_labels[:100] != arrays.test_labels).any(1).mean() > 0.9


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_bytes_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch, chunk):
    labels, jitter = faces(40)
    expected = toyfaces.draw(labels, jitter)
    monkeypatch.setattr(toyfaces, "CHUNK", chunk)
    np.testing.assert_array_equal(toyfaces.draw(labels, jitter), expected)


def test_classes_are_balanced_and_factors_independent(monkeypatch):
    monkeypatch.setattr(toyfaces, "draw", lambda labels, jitter: jitter)
    jitter, labels = toyfaces.generate(20_000, np.random.default_rng(0))
    for column, classes in zip(labels.T, SIZES, strict=True):
        assert chisquare(np.bincount(column, minlength=classes)).pvalue > 1e-4
    for a, b in combinations(range(len(SIZES)), 2):
        table = np.zeros((SIZES[a], SIZES[b]))
        np.add.at(table, (labels[:, a], labels[:, b]), 1)
        assert chi2_contingency(table).pvalue > 1e-4
    both = np.corrcoef(np.column_stack([labels, jitter]).T)
    assert np.abs(both - np.eye(len(both))).max() < 0.03  # four standard deviations
    assert np.abs(jitter).max() < 1


def test_windows_cut_nothing_off(monkeypatch):
    labels, jitter = faces(96)
    jitter = np.where(jitter > 0, 1.0, -1.0) * 0.999  # every shape as far out as it goes
    expected = toyfaces.draw(labels, jitter)
    monkeypatch.setattr(toyfaces._Canvas, "crop", lambda canvas, *_: canvas)
    np.testing.assert_array_equal(toyfaces.draw(labels, jitter), expected)


# Where each factor shows: rows and columns in which pixels may change, and do
REGIONS = {
    "skin": (slice(8, 64), slice(5, 59)),
    "hair_style": (slice(0, 64), slice(0, 64)),
    "hair_colour": (slice(0, 64), slice(0, 64)),
    "eye_colour": (slice(25, 46), slice(14, 50)),
    "gaze": (slice(25, 46), slice(14, 50)),
    "mouth": (slice(40, 59), slice(20, 44)),
    "glasses": (slice(24, 48), slice(8, 56)),
}


@pytest.mark.parametrize("factor", REGIONS)
def test_a_factor_changes_its_part_of_the_face(factor):
    images = varied(factor)
    for a, b in combinations(images, 2):
        changed = np.abs(a - b).max(-1)
        assert ((changed > 40).sum((1, 2)) >= 8).all()  # visible in every face
        changed[:, *REGIONS[factor]] = 0
        assert changed.max() == 0


def test_the_background_is_around_the_face():
    for a, b in combinations(varied("background"), 2):
        changed = np.abs(a - b)
        # the upper corners, but for a curl that reaches one of them
        corners = np.stack([changed[:, :3, :3], changed[:, :3, -3:]], 1).mean((2, 3)).max(-1)
        assert corners.min() > 30
        assert changed[:, 32:50, 24:40].max() == 0


def test_colours_are_those_of_their_names():
    def mean(factor: str, name: str, region: tuple[slice, slice]) -> np.ndarray:
        image = varied(factor)[FACTORS[factor].index(name)]
        return image[:, *region].mean((0, 1, 2))

    corner = slice(0, 3), slice(0, 3)
    red, green, blue = mean("background", "mint", corner)
    assert green > red and green > blue
    red, green, blue = mean("background", "rose", corner)
    assert red > green and red > blue
    cheek = slice(44, 48), slice(22, 42)
    tones = [mean("skin", name, cheek).mean() for name in FACTORS["skin"]]
    assert tones == sorted(tones, reverse=True)


def test_gaze_is_to_the_side_it_says():
    # the whites are brighter on the side that the pupils leave
    left, _, right = varied("gaze")[..., 30:42, 14:50, :].mean(-1)
    difference = (left - right).mean((0, 1))  # (columns,)
    darkest, brightest = difference[:18].argmin(), difference[:18].argmax()
    assert darkest < brightest
    darkest, brightest = difference[18:].argmin(), difference[18:].argmax()
    assert darkest < brightest


def test_edges_are_smooth():
    labels, jitter = faces(12)
    jitter = np.repeat(jitter, 41, 0)
    jitter[:, JITTER.index("x")] = np.tile(np.linspace(-0.5, 0.5, 41), 12)  # 2 pixels in all
    images = toyfaces.draw(np.repeat(labels, 41, 0), jitter).astype(float)
    images = images.reshape(12, 41, 64, 64, 3)
    steps = np.abs(np.diff(images, axis=1))
    # 1/20 of a pixel at a time, no pixel jumps: a hard edge would go all the way in one step
    assert steps.max() < 40
    assert (np.ptp(images, axis=1).max((1, 2, 3)) > 100).all()
    assert np.abs(np.diff(images.mean((2, 3, 4)), axis=1)).max() < 0.2
