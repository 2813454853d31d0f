"""Prepared datasets, as :mod:`hebae.data.prepare` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.data.notes import Note

MANIFEST = "dataset.json"


@dataclass(frozen=True)
class PreparedDataset:
    """The description of a prepared dataset: the content of its ``dataset.json``."""

    name: str
    image_shape: tuple[int, int, int]  # height, width, channels
    n_train: int
    n_test: int
    factors: tuple[str, ...]  # what the columns of the labels are
    n_classes: tuple[int, ...]  # of each factor
    files: dict[str, str]  # file name: SHA-256
    checksum: str  # SHA-256 over those of the files, joined in their order
    notes: tuple[Note, ...] = ()  # what a person should know of how raw data was understood


def read_prepared(directory: Path) -> PreparedDataset:
    """Read the description of a prepared dataset. Raises UserError if it is missing or damaged."""
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        tuples = ("image_shape", "factors", "n_classes")
        fields["notes"] = tuple(Note(**note) for note in fields.get("notes", ()))
        return PreparedDataset(**fields | {name: tuple(fields[name]) for name in tuples})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from error


def load_prepared(directory: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, height, width, channels), and labels, int64 (N, k), of one split.

    `split` is "train" or "test". The arrays are views of the files, so a dataset need not fit in
    memory. Writing into an array changes a copy, not the file. Type and size are checked; to check
    every byte, compare the SHA-256s.

    Raises UserError if a file is missing or damaged.
    """
    prepared = read_prepared(directory)
    count = {"train": prepared.n_train, "test": prepared.n_test}[split]
    images = _load(directory / f"{split}_images.npy", np.uint8, (count, *prepared.image_shape))
    labels = _load(directory / f"{split}_labels.npy", np.int64, (count, len(prepared.factors)))
    return images, labels


def training_subset(count: int, n_train: int | None, seed: int) -> np.ndarray | None:
    """The indices of the training images of a run with this seed; None for all of them.

    They are a random subset of `count` images. For the same seed, a larger subset contains a
    smaller one.

    Raises UserError if there are not more images than the run asks for.
    """
    if n_train is None:
        return None
    if n_train >= count:
        raise UserError(
            f"diagnostics.training_sizes: {n_train} is not below the {count} training images"
        )
    order = np.random.default_rng(derive_seed(seed, "subset")).permutation(count)
    return order[:n_train]


def _load(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode="c")
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{array.dtype} {array.shape} where {MANIFEST} says {shape}")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return array


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(
        f"{path} is missing or damaged ({reason}); delete {path.parent} and prepare it again"
    )
