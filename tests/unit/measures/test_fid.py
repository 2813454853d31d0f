"""Fréchet distances: against closed forms, and against the pytorch-fid command itself."""

# ruff: noqa: F401, F811 (fixtures are imported, then named as arguments)

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pytorch_fid.fid_score import calculate_frechet_distance
from tests.runs import changed
from tests.unit.measures.test_features import (
    call,
    digits_data,
    digits_features,
    hub,
    one_line,
    pictures,
    random_inception,
    weights,
)

from hebae.base.errors import UserError
from hebae.codes.trained import Trained
from hebae.config.fields import to_json
from hebae.config.protocols import Fid, RealImages
from hebae.data.arrays import Arrays
from hebae.data.prepare import write_prepared
from hebae.measures.fid import fid, reference
from hebae.measures.fid.features import inception
from hebae.measures.fid.features.network import open_features, read_record
from hebae.measures.fid.frechet import Moments, frechet_distance
from hebae.models.autoencoder import Autoencoder
from hebae.training import train

# The distance


def fitted(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sample.mean(0), np.cov(sample, rowvar=False).reshape(2 * sample.shape[1:])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return frechet_distance(*fitted(a), *fitted(b))


def sample(n: int, f: int, seed: int, spread: float = 1e-3) -> np.ndarray:
    """n points with standard deviations from 1 to `spread` along rotated axes, (n, f)."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((f, f)))[0]
    return rng.standard_normal((n, f)) * np.geomspace(1, spread, f) @ rotation + 5


RANKS = [pytest.param(1000, 40, id="full rank"), pytest.param(30, 300, id="rank-deficient")]


@pytest.mark.parametrize(("n", "f"), RANKS)
@pytest.mark.parametrize("spread", [1, 1e-3, 1e-9])
def test_a_set_is_at_distance_0_of_itself(n, f, spread):
    points = sample(n, f, 0, spread)
    trace = np.trace(fitted(points)[1])
    assert distance(points, points) <= 1e-12 * trace
    # the same set in another order differs in its last digits
    assert distance(points, points[::-1]) <= 1e-9 * trace


@pytest.mark.parametrize(("n", "f"), RANKS)
def test_a_shifted_copy_is_at_the_square_of_the_shift(n, f):
    points = sample(n, f, 0)
    shift = np.linspace(-1, 2, f)
    assert distance(points, points + shift) == pytest.approx(shift @ shift, rel=1e-9)


@pytest.mark.parametrize(("n", "f"), RANKS)
@pytest.mark.parametrize("scale", [0, 0.5, 3])
def test_a_scaled_copy_has_scaled_deviations(n, f, scale):
    points = sample(n, f, 0)
    mean, covariance = fitted(points)
    expected = (1 - scale) ** 2 * np.trace(covariance)
    assert frechet_distance(mean, covariance, mean, scale**2 * covariance) == pytest.approx(
        expected, rel=1e-9
    )


def test_commuting_covariances_are_compared_axis_by_axis():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    a, b = rng.uniform(0, 2, (2, 30))
    a[:5] = b[3:8] = 0  # with null spaces of their own
    mean_a, mean_b = rng.standard_normal((2, 30))
    expected = ((mean_a - mean_b) ** 2).sum() + ((a - b) ** 2).sum()
    cov_a, cov_b = (rotation * values**2 @ rotation.T for values in (a, b))
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-9)


def test_orthogonal_ranges_have_nothing_in_common():
    a, b = np.diag([2.0, 1, 0, 0]), np.diag([0, 0, 3.0, 0])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    zero = np.zeros(4)
    assert frechet_distance(zero, rotation @ a @ rotation.T, zero, rotation @ b @ rotation.T) == (
        pytest.approx(6, rel=1e-7)
    )


@pytest.mark.parametrize(("n", "f"), RANKS)
def test_it_is_pytorch_fids(n, f):
    a, b = sample(n, f, 0, 0.01), 1.5 * sample(n, f, 1, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sqrtm warns of singular products, and of an old option
        expected = calculate_frechet_distance(*fitted(a), *fitted(b))
    assert distance(a, b) == pytest.approx(expected, rel=1e-5 if n > f else 1e-3)


@given(
    st.integers(1, 6), st.integers(2, 9), st.integers(2, 9), st.integers(0, 99), st.floats(-6, 6)
)
def test_it_is_symmetric_and_never_negative(f, n_a, n_b, seed, magnitude):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n_a, f))
    b = 10**magnitude * rng.standard_normal((n_b, f))
    there, back = distance(a, b), distance(b, a)
    assert there >= 0
    assert there == pytest.approx(back, rel=1e-9, abs=1e-9 * (1 + 100**magnitude))
    # any coupling of two Gaussians is at least as far apart as their means
    assert there >= ((a.mean(0) - b.mean(0)) ** 2).sum() * (1 - 1e-9) - 1e-12


def test_points_and_single_features():
    point = np.zeros((2, 2))
    assert frechet_distance(np.ones(2), point, np.zeros(2), point) == 2
    assert frechet_distance(np.ones(1), np.array([[4.0]]), np.zeros(1), np.array([[9.0]])) == (
        pytest.approx(2)
    )
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(np.array([np.nan]), np.eye(1), np.zeros(1), np.eye(1))


# Moments


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 99))
def test_moments_do_not_depend_on_the_chunks(sizes, seed):
    points = np.random.default_rng(seed).standard_normal((sum(sizes), 3)).astype(np.float32)
    moments = Moments(3)
    for chunk in np.split(points, np.cumsum(sizes)[:-1]):
        moments.add(chunk)
    assert moments.count == len(points)
    if len(points) < 2:
        with pytest.raises(ValueError, match="2 features or more"):
            _ = moments.covariance
        return
    mean, covariance = fitted(points.astype(np.float64))
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, covariance, rtol=1e-12, atol=1e-12)


def test_a_large_mean_costs_no_digits():
    rng = np.random.default_rng(0)
    points = 1e8 + rng.standard_normal((500, 3))
    points[:, 2] = 1e8 / 3  # constant
    moments = Moments(3)
    for chunk in np.array_split(points, 7):
        moments.add(chunk)
    exact = np.cov(points - 1e8, rowvar=False)
    np.testing.assert_allclose(moments.covariance[:2, :2], exact[:2, :2], rtol=1e-7)
    assert moments.covariance[2, 2] == 0


# The commands


def trained_run(folder: Path, data: Path, dataset: str) -> list:
    """Train a small run; the arguments that name it."""
    run = changed(dataset=dataset, lam=2.0, epochs=2, batch_size=32)
    call(
        train, "--run", run.to_json(), "--data", data, "--output", folder,
        "--checkpoints", folder / "checkpoints", "--device", "cpu",
    )  # fmt: skip
    return ["--run", folder / "run.json", "--weights", folder / "weights.pt", "--data", data]


def real(count: int, split: str = "test") -> str:
    """Of how many images of a split a reference is asked for."""
    return to_json(RealImages(split, count))


def asked(count: int) -> str:
    """How many images a distance is asked of."""
    return to_json(Fid("classifier", count, 500, "test"))


@pytest.fixture(scope="session")
def digits_run(digits_data, tmp_path_factory) -> list:
    return trained_run(tmp_path_factory.mktemp("run"), digits_data, "digits")


@pytest.fixture(scope="session")
def digits_reference(digits_data, digits_features, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    call(
        reference, "--data", digits_data, "--features", digits_features,
        "--protocol", real(500), "--output", folder / "reference.npz", "--cache", folder / "cache",
    )  # fmt: skip
    return folder / "reference.npz"


def the_row(path: Path) -> dict[str, str]:
    with path.open() as stream:
        (row,) = csv.DictReader(stream)
    return row


def test_a_runs_fid_has_beside_it_what_it_depends_on(
    digits_run, digits_features, digits_reference, tmp_path
):
    arguments = [*digits_run, "--features", digits_features, "--reference", digits_reference]
    arguments += ["--device", "cpu"]
    for name in ("a", "b"):
        call(fid, *arguments, "--protocol", asked(300), "--output", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    row = the_row(tmp_path / "a")
    value, accuracy = float(row.pop("fid")), float(row.pop("accuracy"))
    assert 1 < value < 1e4
    assert accuracy == read_record(digits_features).accuracy
    assert row == {
        "dataset": "digits", "model": "HEBAE", "latent_dim": "4", "weight": "2", "seed": "3",
        "sampling": "prior", "n_generated": "300", "n_reference": "500", "reference": "test",
        "features": "classifier of digits", "common_weight": "2.0", "n_features": "64",
        "warning": "",
    }  # fmt: skip
    call(fid, *arguments, "--protocol", asked(64), "--output", tmp_path / "c")
    row = the_row(tmp_path / "c")
    assert row["warning"] == "rank-deficient: 64 generated images = 64 features"
    # few images, but of the same model: in the same region
    assert value / 3 < float(row["fid"]) < value * 3


def test_warnings_name_each_kind():
    assert fid.rank_warning(64, generated=65, reference=65) is None
    assert fid.rank_warning(2048, generated=1000, reference=500) == (
        "rank-deficient: 1000 generated images < 2048 features, "
        "500 reference images < 2048 features"
    )


def test_real_images_in_place_of_samples_are_at_distance_0(
    digits_run, digits_features, digits_reference, tmp_path, monkeypatch
):
    def real(trained: Trained, count: int):
        assert count == len(trained.images)
        return torch.from_numpy(np.array(trained.images)).split(77)

    monkeypatch.setattr(fid, "samples", real)
    call(
        fid, *digits_run, "--features", digits_features, "--reference", digits_reference,
        "--protocol", asked(500), "--output", tmp_path / "fid.csv",
    )  # fmt: skip
    trace = np.trace(reference.Reference.load(digits_reference).covariance)
    assert float(the_row(tmp_path / "fid.csv")["fid"]) <= 1e-6 * trace


def test_samples_are_decoded_prior_codes(digits_run, monkeypatch):
    parser = fid.command_line("")
    trained = Trained.open(
        parser.parse_args([*map(str, digits_run), "--output", "x", "--device", "cpu"])
    )
    whole = torch.cat(list(fid.samples(trained, 200)))
    monkeypatch.setattr(Autoencoder, "chunk", 30)
    chunks = list(fid.samples(trained, 200))
    assert [len(chunk) for chunk in chunks] == [30] * 6 + [20]
    assert whole.dtype == torch.uint8 and whole.shape == (200, 8, 8, 1)
    assert (torch.cat(chunks).int() - whole.int()).abs().max() <= 1

    trained.model.decoder = torch.nn.Identity()
    as_they_are = dataclasses.replace(trained.model.reconstruction, pixels=lambda z: z)
    trained.model.reconstruction = as_they_are
    drawn = torch.cat(list(fid.samples(trained, 20_000)))
    assert drawn.shape == (20_000, 4) and drawn.dtype == torch.float32
    assert drawn.mean(0).abs().max() < 0.03 and (drawn.T.cov() - torch.eye(4)).abs().max() < 0.05


def test_a_fid_is_that_of_the_pytorch_fid_command(hub, weights, tmp_path, monkeypatch):
    """Through all our steps, and through PNG files and theirs; 64 features, for the sqrtm."""
    n = 70
    monkeypatch.setattr(inception, "N_FEATURES", 64)
    images = pictures(n + 40, 4, seed=0)
    no_labels = Arrays(images[n:], np.empty((40, 0), np.int64), images[:n],
                       np.empty((n, 0), np.int64), ())  # fmt: skip
    write_prepared("celeba", no_labels, tmp_path / "data")
    run = trained_run(tmp_path / "run", tmp_path / "data", "celeba")
    (tmp_path / inception.NAME).symlink_to(weights)
    call(inception, "--data-dir", tmp_path, "--output", tmp_path / "features")
    ours = ["--features", tmp_path / "features", "--device", "cpu"]
    call(
        reference, "--data", tmp_path / "data", *ours, "--protocol", real(n, "test"),
        "--cache", tmp_path / "cache", "--output", tmp_path / "reference.npz",
    )  # fmt: skip
    call(
        fid, *run, *ours, "--reference", tmp_path / "reference.npz", "--protocol", asked(n),
        "--output", tmp_path / "fid.csv",
    )  # fmt: skip
    row = the_row(tmp_path / "fid.csv")
    assert row["features"] == "inception" and row["accuracy"] == ""

    trained = Trained.open(
        fid.command_line("").parse_args([*map(str, run), "--output", "x", "--device", "cpu"])
    )
    generated = torch.cat(list(fid.samples(trained, n))).numpy()
    for name, pixels in (("real", images[:n]), ("generated", generated)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / name / f"{i:03}.png")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytorch_fid", "--device", "cpu", "--num-workers", "0"),
            *("--dims", "64", "--batch-size", "10"),
            *(str(tmp_path / "generated"), str(tmp_path / "real")),
        ],
        env=os.environ | {"TORCH_HOME": str(hub), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs = float(done.stdout.split("FID:")[1])
    assert theirs > 1e-3
    assert float(row["fid"]) == pytest.approx(theirs, rel=1e-3)


# What goes wrong


@pytest.mark.parametrize("count", [501, 1])
def test_a_reference_of_too_many_images_is_refused(digits_data, digits_features, count, tmp_path):
    with pytest.raises(UserError, match=f"n_reference is {count}.* 500 images") as error:
        call(
            reference, "--data", digits_data, "--features", digits_features,
            "--protocol", real(count), "--output", tmp_path / "r.npz",
            "--cache", tmp_path / "cache",
        )  # fmt: skip
    one_line(error)
    assert not list(tmp_path.iterdir())


def fid_of(tmp_path: Path, run: list, folder: Path, moments: Path, count: int = 10) -> None:
    call(
        fid, *run, "--features", folder, "--reference", moments, "--protocol", asked(count),
        "--output", tmp_path / "fid.csv",
    )  # fmt: skip


def changed_reference(path: Path, output: Path, **fields) -> Path:
    stored = dict(np.load(path))
    np.savez(output, **stored | fields)
    return output


def test_a_reference_of_other_features_or_data_is_refused(
    digits_run, digits_features, digits_reference, tmp_path
):
    for field, said in (("weights_sha256", "features"), ("dataset_checksum", "data")):
        other = changed_reference(digits_reference, tmp_path / "r.npz", **{field: "other"})
        with pytest.raises(UserError, match=f"other {said}") as error:
            fid_of(tmp_path, digits_run, digits_features, other)
        assert str(other) in one_line(error) and not (tmp_path / "fid.csv").exists()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = [flipped, lambda content: content[:-1000], lambda _: b"", lambda _: b"PK\3\4"]


@pytest.mark.parametrize("damage", [*DAMAGES, None])
def test_a_damaged_reference_is_named(
    digits_run, digits_features, digits_reference, damage, tmp_path
):
    path = tmp_path / "reference.npz"
    if damage is not None:
        path.write_bytes(damage(digits_reference.read_bytes()))
    with pytest.raises(UserError, match=r"reference\.npz is missing or no readable") as error:
        fid_of(tmp_path, digits_run, digits_features, path)
    one_line(error)


def test_one_image_has_no_covariance(digits_run, digits_features, digits_reference, tmp_path):
    with pytest.raises(UserError, match="n_generated is 1"):
        fid_of(tmp_path, digits_run, digits_features, digits_reference, count=1)


# The reference and its cache


@pytest.fixture
def make(digits_data, digits_features, tmp_path, monkeypatch):
    """A function that makes a reference and returns its bytes; ``calls`` counts computations."""
    compute, calls = reference.compute, []

    def spy(*arguments):
        calls.append(arguments)
        return compute(*arguments)

    monkeypatch.setattr(reference, "compute", spy)

    def make(output: str, split: str = "test", count: int = 100) -> bytes:
        call(
            reference, "--data", digits_data, "--features", digits_features,
            "--protocol", real(count, split), "--output", tmp_path / output,
            "--cache", tmp_path / "cache",
        )  # fmt: skip
        return (tmp_path / output).read_bytes()

    make.calls = calls
    return make


def test_what_is_in_the_cache_is_not_computed_again(make, tmp_path, monkeypatch):
    first = make("a.npz")
    assert make("b.npz") == first and len(make.calls) == 1
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.name.startswith("digits-test-100-classifier-")
    assert make("c.npz", count=101) != first and len(make.calls) == 2
    assert make("d.npz", split="train") != first and len(make.calls) == 3
    # nor is what other code computed taken for this code's
    monkeypatch.setattr(reference.sources, "fingerprint", lambda _: "other code")
    assert make("e.npz") == first and len(make.calls) == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_noticed(make, damage, tmp_path, capsys):
    first = make("a.npz")
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(damage(first))
    assert make("b.npz") == first and len(make.calls) == 2
    assert "ignoring a damaged file of the cache" in capsys.readouterr().err
    assert cached.read_bytes() == first


def test_another_reference_under_its_name_is_not_taken(make, tmp_path):
    first = make("a.npz")
    (cached,) = (tmp_path / "cache").iterdir()
    changed_reference(cached, cached, weights_sha256="other")
    assert make("b.npz") == first and len(make.calls) == 2


def test_a_reference_is_what_pytorch_fid_makes_of_the_same_features(
    digits_data, digits_features, digits_reference
):
    images = np.load(digits_data / "test_images.npy")
    net = open_features(digits_features, torch.device("cpu"))
    mean, covariance = fitted(net(torch.from_numpy(images)).double().numpy())
    stored = reference.Reference.load(digits_reference)
    np.testing.assert_allclose(stored.mean, mean, atol=1e-5)
    np.testing.assert_allclose(stored.covariance, covariance, atol=1e-5)
    assert stored.source.count == 500 and stored.source.split == "test"


def test_a_subset_is_at_random_and_always_the_same():
    rows = reference.choose(1000, 300)
    np.testing.assert_array_equal(rows, reference.choose(1000, 300))
    assert len(set(rows)) == 300 and rows.min() >= 0 and rows.max() < 1000
    assert (np.diff(rows) > 0).all() and abs(rows.mean() - 500) < 60
    np.testing.assert_array_equal(reference.choose(10, 10), np.arange(10))
