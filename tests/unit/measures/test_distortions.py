"""Distances of distorted real images, and features that are refused because of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import convolve2d

from hebae.base.errors import UserError
from hebae.config.fields import to_json
from hebae.config.protocols import Fid, RealImages
from hebae.data import digits, toyfaces
from hebae.data.arrays import Arrays
from hebae.data.prepare import write_prepared
from hebae.measures.fid import distortions, reference
from hebae.measures.fid.features import network, rotation, supervised

FACES = 1000
RANKED = {"blur": 5, "noise": 5, "pixelation": 5, "modes": 5}


def call(module, *arguments) -> None:
    module.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Prepared drawn faces without their labels, and rotation features of them."""
    folder = tmp_path_factory.mktemp("faces")
    drawn = toyfaces.load(Path())
    none = np.empty((FACES, 0), np.int64), np.empty((len(drawn.test_images), 0), np.int64)
    arrays = Arrays(drawn.train_images[:FACES], none[0], drawn.test_images, none[1], ())
    write_prepared("celeba", arrays, folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised, "EXAMPLES", 16 * FACES)
        call(rotation, "--data", folder / "data", "--output", folder / "features")
    add_reference(folder)
    return folder


def add_reference(folder: Path, count: int = 500) -> None:
    call(
        reference, "--data", folder / "data", "--features", folder / "features",
        "--protocol", to_json(RealImages("test", count)), "--cache", folder / "cache",
        "--output", folder / "reference.npz",
    )  # fmt: skip


def measure(folder: Path, output: Path, count: int = 500) -> pd.DataFrame:
    call(
        distortions, "--data", folder / "data", "--features", folder / "features",
        "--reference", folder / "reference.npz", "--output", output,
        "--protocol", to_json(Fid("rotation", count, 500, "test")),
    )  # fmt: skip
    return pd.read_csv(output)


def test_rotation_features_rank_every_distortion_of_faces(faces, tmp_path):
    table = measure(faces, tmp_path / "table.csv")
    assert table.groupby("distortion").size().to_dict() == RANKED
    for _, rows in table.groupby("distortion"):
        assert rows["strength"].is_monotonic_increasing and rows["strength"].iloc[0] == 0
        assert (rows["fid"].diff().dropna() > 0).all(), rows
        assert rows["n_images"].nunique() == 1
    assert set(table["features"]) == {"rotation of celeba"}
    assert set(table["reference"]) == {"test"} and set(table["n_reference"]) == {500}


def test_features_that_see_no_difference_are_refused(faces, tmp_path, monkeypatch):
    class Blind(torch.nn.Module):
        """Looks at the mean colour alone, which a blur leaves."""

        chunk = 250

        def forward(self, images):
            means = images.float().mean((1, 2))
            return torch.cat([means] + [torch.zeros(len(means), 1)] * 61, 1)

    monkeypatch.setattr(supervised, "load", lambda path: Blind())
    monkeypatch.setattr(rotation, "load", lambda path: Blind())
    folder = tmp_path / "blind"
    folder.mkdir()
    for name in ("data", "features"):
        (folder / name).symlink_to(faces / name)
    add_reference(folder)
    with pytest.raises(UserError, match="rotation of celeba features does not grow") as error:
        measure(folder, tmp_path / "table.csv")
    assert "blur of " in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "table.csv").exists()


def test_an_established_network_is_not_refused(faces, tmp_path, monkeypatch):
    """Its distances are written whatever they are; the caption says where they do not grow."""
    monkeypatch.setattr(distortions, "falls", lambda rows: ["said"])
    record = network.read_record(faces / "features")
    monkeypatch.setitem(distortions.FEATURES, record.features, distortions.FEATURES["classifier"])
    assert len(measure(faces, tmp_path / "table.csv", 200)) == sum(RANKED.values())


def test_a_blur_is_a_convolution_with_a_gaussian():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    x = np.arange(-8, 9)
    kernel = np.exp(-(x**2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    inside = slice(8, -8)  # the border is reflected
    for image, found in zip(images, distortions.blurred(images, 1.5), strict=True):
        for channel in range(3):
            expected = convolve2d(image[..., channel], kernel, mode="same")[inside, inside]
            assert abs(found[inside, inside, channel] - expected).max() <= 1


def test_noise_has_the_deviation_asked_for_and_is_always_the_same():
    images = np.full((20, 32, 32, 3), 128, np.uint8)
    found = distortions.noisy(images, 16)
    assert np.std(found.astype(float)) == pytest.approx(16, rel=0.02)
    assert (found == distortions.noisy(images, 16)).all()
    assert distortions.noisy(np.full_like(images, 250), 64).max() == 255  # clipped, not wrapped


def test_a_large_pixel_is_the_mean_of_its_block():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 1), dtype=np.uint8)
    found = distortions.pixelated(images, 4)
    assert found.shape == images.shape
    block = images[1, 4:8, 8:12, 0]
    assert (found[1, 4:8, 8:12, 0] == np.rint(block.mean())).all()


def test_modes_are_left_out_from_the_second_largest_on_to_the_largest():
    """Eight shades, of which each is a mode."""
    sizes = [40, 10, 60, 20, 30, 25, 15, 35]
    shades = np.repeat(np.arange(8) * 30, sizes)
    images = np.broadcast_to(shades[:, None, None, None], (len(shades), 16, 16, 1)).astype("u1")
    found = distortions.modes(images)
    assert len(set(zip(shades.tolist(), found.tolist(), strict=True))) == 8
    assert np.bincount(found).tolist() == [*sorted(sizes, reverse=True)[1:], 60]
    shown = {}
    for name, strength, images_ in distortions.distorted(images):
        if name == "modes":
            shown[strength] = images_
    assert [len(np.unique(one)) for one in shown.values()] == [8, 6, 4, 2, 1]
    assert {len(one) for one in shown.values()} == {60}


def test_each_size_of_images_has_distortions_that_show():
    for images in (digits.load(Path()).train_images[:60], np.zeros((60, 28, 28, 1), np.uint8)):
        noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
        found = list(distortions.distorted(noise))
        for name in RANKED:
            shown = [shown for kind, _, shown in found if kind == name]
            assert len(shown) >= 2
            if name != "modes":
                assert all((one != other).any() for one, other in pairwise(shown))


def test_a_fall_is_found_and_named():
    rows = [
        {"distortion": "blur", "strength": 0.0, "fid": 1.0},
        {"distortion": "blur", "strength": 1.0, "fid": 2.0},
        {"distortion": "noise", "strength": 0.0, "fid": 1.0},
        {"distortion": "noise", "strength": 8.0, "fid": 1.0},
    ]
    assert distortions.falls(rows) == ["noise of 8 is at 1, of 0 at 1"]
    assert distortions.falls(rows[:2]) == []
    alone = [*rows[:2], {"distortion": "pixelation", "strength": 0.0, "fid": 1.0}]
    assert distortions.falls(alone) == ["no pixelation fits images of this size"]
    rows[1]["fid"] = float("nan")
    assert len(distortions.falls(rows)) == 2
