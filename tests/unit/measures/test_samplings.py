"""What is decoded besides samples of the prior, and the distances of it."""

# ruff: noqa: F401, F811 (fixtures are imported, then named as arguments)

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.measures.test_features import call, digits_data, digits_features, one_line
from tests.unit.measures.test_fid import digits_reference, digits_run, real

from hebae.base import files
from hebae.base.errors import UserError
from hebae.codes.posterior import Posterior
from hebae.codes.trained import Trained
from hebae.config.fields import to_json
from hebae.config.protocols import Fid, RealImages
from hebae.measures.fid import fid, reference, samplings
from hebae.measures.fid.features.network import open_features
from hebae.measures.fid.frechet import frechet_distance

ALL = ("gaussian", "mixture", "reconstruction", "midpoints", "real")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Codes


@pytest.mark.parametrize("d", [1, 3])
def test_a_gaussian_has_the_moments_of_the_codes(d):
    codes = rng().standard_normal((200, d)) @ rng().standard_normal((d, d)) + 5
    draws = samplings.gaussian(codes, 100_000, rng())
    spread = codes.std(axis=0).max()
    np.testing.assert_allclose(draws.mean(0), codes.mean(0), atol=0.02 * spread)
    expected = np.cov(codes.T, bias=True)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.02 * spread**2)


def test_a_gaussian_stays_in_the_plane_of_the_codes():
    codes = rng().standard_normal((50, 3))
    codes[:, 1] = 7  # constant
    codes[:, 2] = 2 * codes[:, 0]  # dependent
    draws = samplings.gaussian(codes, 1000, rng())
    np.testing.assert_allclose(draws[:, 1], 7, atol=1e-6)
    np.testing.assert_allclose(draws[:, 2], 2 * draws[:, 0], atol=1e-6)
    np.testing.assert_allclose(samplings.gaussian(codes[:1], 10, rng()), codes[[0] * 10])


def test_a_mixture_finds_the_clusters():
    """Where a Gaussian would be between them."""
    centres = np.array([[-5.0, 0], [5, 0], [0, 8]])
    shares = [0.5, 0.3, 0.2]
    which = rng().choice(3, 5000, p=shares)
    codes = centres[which] + 0.3 * rng().standard_normal((5000, 2))
    draws = samplings.mixture(codes, 5000, seed=1)
    away = np.linalg.norm(draws[:, None] - centres, axis=2)
    assert away.min(axis=1).max() < 2
    found = np.bincount(away.argmin(axis=1), minlength=3) / 5000
    np.testing.assert_allclose(found, shares, atol=0.03)
    np.testing.assert_array_equal(draws, samplings.mixture(codes, 5000, seed=1))
    assert not np.array_equal(draws, samplings.mixture(codes, 5000, seed=2))


def test_a_mixture_of_few_or_degenerate_codes():
    few = rng().standard_normal((4, 3))  # fewer than components: each one is a point
    draws = samplings.mixture(few, 500, seed=0)
    away = np.linalg.norm(draws[:, None] - few, axis=2).min(axis=1)
    assert away.max() < 6 * np.sqrt(samplings.REGULARISATION)
    constant = rng().standard_normal((300, 3))
    constant[:, 1] = 7
    draws = samplings.mixture(constant, 500, seed=0)
    assert np.abs(draws[:, 1] - 7).max() < 6 * np.sqrt(samplings.REGULARISATION)
    equal = np.full((20, 2), 3.0)
    np.testing.assert_allclose(samplings.mixture(equal, 50, seed=0), 3, atol=0.01)


def test_midpoints_are_between_two_different_codes_and_all_pairs_are_as_likely():
    codes = 2.0 ** np.arange(6)[:, None]  # a sum of two tells which
    draws = samplings.midpoints(codes, 30_000, rng())
    assert draws.shape == (30_000, 1)
    pairs = {(a + b) / 2: (a, b) for a in codes[:, 0] for b in codes[:, 0] if a < b}
    counts = Counter(draws[:, 0].tolist())
    assert counts.keys() == pairs.keys()
    np.testing.assert_allclose(list(counts.values()), 2000, atol=5 * np.sqrt(2000))
    normal = samplings.midpoints(rng().standard_normal((20_000, 3)), 50_000, rng())
    np.testing.assert_allclose(np.cov(normal.T), np.eye(3) / 2, atol=0.02)  # nearer to 0
    with pytest.raises(ValueError, match="two codes"):
        samplings.midpoints(codes[:1], 5, rng())


def test_an_unknown_sampling():
    with pytest.raises(ValueError, match="no sampling 'noise'"):
        fid.codes_of("noise", np.zeros((3, 2)), 3, 0)


# Distances


@pytest.fixture(scope="session")
def floor(digits_data, digits_features, tmp_path_factory) -> Path:
    """Moments of 300 training images of the digits."""
    folder = tmp_path_factory.mktemp("floor")
    call(
        reference, "--data", digits_data, "--features", digits_features,
        "--protocol", to_json(asked().floor), "--output", folder / "floor.npz",
        "--cache", folder / "cache",
    )  # fmt: skip
    return folder / "floor.npz"


def asked(*of: str, count: int = 300) -> Fid:
    return Fid("classifier", count, 500, "test", of or ALL)


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["sampling"] for row in rows}) == len(rows)
    return {row["sampling"]: row for row in rows}


