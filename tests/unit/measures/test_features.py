"""Feature networks: where they come from, that they are the right ones; no network but ours."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import inception as pytorch_fid
from torch import nn
from torchvision.models import inception_v3

from hebae.base.errors import UserError
from hebae.data import digits, download
from hebae.data.arrays import Arrays
from hebae.data.prepare import write_prepared
from hebae.measures.fid.features import classifier, inception, rotation, supervised
from hebae.measures.fid.features.network import (
    RECORD,
    WEIGHTS,
    feature_moments,
    open_features,
    read_record,
)

CPU = torch.device("cpu")


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def call(module, *arguments) -> None:
    """Call a step as its command line does, in this process."""
    module.main([str(argument) for argument in arguments])


def pictures(n: int, grid: int, seed: int) -> np.ndarray:
    """Blurred random colours, uint8 (n, 64, 64, 3); a larger grid gives smaller spots."""
    low = np.random.default_rng(seed).integers(0, 256, (n, grid, grid, 3), dtype=np.uint8)
    resized = [Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR) for image in low]
    return np.stack([np.asarray(image) for image in resized])


@pytest.fixture(scope="session")
def random_inception() -> dict[str, torch.Tensor]:
    """Weights of the right shapes that neither fade out nor explode."""
    network = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return network.state_dict()


@pytest.fixture(scope="session")
def hub(random_inception, tmp_path_factory) -> Path:
    """A TORCH_HOME with random weights under the name of the real ones."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub/checkpoints").mkdir(parents=True)
    torch.save(random_inception, home / "hub/checkpoints" / inception.NAME)
    return home


@pytest.fixture
def weights(hub, monkeypatch) -> Path:
    """The random weights, taken for the real ones; torch.hub has nothing, the network is down."""
    path = hub / "hub/checkpoints" / inception.NAME
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    monkeypatch.setattr(pytorch_fid, "FID_WEIGHTS_URL", f"http://127.0.0.1:9/{inception.NAME}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(hub.parent / "empty"))
    return path


# Inception: where it comes from


def test_the_expected_checksum_is_the_one_in_the_name():
    assert pytorch_fid.FID_WEIGHTS_URL.endswith(f"/{inception.NAME}")
    assert inception.NAME.endswith(f"-{inception.SHA256[:8]}.pth") and len(inception.SHA256) == 64


@pytest.mark.parametrize("place", ["inception", ".", "hub"])
def test_inception_is_taken_from_each_place(weights, place, tmp_path, monkeypatch):
    folder = tmp_path / "data" / place
    if place == "hub":
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / inception.NAME).symlink_to(weights)
    call(inception, "--data-dir", tmp_path / "data", "--output", tmp_path / "features")
    written = tmp_path / "features" / WEIGHTS
    assert written.read_bytes() == weights.read_bytes() and not written.is_symlink()
    record = read_record(tmp_path / "features")
    assert (record.features, record.label, record.n_features) == ("inception", "inception", 2048)
    assert record.weights_sha256 == inception.SHA256
    assert record.dataset is record.accuracy is record.accuracies is None
    assert "299" in record.preprocessing
    assert not (tmp_path / "data/inception").exists() or place == "inception"


@pytest.mark.parametrize("place", ["inception", "."])
@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_another_file_of_that_name_is_left_as_it_is(weights, place, content, tmp_path):
    path = tmp_path / place / inception.NAME
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.symlink_to(tmp_path / "not mounted")
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="left as it is") as error:
        call(inception, "--data-dir", tmp_path, "--output", tmp_path / "features")
    assert str(path) in one_line(error)
    assert path.is_symlink() if content is None else path.read_bytes() == content
    assert not (tmp_path / "features").exists()


def test_offline_says_which_file_to_put_where(weights, tmp_path):
    with pytest.raises(UserError) as error:
        call(inception, "--data-dir", tmp_path, "--output", tmp_path / "features")
    message = one_line(error)
    for said in (inception.NAME, inception.SHA256, pytorch_fid.FID_WEIGHTS_URL):
        assert said in message
    assert str(tmp_path / "inception") in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture
def server(local_server, monkeypatch, weights):
    """A local server for the weights: its folder, and the paths it was asked for."""
    folder, url, asked = local_server
    monkeypatch.setattr(pytorch_fid, "FID_WEIGHTS_URL", url + inception.NAME)
    return folder, asked


