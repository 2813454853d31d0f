"""Features of a small classifier: ``python -m hebae.measures.fid.features.classifier --help``.

A convolutional network is trained on a dataset's own labels. Distances in its features compare
models on one dataset where Inception, which was trained on photographs, cannot be had or says
little. They cannot be compared with any published FID.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hebae.base.errors import UserError, command
from hebae.data.store import PreparedDataset
from hebae.measures.fid.features import supervised
from hebae.measures.fid.features.supervised import Task

load = supervised.load


def _as_labelled(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The images as they are, and the dataset's own labels."""
    return images, labels


def _factors(prepared: PreparedDataset) -> dict[str, int]:
    if not prepared.factors:
        raise UserError(
            f"dataset {prepared.name} has no labels to train a classifier on; use inception or "
            "rotation features for it"
        )
    return dict(zip(prepared.factors, prepared.n_classes, strict=True))


TASK = Task("classifier", _as_labelled, _factors)


def main(arguments: Sequence[str] | None = None) -> None:
    supervised.main(TASK, "hebae.measures.fid.features.classifier", arguments)


if __name__ == "__main__":
    command(main)
