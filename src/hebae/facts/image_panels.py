"""Rows of images of every model: reconstructions, interpolations and samples (Fig. 3, App. C).

The test images are the end points of the interpolations (:mod:`hebae.codes.images`): their
reconstructions stand at the ends of the rows between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hebae.base.text import counted, listed
from hebae.config.experiment import Dataset, Experiment
from hebae.config.registry import NETWORKS
from hebae.facts.text import WIDTH, is_wide, titles, weights_text, where_text

Images = Mapping[str, Mapping[str, np.ndarray]]
"""By model, as :func:`hebae.figures.images.read_images` gives them."""
DECODERS = {"independent pixels": "means of p(x|z)", "autoregressive": "draws from p(x|z)"}
"""What the images are that decoders make. An autoregressive one states each pixel given the ones
before it."""
BLOCKS = 3  # interpolations side by side, at most
ROWS = 10  # of samples of all models together, about


class Shown(NamedTuple):
    """Which images there is room for."""

    steps: list[int]  # of an interpolation
    blocks: int  # interpolations, side by side
    columns: int  # images in a row where no gap parts blocks
    rows: int  # of samples of a model


def shown(images: Images, width: float) -> Shown:
    """In a figure so many inches wide: fewer rather than smaller images."""
    arrays = next(iter(images.values()))
    n_lines, n_steps = arrays["interpolations"].shape[:2]
    n_samples = int(np.prod(arrays["samples"].shape[:2]))
    columns = 18 if is_wide(width) else 9
    blocks = min(n_lines, BLOCKS)
    steps = np.linspace(0, n_steps - 1, min(n_steps, columns // blocks)).round().astype(int)
    columns += 1  # the gaps between blocks, together
    rows = max(1, min(n_samples // columns, ROWS // len(images)))
    return Shown(steps.tolist(), blocks, columns, rows)


def samples(arrays: Mapping[str, np.ndarray], found: Shown) -> np.ndarray:
    """The first samples, as (rows, columns, h, w, c)."""
    flat = arrays["samples"].reshape(-1, *arrays["samples"].shape[2:])
    columns = min(found.columns, len(flat))
    return flat[: found.rows * columns].reshape(found.rows, columns, *flat.shape[1:])


def caption(images: Images, experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    found = shown(images, WIDTH)
    n_lines, n_steps = next(iter(images.values()))["interpolations"].shape[:2]
    return [
        "Every model reconstructs the same test images: its reconstructions stand below them, at "
        "both ends of its rows. The images between the ends decode codes on the straight line from "
        "one end’s code to the other’s.",
        where_text(experiment.datasets[dataset]),
        f"At a page’s width the figure shows {share(found.blocks, n_lines, 'interpolation')}, with "
        f"{share(len(found.steps), n_steps, 'step')} of each, and {samples_text(images)}.",
        *images_text(images, experiment, dataset),
        weights_text(experiment, dataset),
        "The paper shows CelebA (Figure 3) and MNIST (Appendix C) like this. It states of CelebA "
        "that HEBAE’s smoother latent space gives better samples than the WAE’s.",
    ]


def share(number: int, of: int, noun: str) -> str:
    """3 interpolations, or 3 of the 9 interpolations."""
    return counted(of, noun) if number == of else f"{number} of the {counted(of, noun)}"


def samples_text(images: Images) -> str:
    """How many samples of a model are shown at a page's width."""
    first = next(iter(images.values()))
    n_rows, n_columns = samples(first, shown(images, WIDTH)).shape[:2]
    n_samples = int(np.prod(first["samples"].shape[:2]))
    return f"{share(n_rows * n_columns, n_samples, 'random sample')} of each model"


def images_text(images: Images, experiment: Experiment, dataset: str) -> list[str]:
    """What the images are and whose, in sentences."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    first, *others = (images[model]["originals"] for model in names)
    alike = all(np.array_equal(first, other) for other in others)
    seen = f"Test images are shown as {next(iter(names.values()))} sees them; others see other "
    return [
        f"Decoded images are {listed(f'{DECODERS[kind]} ({kind})' for kind in by_decoder(data))}.",
        f"All images are of seed {data.seeds[0]}.",
        "" if alike else f"{seen}grey values.",
    ]


def by_decoder(data: Dataset) -> dict[str, list[str]]:
    """The models by the kind of their decoder, in the order of :data:`DECODERS`."""
    groups: dict[str, list[str]] = {kind: [] for kind in DECODERS}
    for model, recipe in data.models.items():
        groups[list(DECODERS)[NETWORKS[recipe.network].autoregressive]].append(model)
    return {kind: models for kind, models in groups.items() if models}
