"""Datasets as published, files kept as they are, errors in one line; no network."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests.closed import close
from torchvision.datasets import MNIST

from hebae.base.errors import UserError
from hebae.data import digits, download, mnist, prepare
from hebae.data import store as prepared_files
from hebae.data.arrays import Arrays, Stream
from hebae.data.notes import Note, notes_of

NAMES = list(mnist.MD5)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def tiny(monkeypatch) -> dict[str, np.ndarray]:
    """A small MNIST, 300 training and 3 test images of 5×4, known by its own checksums."""
    rng = np.random.default_rng(0)
    arrays = {}
    for kind, n in (("train", 300), ("t10k", 3)):
        arrays[f"{kind}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 5, 4), dtype=np.uint8)
        arrays[f"{kind}-labels-idx1-ubyte"] = rng.integers(0, 10, n, dtype=np.uint8)
    for name, array in arrays.items():
        monkeypatch.setitem(mnist.MD5, name, hashlib.md5(idx(array)).hexdigest())
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    # a test that should not download fails here rather than reaching for the network
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return arrays


def put(folder: Path, arrays: dict[str, np.ndarray], suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def mirror(local_server, monkeypatch):
    """A local mirror behind a dead one: its folder, and the paths it was asked for."""
    folder, url, asked = local_server
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", url])
    return folder, asked


# Arrays


@pytest.mark.parametrize(
    "change",
    [
        {"train_images": np.zeros((6, 4, 4, 1), np.float32)},
        {"train_images": np.zeros((6, 4, 4), np.uint8)},
        {
            "train_images": np.zeros((0, 4, 4, 1), np.uint8),
            "train_labels": np.zeros((0, 1), np.int64),
        },
        {"test_images": np.zeros((2, 4, 5, 1), np.uint8)},
        {"train_labels": np.zeros((5, 1), np.int64)},
        {"train_labels": np.zeros(6, np.int64)},
        {"test_labels": np.zeros((2, 2), np.int64)},
        {"test_labels": np.zeros((2, 1), np.uint8)},
        {"test_labels": np.array([[0], [-1]])},
    ],
)
def test_arrays_refuse_what_is_not_a_dataset(change):
    good = Arrays(
        np.zeros((6, 4, 4, 1), np.uint8),
        np.zeros((6, 1), np.int64),
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros((2, 1), np.int64),
        ("kind",),
    )
    with pytest.raises(ValueError, match=r"^(train|test|training) (images|labels) "):
        replace(good, **change)


# digits


def test_digits_are_those_of_scikit_learn():
    arrays = digits.load(Path("no such directory"))
    assert arrays.train_images.shape == (1297, 8, 8, 1)
    assert arrays.test_images.shape == (500, 8, 8, 1)
    assert arrays.train_images.min() == 0 and arrays.train_images.max() == 255

    reference, reference_labels = load_digits(return_X_y=True)
    images = np.concatenate([arrays.train_images, arrays.test_images]).reshape(-1, 64)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    # each image once, with its own label, and its 17 grey levels in their places
    levels = np.rint(images / 255 * 16)
    np.testing.assert_allclose(images, levels * 255 / 16, atol=0.5)
    ours = sorted(map(tuple, np.column_stack([levels, labels])))
    assert ours == sorted(map(tuple, np.column_stack([reference, reference_labels])))


def test_digits_split_keeps_each_digits_share():
    arrays = digits.load(Path())
    test = np.bincount(arrays.test_labels[:, 0], minlength=10)
    both = test + np.bincount(arrays.train_labels[:, 0], minlength=10)
    assert np.abs(test - both * 500 / 1797).max() < 1


def test_digits_are_the_same_every_time():
    first, second = digits.load(Path()), digits.load(Path())
    for key, array in vars(first).items():
        np.testing.assert_array_equal(array, vars(second)[key])


# MNIST from files


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_is_read_from_each_folder_gzipped_or_not(tiny, tmp_path, folder, suffix):
    put(tmp_path / folder, tiny, suffix)
    before = snapshot(tmp_path)
    arrays = mnist.load(tmp_path)
    assert arrays.factors == ("digit",)
    for array, name in zip(vars(arrays).values(), NAMES, strict=False):
        np.testing.assert_array_equal(array.reshape(tiny[name].shape), tiny[name])
    assert arrays.train_images.shape == (300, 5, 4, 1)
    assert snapshot(tmp_path) == before


def test_the_uncompressed_file_is_preferred(tiny, tmp_path):
    put(tmp_path, tiny, "")
    for name in NAMES:
        (tmp_path / f"{name}.gz").write_bytes(b"never read")
    assert len(mnist.load(tmp_path).train_images) == 300


def truncated(stored: bytes) -> bytes:
    return stored[: len(stored) // 2]


def flipped(stored: bytes) -> bytes:
    return stored[:-1] + bytes([stored[-1] ^ 1])


@pytest.mark.parametrize("damage", [truncated, flipped, lambda stored: b"<html>"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named_and_left_as_it_is(tiny, tmp_path, name, suffix, damage):
    put(tmp_path, tiny, suffix)
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    message = one_line(error)
    assert str(path) in message and "left as it is" in message
    assert snapshot(tmp_path) == before


def test_an_intact_gzip_of_something_else_is_refused(tiny, tmp_path):
    put(tmp_path, tiny)
    path = tmp_path / f"{NAMES[1]}.gz"
    path.write_bytes(gzip.compress(flipped(idx(tiny[NAMES[1]]))))
    with pytest.raises(UserError, match="MD5") as error:
        mnist.load(tmp_path)
    assert str(path) in one_line(error)


def test_a_dangling_link_is_not_replaced(tiny, mirror, tmp_path):
    put(mirror[0], tiny)
    put(tmp_path / "data/MNIST/raw", tiny)
    path = tmp_path / f"data/MNIST/raw/{NAMES[0]}.gz"
    path.unlink()
    path.symlink_to(tmp_path / "not mounted")
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path / "data")
    assert str(path) in one_line(error)
    assert path.is_symlink() and mirror[1] == []


DOTTED = [name.replace("-idx", ".idx") for name in NAMES]


@pytest.mark.parametrize(
    "place, data_dir",
    [
        ("MNIST/raw", "MNIST"),
        ("MNIST/raw", "MNIST/raw"),
        ("MNIST/raw", "MNIST/processed"),
        ("MNIST", "."),
        ("torchvision/MNIST/raw", "."),
        ("datasets/mnist", "."),
        ("mnist/MNIST/raw", "."),
    ],
)
def test_mnist_is_found_a_level_off(tiny, tmp_path, place, data_dir):
    put(tmp_path / place, tiny)
    (tmp_path / "MNIST/processed").mkdir(parents=True, exist_ok=True)
    assert len(mnist.load(tmp_path / data_dir).train_images) == 300


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("spelling", ["dot", "folder", "folder and dot"])
def test_mnist_as_kaggle_spells_it(tiny, tmp_path, spelling, suffix):
    put(tmp_path, tiny, suffix)
    for name, dotted in zip(NAMES, DOTTED, strict=True):
        stored = (tmp_path / f"{name}{suffix}").rename(tmp_path / "file")
        folder = tmp_path / name if "folder" in spelling else tmp_path
        folder.mkdir(exist_ok=True)
        stored.rename(folder / f"{dotted if 'dot' in spelling else name}{suffix}")
    assert len(mnist.load(tmp_path).train_images) == 300


def test_fashion_mnist_is_not_taken_for_mnist(tiny, mirror, tmp_path):
    """Its files have the same names."""
    put(mirror[0], tiny)
    put(tmp_path / "FashionMNIST/raw", {name: array[::-1] for name, array in tiny.items()})
    assert len(mnist.load(tmp_path).train_images) == 300
    assert len(mirror[1]) == 4


@pytest.mark.parametrize("name", ["MNIST/raw", f"MNIST/raw/{NAMES[0]}.gz"])
def test_what_is_closed_is_neither_missing_nor_damaged(tiny, mirror, tmp_path, monkeypatch, name):
    put(mirror[0], tiny)
    put(tmp_path / "MNIST/raw", tiny)
    close(monkeypatch, tmp_path / name)
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    message = one_line(error)
    assert str(tmp_path / name) in message and "Permission denied" in message
    assert "intact" not in message and mirror[1] == []


# MNIST from mirrors


def test_only_what_is_missing_is_downloaded(tiny, mirror, tmp_path):
    folder, asked = mirror
    put(folder, tiny)
    data = tmp_path / "data"
    put(data / "mnist", {name: tiny[name] for name in NAMES[:3]}, "")
    before = snapshot(data)
    arrays = mnist.load(data)
    np.testing.assert_array_equal(arrays.test_labels[:, 0], tiny[NAMES[3]])
    added = {f"MNIST/raw/{NAMES[3]}.gz": (folder / f"{NAMES[3]}.gz").read_bytes()}
    assert snapshot(data) == before | added
    assert asked == [f"{NAMES[3]}.gz"]

    mnist.load(data)
    assert len(asked) == 1  # the second time it is there


def test_a_damaged_local_file_is_reported_before_anything_is_downloaded(tiny, mirror, tmp_path):
    put(mirror[0], tiny)
    (tmp_path / NAMES[3]).write_bytes(b"damaged")
    with pytest.raises(UserError, match=NAMES[3]):
        mnist.load(tmp_path)
    assert mirror[1] == []


def test_a_corrupted_download_is_retried_then_refused(tiny, mirror, tmp_path):
    folder, asked = mirror
    put(folder, tiny)
    bad = folder / f"{NAMES[1]}.gz"
    bad.write_bytes(truncated(bad.read_bytes()))
    data = tmp_path / "data"
    with pytest.raises(UserError) as error:
        mnist.load(data)
    message = one_line(error)
    assert asked.count(bad.name) == download.ATTEMPTS
    assert str(data / "MNIST/raw") in message
    # the file before it is whole and stays; it is not asked for again
    assert list(snapshot(data)) == [f"MNIST/raw/{NAMES[0]}.gz"]
    assert NAMES[0] not in message
    for name in NAMES[1:]:
        assert f"{name} (MD5 {mnist.MD5[name]})" in message


def test_a_mirror_that_recovers_is_asked_again(tiny, mirror, tmp_path, monkeypatch):
    put(mirror[0], tiny)
    fetch, calls = mnist._fetch, []

    def fails_at_first(name):
        calls.append(name)
        if len(calls) < download.ATTEMPTS:
            raise download.FetchError("down")
        return fetch(name)

    monkeypatch.setattr(mnist, "_fetch", fails_at_first)
    assert len(mnist.load(tmp_path / "data").test_images) == 3


def test_offline_says_which_files_to_put_where(tiny, tmp_path):
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    message = one_line(error)
    assert str(tmp_path / "MNIST/raw") in message
    for name, md5 in mnist.MD5.items():
        assert f"{name} (MD5 {md5})" in message
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("below", ["file", "file/data"])
def test_a_folder_that_cannot_be_written_is_named(tiny, mirror, tmp_path, below):
    put(mirror[0], tiny)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as error:
        mnist.load(tmp_path / below)
    assert str(tmp_path / below) in one_line(error)


# hebae.data.prepare


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hebae.data.prepare", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_the_command_writes_arrays_and_manifest_the_same_every_time(tmp_path):
    for output in ("a", "b", "b"):  # into a new directory, and over an old one
        done = run("--dataset", "digits", "--data-dir", "data", "--output", tmp_path / output)
        assert done.returncode == 0, done.stderr
        assert "1297 training and 500 test" in done.stderr and done.stdout == ""
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")

    manifest = json.loads((tmp_path / "a/dataset.json").read_text())
    sums = manifest.pop("files")
    assert set(sums) == {path.name for path in (tmp_path / "a").glob("*.npy")} and len(sums) == 4
    for name, checksum in sums.items():
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == checksum
    assert manifest == {
        "name": "digits",
        "image_shape": [8, 8, 1],
        "n_train": 1297,
        "n_test": 500,
        "factors": ["digit"],
        "n_classes": [10],
        "checksum": hashlib.sha256("".join(sums.values()).encode()).hexdigest(),
    }


def test_the_command_reports_bad_input_in_one_line(tmp_path):
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    output = tmp_path / "output"
    for arguments, said in [
        (("--dataset", "nosuch", "--data-dir", tmp_path, "--output", output), "nosuch"),
        (("--dataset", "mnist", "--data-dir", tmp_path, "--output", output), NAMES[0]),
    ]:
        done = run(*arguments)
        assert done.returncode == 1
        errors = [line for line in done.stderr.splitlines() if not line.startswith("reading ")]
        assert len(errors) == 1 and errors[0].startswith("error: ") and said in errors[0]
    assert not output.exists()


@pytest.fixture
def prepared(tmp_path) -> Path:
    prepare.write_prepared("digits", digits.load(Path()), tmp_path)
    return tmp_path


def test_prepared_arrays_come_back(prepared):
    arrays = digits.load(Path())
    for split in ("train", "test"):
        images, labels = prepared_files.load_prepared(prepared, split)
        np.testing.assert_array_equal(images, getattr(arrays, f"{split}_images"))
        np.testing.assert_array_equal(labels, getattr(arrays, f"{split}_labels"))
        assert isinstance(images, np.memmap)
        images[:] = 0  # reaches no file
        assert prepared_files.load_prepared(prepared, split)[0].any()
    assert prepared_files.read_prepared(prepared).image_shape == (8, 8, 1)


@pytest.mark.parametrize("name", ["dataset.json", "train_images.npy", "train_labels.npy"])
@pytest.mark.parametrize(
    "damage", [None, truncated, lambda stored: b"", lambda stored: b"[]", lambda stored: b"PK\3\4"]
)
def test_a_damaged_prepared_file_is_named(prepared, name, damage):
    path = prepared / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as error:
        prepared_files.load_prepared(prepared, "train")
    assert str(path) in one_line(error)


def test_arrays_of_another_dataset_are_refused(prepared):
    np.save(prepared / "test_images.npy", np.zeros((500, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="test_images"):
        prepared_files.load_prepared(prepared, "test")


def chunked(images: np.ndarray) -> Stream:
    return Stream(images.shape, (images[i : i + 4] for i in range(0, len(images), 4)))


def test_a_stream_is_written_as_the_array_it_is(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 5, 4, 3), dtype=np.uint8)
    none = np.empty((10, 0), np.int64)
    written = []
    for folder, make in ((tmp_path / "whole", lambda x: x), (tmp_path / "stream", chunked)):
        arrays = Arrays(make(images), none, make(images[:9]), none[:9], ())
        written.append((prepare.write_prepared("faces", arrays, folder), snapshot(folder)))
    assert written[0] == written[1]
    manifest, _ = written[0]
    assert (manifest.n_train, manifest.n_test, manifest.n_classes) == (10, 9, ())
    for split, expected in (("train", images), ("test", images[:9])):
        read, labels = prepared_files.load_prepared(tmp_path / "stream", split)
        np.testing.assert_array_equal(read, expected)
        assert labels.shape == (len(expected), 0)


@pytest.mark.parametrize("n", [9, 11])
def test_a_stream_of_another_length_is_not_written(tmp_path, n):
    images = np.zeros((10, 4, 4, 3), np.uint8)
    none = np.empty((n, 0), np.int64)
    stream = Stream((n, 4, 4, 3), [images])
    with pytest.raises(ValueError, match=f"10 images in a stream of {n}"):
        prepare.write_prepared("faces", Arrays(stream, none, images[:n], none[:10], ()), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_checksum_alone_is_that_of_the_written_dataset(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(10)[:, np.newaxis]
    for make in (lambda x: x, chunked):
        arrays = Arrays(make(images), labels, make(images[:9]), labels[:9], ("kind",))
        written = prepare.write_prepared("faces", arrays, tmp_path)
        again = Arrays(make(images), labels, make(images[:9]), labels[:9], ("kind",))
        assert prepare.checksum(again) == written.checksum


def test_the_command_may_print_the_checksum_alone(tmp_path):
    done = run("--dataset", "digits", "--data-dir", tmp_path / "none", "--checksum-only")
    prepared = prepare.write_prepared("digits", digits.load(Path()), tmp_path)
    assert done.stdout == f"{prepared.checksum}\n" and done.stderr == "" and done.returncode == 0


def test_notes_come_back_and_may_be_missing(prepared):
    assert prepared_files.read_prepared(prepared).notes == ()
    assert notes_of(prepared / "dataset.json") == ()
    assert "notes" not in json.loads((prepared / "dataset.json").read_bytes())
    notes = (Note("a", "b"), Note("c"))
    prepare.write_prepared("digits", digits.load(Path()), prepared, notes)
    assert prepared_files.read_prepared(prepared).notes == notes
    assert notes_of(prepared / "dataset.json") == notes
    (prepared / "dataset.json").write_text('{"notes": [{"x": 1}]}')
    assert notes_of(prepared / "dataset.json") == ()


def test_a_killed_rewrite_leaves_no_manifest(prepared, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare.write_prepared("digits", digits.load(Path()), prepared)
    with pytest.raises(UserError, match=r"dataset\.json"):
        prepared_files.read_prepared(prepared)


def test_neither_preparing_nor_reading_imports_torch(prepared):
    code = (
        "import sys, pathlib; from hebae.data import prepare, store; "
        "from hebae.data import digits, mnist; "
        f"store.load_prepared(pathlib.Path({str(prepared)!r}), 'train'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
