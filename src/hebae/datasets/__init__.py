"""Datasets: each module has ``load(data_dir)``, which returns :class:`Arrays`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Arrays:
    """A dataset in memory (or memory mapped), split as its publisher or its module splits it.

    Images are uint8, (N, height, width, channels), 0 black to 255 white; labels are int64,
    (N,), and not negative. Raises ValueError where that does not hold.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self) -> None:
        for split, images, labels in (
            ("train", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
                raise ValueError(
                    f"{split} images must be uint8 (N, height, width, channels) and not empty, "
                    f"not {images.dtype} {images.shape}"
                )
            if labels.dtype != np.int64 or labels.shape != images.shape[:1] or labels.min() < 0:
                raise ValueError(
                    f"{split} labels must be int64 {images.shape[:1]} and not negative, "
                    f"not {labels.dtype} {labels.shape}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"training images are {self.train_images.shape[1:]}, "
                f"test images {self.test_images.shape[1:]}"
            )
