"""Datasets: each module has ``load(data_dir, threads)``, which returns :class:`Arrays`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Stream:
    """Images that are made while they are written, because together they would not fit in memory.

    ``chunks`` are uint8 (n, height, width, channels), in order. They can be iterated once, and hold
    as many images as ``shape`` says.
    """

    shape: tuple[int, int, int, int]
    chunks: Iterable[np.ndarray]
    dtype = np.dtype(np.uint8)


@dataclass(frozen=True, eq=False)
class Arrays:
    """A dataset, split as its publisher or its module splits it.

    Images are uint8, (N, height, width, channels), 0 black to 255 white. Labels are int64, (N, k),
    not negative, with a column for each of the k ``factors``; a dataset without labels has no
    column. Raises ValueError for anything else.
    """

    train_images: np.ndarray | Stream
    train_labels: np.ndarray
    test_images: np.ndarray | Stream
    test_labels: np.ndarray
    factors: tuple[str, ...]

    def __post_init__(self) -> None:
        for split, images, labels in (
            ("train", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != np.uint8 or len(images.shape) != 4 or 0 in images.shape:
                raise ValueError(
                    f"{split} images must be uint8 (N, height, width, channels) and not empty, "
                    f"not {images.dtype} {images.shape}"
                )
            wanted = images.shape[0], len(self.factors)
            if labels.dtype != np.int64 or labels.shape != wanted or (labels < 0).any():
                raise ValueError(
                    f"{split} labels must be int64 {wanted} and not negative, "
                    f"not {labels.dtype} {labels.shape}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"training images are {self.train_images.shape[1:]}, "
                f"test images {self.test_images.shape[1:]}"
            )
