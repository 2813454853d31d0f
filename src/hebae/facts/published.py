"""FIDs of an experiment beside those that others published on the same images.

FIDs of different publications compare only roughly: networks, crops, resizing, the numbers of
images and the reference differ.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from hebae.base.text import counted, interval, number
from hebae.config.experiment import Experiment
from hebae.facts.text import titles


class Published(NamedTuple):
    """A published FID."""

    images: str
    """The images: a name in :data:`hebae.config.registry.DATASETS`."""
    model: str
    fid: float
    source: str


WAE, RAE = "Tolstikhin et al. 2018 (WAE)", "the code of Ghosh et al. 2020 (RAE)"
CWAE, PYTHAE = "the code of Knop et al. 2020 (CWAE)", "pythae's reproducibility table"
PUBLISHED = (
    Published("celeba", "HEBAE, lowest", 46, "the paper"),
    Published("celeba", "VAE", 63, WAE),
    Published("celeba", "WAE-MMD", 55, WAE),
    Published("celeba", "WAE-GAN", 42, WAE),
    Published("celeba", "WAE-MMD, re-run", 56.5, PYTHAE),
    Published("celeba", "AAE, re-run", 43.3, PYTHAE),
    Published("celeba", "SWAE", 62.4, CWAE),
    Published("celeba", "WAE", 51.3, CWAE),
    Published("celeba", "CWAE", 48.0, CWAE),
    Published("celeba", "VAE", 48.3, RAE),
    Published("celeba", "RAE-SN", 40.95, RAE),
    Published("mnist", "SWAE", 30.9, CWAE),
    Published("mnist", "WAE", 28.7, CWAE),
    Published("mnist", "CWAE", 24.2, CWAE),
    Published("mnist", "VAE", 19.2, RAE),
    Published("mnist", "RAE-SN", 11.7, RAE),
)


def beside_published(
    table: pd.DataFrame, experiment: Experiment, dataset: str
) -> list[tuple[str, str, str]]:
    """Rows of a model, its FID and where that is from: our means over seeds, then the published.

    Empty unless distances were taken in Inception's features and there is something published.

    Args:
        table: the table `fid`.
    """
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    if "sampling" not in table:  # earlier versions measured samples of the prior alone
        table = table.assign(sampling="prior")
    known = [one for one in PUBLISHED if one.images == data.source]
    own = table[
        (table["dataset"] == dataset)
        & (table["sampling"] == "prior")
        & (table["features"] == "inception")
    ]
    if own.empty or not known:
        return []
    found = []
    for (model, latent_dim, weight), runs in own.groupby(
        ["model", "latent_dim", "weight"], sort=False
    ):
        what = f"{names[model]}, z = {latent_dim}, λ = {weight:g}"
        values = runs["fid"].astype(float).dropna()
        if values.empty:
            continue
        said = number(values.mean())
        if len(values) > 1:
            said += f", lowest to highest {interval(values.min(), values.max())}"
        found.append((what, said, f"here, {counted(len(values), 'seed')}"))
    return [*found, *((one.model, f"{one.fid:g}", one.source) for one in known)]


CAUTION = (
    "FIDs of different sources compare only roughly: networks, crops, resizing, the numbers of "
    "images and the reference differ."
)