def test_inception_is_downloaded_once(server, weights, tmp_path):
    (server[0] / inception.NAME).symlink_to(weights)
    data = tmp_path / "data"
    for _ in range(2):
        call(inception, "--data-dir", data, "--output", tmp_path / "features")
    assert server[1] == [inception.NAME]
    downloaded = data / "inception" / inception.NAME
    assert [path for path in data.rglob("*") if path.is_file()] == [downloaded]
    assert downloaded.read_bytes() == weights.read_bytes()


def test_a_corrupted_download_is_retried_then_refused(server, weights, tmp_path):
    (server[0] / inception.NAME).write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="could not be downloaded") as error:
        call(inception, "--data-dir", tmp_path / "data", "--output", tmp_path / "features")
    assert len(server[1]) == download.ATTEMPTS
    assert "SHA-256 of what came" in one_line(error)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_is_named(server, weights, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as error:
        call(inception, "--data-dir", tmp_path / "file", "--output", tmp_path / "features")
    assert str(tmp_path / "file") in one_line(error)


# Inception: what it computes


def test_inception_features_are_those_of_the_pytorch_fid_command(weights, hub, tmp_path):
    images = pictures(5, 4, seed=1)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytorch_fid", "--device", "cpu", "--num-workers", "0"),
            *("--save-stats", str(tmp_path), str(tmp_path / "stats.npz")),
        ],
        env=os.environ | {"TORCH_HOME": str(hub), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs = np.load(tmp_path / "stats.npz")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / inception.NAME).symlink_to(weights)
    call(inception, "--data-dir", tmp_path / "data", "--output", tmp_path / "features")
    net = open_features(tmp_path / "features", CPU)
    net.network.chunk = 3  # how images are cut into chunks must not show
    moments = feature_moments(net, torch.from_numpy(images).split(4), 5, "test")
    assert moments.mean.shape == (2048,) and moments.mean.std() > 0.01
    np.testing.assert_allclose(moments.mean, theirs["mu"], atol=1e-5 * abs(theirs["mu"]).max())
    scale = theirs["sigma"].diagonal().max()
    np.testing.assert_allclose(moments.covariance, theirs["sigma"], atol=1e-4 * scale)


def test_its_batch_normalisation_is_inside_its_convolutions(random_inception):
    network = inception.Inception(random_inception, 2048)
    kinds = [type(layer) for layer in network.modules()]
    assert kinds.count(nn.Conv2d) == kinds.count(nn.ReLU) == 94
    assert nn.BatchNorm2d not in kinds
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.network.training


def test_grey_images_are_repeated_in_each_channel(random_inception):
    net = inception.Inception(random_inception, 64)
    grey = torch.from_numpy(pictures(2, 4, seed=2)[..., :1].copy())
    with torch.inference_mode():
        torch.testing.assert_close(net(grey), net(grey.expand(-1, -1, -1, 3)))


# Folders of features


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


@pytest.fixture(scope="session")
def digits_features(digits_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    call(classifier, "--data", digits_data, "--output", folder, "--device", "cpu")
    return folder


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (WEIGHTS, None),
        (WEIGHTS, damaged),
        (WEIGHTS, lambda _: b""),
        (RECORD, None),
        (RECORD, lambda content: content[:-10]),
        (RECORD, lambda _: b"[]"),
        (RECORD, lambda _: b"{}"),
    ],
)
def test_a_damaged_folder_is_named(digits_features, name, damage, tmp_path):
    for path in digits_features.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage is not None:
        (tmp_path / name).write_bytes(damage(content))
    with pytest.raises(UserError, match="missing or damaged") as error:
        open_features(tmp_path, CPU)
    assert str(tmp_path / name) in one_line(error)


# The classifier


def test_the_digits_classifier_knows_digits(digits_features, digits_data):
    record = read_record(digits_features)
    assert record.label == "classifier of digits" and record.n_features == 64
    assert record.accuracies == {"digit": record.accuracy} and record.accuracy > 0.95
    # the accuracy stated is that of the weights written
    arrays = digits.load(Path())
    network = open_features(digits_features, CPU).network
    with torch.inference_mode():
        guesses = network.scores(torch.from_numpy(arrays.test_images))[0].argmax(1).numpy()
    assert (guesses == arrays.test_labels[:, 0]).mean() == pytest.approx(record.accuracy)


