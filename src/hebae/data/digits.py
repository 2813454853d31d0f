"""digits: the 1,797 handwritten digits of 8×8 pixels that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hebae.data.arrays import Arrays

N_TEST = 500


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """1,297 training and 500 test images, uint8 (N, 8, 8, 1); one label, 0 to 9.

    The data has no split of its own. This one keeps the share of each digit and is always the same.
    Nothing is read from `data_dir`.
    """
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images,
        labels.astype(np.int64)[:, np.newaxis],
        test_size=N_TEST,
        stratify=labels,
        random_state=0,
    )
    return Arrays(train_images, train_labels, test_images, test_labels, ("digit",))
