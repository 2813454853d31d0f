"""The images of trained runs that figures show, as ``images.npz`` has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hebae.base import npz
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment

IMAGES = {"originals": 4, "reconstructions": 4, "interpolations": 5, "samples": 5}
"""Arrays of images.npz and how many axes they have; the last three are height, width, channels."""


def read_images(
    results: Path, experiment: Experiment, dataset: str
) -> dict[str, dict[str, np.ndarray]]:
    """The saved images of the dataset's main runs, by model: uint8, see :data:`IMAGES`."""
    images = {}
    for run in experiment.main_runs(dataset):
        path = results / "runs" / run.path / "images.npz"
        try:
            found = npz.read(path, list(IMAGES))
        except ValueError as error:
            raise UserError(f"{path}: not saved images: {error}") from None
        shapes = {name: array.shape for name, array in found.items()}
        if (
            any(len(shapes[name]) != axes for name, axes in IMAGES.items())
            or shapes["originals"] != shapes["reconstructions"]
            or len({shape[-3:] for shape in shapes.values()}) != 1
            or any(array.dtype != np.uint8 for array in found.values())
        ):
            raise UserError(f"{path}: not uint8 images of one size, or not as many: {shapes}")
        images[run.model] = found
    return images