def test_its_features_are_standardised_and_of_full_rank(digits_features):
    net = open_features(digits_features, CPU)
    images = torch.from_numpy(digits.load(Path()).train_images[:1000])
    moments = feature_moments(net, [images], 1000, "test")
    assert abs(moments.mean).max() < 0.5
    assert moments.covariance.diagonal().min() > 0.4
    assert moments.covariance.diagonal().max() < 2.5
    values = np.linalg.eigvalsh(moments.covariance)
    assert values[0] > 1e-6 * values[-1]
    # alone or among others, an image has the same features
    torch.testing.assert_close(net(images[:2]), net(images)[:2], rtol=1e-4, atol=1e-4)


def squares(n: int = 120) -> Arrays:
    """Noise, 64×64×3; "place" is which half is brighter, "colour" which channel."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, [2, 3], (n, 2))
    images = rng.integers(0, 100, (n, 64, 64, 3), dtype=np.uint8)
    for image, (place, colour) in zip(images, labels, strict=True):
        image[32 * place : 32 * place + 32] += 80
        image[..., colour] += 70
    half = n // 2
    return Arrays(images[:half], labels[:half], images[half:], labels[half:], ("place", "colour"))


def test_every_factor_has_its_head(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "EXAMPLES", 600)
    write_prepared("toyfaces", squares(), tmp_path / "data")
    for output in ("a", "b"):
        call(classifier, "--data", tmp_path / "data", "--output", tmp_path / output)
    record = json.loads((tmp_path / "a" / RECORD).read_text())
    assert record["dataset"] == "toyfaces" and set(record["accuracies"]) == {"place", "colour"}
    assert min(record["accuracies"].values()) > 0.9
    assert record["accuracy"] == pytest.approx(np.mean(list(record["accuracies"].values())))
    for name in (WEIGHTS, RECORD):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (4, 4, 3), (30, 20, 3)])
def test_it_takes_images_of_any_size(shape):
    network = supervised.Network(shape, (10,)).eval()
    images = torch.zeros(3, *shape, dtype=torch.uint8)
    assert network(images).shape == (3, supervised.N_FEATURES)


def test_a_dataset_without_labels_is_refused(tmp_path):
    arrays = squares()
    unlabelled = np.empty((60, 0), np.int64)
    arrays = Arrays(arrays.train_images, unlabelled, arrays.test_images, unlabelled, ())
    write_prepared("celeba", arrays, tmp_path / "data")
    with pytest.raises(UserError, match="celeba has no labels") as error:
        call(classifier, "--data", tmp_path / "data", "--output", tmp_path / "features")
    one_line(error)
    assert not (tmp_path / "features").exists()


# Rotation: the same network, another task


def test_turns_are_the_classes_of_turned_images():
    images = np.random.default_rng(0).integers(0, 256, (200, 9, 9, 3), dtype=np.uint8)
    none = np.empty((200, 0), np.int64)
    found, classes = rotation.turned(images, none, np.random.default_rng(1))
    assert classes.shape == (200, 1) and set(classes[:, 0]) == {0, 1, 2, 3}
    for image, shown, (turns,) in zip(images, found, classes, strict=True):
        assert (np.rot90(shown, -turns) == image).all()
    assert not (rotation.turned(images, none, np.random.default_rng(2))[1] == classes).all()


def test_rotation_features_need_no_labels_and_are_labelled_as_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "EXAMPLES", 3000)
    arrays = squares(400)
    arrays.train_images[:, :16] //= 2  # so that there is an upper end
    arrays.test_images[:, :16] //= 2
    none = np.empty((200, 0), np.int64)
    arrays = Arrays(arrays.train_images, none, arrays.test_images, none, ())
    write_prepared("celeba", arrays, tmp_path / "data")
    for output in ("a", "b"):
        call(rotation, "--data", tmp_path / "data", "--output", tmp_path / output)
        assert (tmp_path / output / WEIGHTS).read_bytes() == (tmp_path / "a" / WEIGHTS).read_bytes()
    record = read_record(tmp_path / "a")
    assert (record.label, record.n_features) == ("rotation of celeba", supervised.N_FEATURES)
    assert set(record.accuracies) == {"turn"} and record.accuracy > 0.7
    assert open_features(tmp_path / "a", CPU).network.heads[0].out_features == 4


def test_a_quarter_turn_does_not_fit_images_that_are_not_square(tmp_path):
    images, none = np.zeros((10, 8, 6, 1), np.uint8), np.empty((10, 0), np.int64)
    write_prepared("celeba", Arrays(images, none, images, none, ()), tmp_path / "data")
    with pytest.raises(UserError, match="8×6") as error:
        call(rotation, "--data", tmp_path / "data", "--output", tmp_path / "features")
    one_line(error)