@pytest.fixture
def measure(digits_run, digits_features, digits_reference, floor, tmp_path):
    """A function that measures the samplings of a protocol, by name."""

    def measure(protocol: Fid, *more) -> dict[str, dict[str, str]]:
        call(
            fid, *digits_run, "--features", digits_features, "--reference", digits_reference,
            "--device", "cpu", "--protocol", to_json(protocol), *(more or ("--real", floor)),
            "--output", tmp_path / "fid.csv",
        )  # fmt: skip
        return rows_of(tmp_path / "fid.csv")

    return measure


def test_every_sampling_has_a_row_of_as_many_images(measure):
    found = measure(asked())
    assert list(found) == ["prior", *ALL]
    assert {row["n_generated"] for row in found.values()} == {"300"}
    assert len({row["fid"] for row in found.values()}) == len(found)
    # what is beside the prior changes nothing of it
    assert measure(Fid("classifier", 300, 500, "test"))["prior"] == found["prior"]
    assert measure(asked()) == found
    # after two epochs the prior's samples are worst, and nothing is nearer than real images
    distance = {name: float(row["fid"]) for name, row in found.items()}
    assert distance["real"] < min(distance[name] for name in distance if name != "real")
    assert distance["mixture"] < distance["prior"]


def test_real_images_are_those_of_the_other_split(
    measure, digits_data, digits_features, digits_reference
):
    found = float(measure(asked())["real"]["fid"])
    images = np.load(digits_data / "train_images.npy")
    net = open_features(digits_features, torch.device("cpu"))
    chosen = images[reference.choose(len(images), 300)]
    features = net(torch.from_numpy(chosen)).double().numpy()
    of_test = reference.Reference.load(digits_reference)
    expected = frechet_distance(
        features.mean(0), np.cov(features, rowvar=False), of_test.mean, of_test.covariance
    )
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_perfect_autoencoder_reconstructs_the_real_images(measure, digits_data, monkeypatch):
    """Its reconstructions are at the distance of real images; codes are numbers of images here."""
    images = torch.from_numpy(np.load(digits_data / "train_images.npy"))

    def numbers(trained, given, split) -> Posterior:
        assert split == "train" and len(given) == len(images)
        return Posterior(np.arange(len(given))[:, None] * 1.0, np.zeros((len(given), 1)), np.eye(1))

    def look_up(trained, codes, purpose, repeat=1):
        yield images[codes[:, 0].long().clamp(0, len(images) - 1)]

    monkeypatch.setattr(fid, "posterior_of", numbers)
    monkeypatch.setattr(Trained, "decode", look_up)
    found = measure(asked("reconstruction", "real"))
    assert float(found["reconstruction"]["fid"]) == pytest.approx(float(found["real"]["fid"]))


def test_where_the_reference_is_of_the_training_split_codes_are_of_the_test_split(
    digits_run, digits_data
):
    protocol = Fid("classifier", 1000, 500, "train", ALL)
    assert protocol.floor == RealImages("test", 1000, at_most=True)
    trained = Trained.open(
        fid.command_line("").parse_args([*map(str, digits_run), "--output", "x", "--device", "cpu"])
    )
    codes = fid.codes_of_splits(trained, digits_data, protocol)
    assert {name: len(of) for name, of in codes.items()} == {
        "gaussian": 1297, "mixture": 1297, "reconstruction": 500, "midpoints": 500
    }  # fmt: skip
    counts = {name: len(fid.codes_of(name, of, 1000, 0)) for name, of in codes.items()}
    assert counts == {"gaussian": 1000, "mixture": 1000, "reconstruction": 500, "midpoints": 1000}


def test_a_floor_takes_all_images_where_there_are_fewer(digits_data, digits_features, tmp_path):
    call(
        reference, "--data", digits_data, "--features", digits_features,
        "--protocol", to_json(RealImages("test", 1000, at_most=True)),
        "--output", tmp_path / "floor.npz", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert reference.Reference.load(tmp_path / "floor.npz").source.count == 500


def test_codes_or_networks_that_are_not_finite_have_no_distance(measure, monkeypatch):
    posterior_of = fid.posterior_of

    def lost(trained, images, split) -> Posterior:
        found = posterior_of(trained, images, split)
        found.mean[7] = np.nan
        return found

    monkeypatch.setattr(fid, "posterior_of", lost)
    found = {name: row["fid"] for name, row in measure(asked()).items()}
    assert {name for name, distance in found.items() if distance == ""} == {*ALL} - {"real"}

    opened = Trained.open.__func__

    def diverged(cls, options) -> Trained:
        trained = opened(cls, options)
        next(trained.model.decoder.parameters()).data.fill_(float("nan"))
        return trained

    monkeypatch.setattr(fid, "posterior_of", posterior_of)
    monkeypatch.setattr(Trained, "open", classmethod(diverged))
    found = {name: row["fid"] for name, row in measure(asked()).items()}
    assert {name for name, distance in found.items() if distance != ""} == {"real"}


def test_real_images_are_asked_for_and_must_be_of_the_same_features(measure, floor, tmp_path):
    with pytest.raises(UserError, match="--real is needed for the sampling real") as error:
        measure(asked(), "--threads", 1)
    one_line(error)
    stored = dict(np.load(floor))
    np.savez(tmp_path / "other.npz", **stored | {"weights_sha256": "other"})
    with pytest.raises(UserError, match=r"other\.npz was made with other features"):
        measure(asked(), "--real", tmp_path / "other.npz")
