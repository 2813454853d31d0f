"""Features of turns: ``python -m hebae.measures.fid.features.rotation --help``.

A convolutional network is trained to tell by how many quarter turns an image was turned (Gidaris,
Singh and Komodakis 2018, "Unsupervised representation learning by predicting image rotations").
It needs neither labels nor a download. Its distances are used only where they grow with distortions
of real images (:mod:`hebae.measures.fid.distortions`); they cannot be compared with any published
FID.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hebae.base.errors import UserError, command
from hebae.data.store import PreparedDataset
from hebae.measures.fid.features import supervised
from hebae.measures.fid.features.supervised import Task

QUARTERS = 4

load = supervised.load


def turned(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each image by a random number of quarter turns, which is its class, int64 (n, 1)."""
    turns = rng.integers(0, QUARTERS, len(images))
    found = np.empty_like(images)
    for quarter in range(QUARTERS):
        found[turns == quarter] = np.rot90(images[turns == quarter], quarter, axes=(1, 2))
    return found, turns[:, None]


def _turns(prepared: PreparedDataset) -> dict[str, int]:
    height, width, _ = prepared.image_shape
    if height != width:
        raise UserError(
            f"dataset {prepared.name} has images of {height}×{width}, which a quarter turn does "
            "not fit; use inception or classifier features for it"
        )
    return {"turn": QUARTERS}


TASK = Task("rotation", turned, _turns)


def main(arguments: Sequence[str] | None = None) -> None:
    supervised.main(TASK, "hebae.measures.fid.features.rotation", arguments)


if __name__ == "__main__":
    command(main)
