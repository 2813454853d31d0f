"""What captions state of an experiment, in plain text, from its config and its prepared data."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from hebae.base.text import counted, listed, number
from hebae.config.experiment import Dataset, Experiment
from hebae.config.protocols import MutualInformation
from hebae.config.registry import DATASETS
from hebae.config.run import weight_text
from hebae.data.notes import notes_of

WIDTH = 6.9
"""Text width of a two-column paper, in inches. A column of it is 3.3 inches wide."""


def titles(experiment: Experiment, dataset: str) -> dict[str, str]:
    """The dataset's models and what figures call them."""
    return {model: experiment.models[model].title for model in experiment.datasets[dataset].models}


def has_hebae(experiment: Experiment, dataset: str) -> bool:
    """Whether the dataset has the paper's own model."""
    models = experiment.datasets[dataset].models
    return any(experiment.models[model].objective == "hebae" for model in models)


def is_wide(width: float) -> bool:
    """Whether a figure is as wide as a page rather than a column."""
    return width > 5


def images_of(results: Path, data: Dataset) -> tuple[int | None, int | None]:
    """How many training and test images a dataset has, where that is known."""
    try:
        fields = json.loads((results / "data" / data.name / "dataset.json").read_bytes())
        return int(fields["n_train"]), int(fields["n_test"])
    except (OSError, ValueError, KeyError, TypeError):
        return DATASETS[data.source].n_train, DATASETS[data.source].n_test


def data_text(results: Path, data: Dataset) -> str:
    """A dataset by its title, its size, and what a reader has to know of it (a split of ours):
    Digits 8×8 (1,297 training and 500 test images)."""
    n_train, n_test = images_of(results, data)
    said = []
    if n_train is not None and n_test is not None:
        said.append(f"{n_train:,} training and {n_test:,} test images")
    notes = notes_of(results / "data" / data.name / "dataset.json")
    said += [note.caption for note in notes if note.caption]
    return f"{data.title} ({'; '.join(said)})" if said else data.title


def epochs_text(data: Dataset) -> str:
    """40 epochs, or 20 to 40 epochs."""
    found = [recipe.training.epochs for recipe in data.models.values()]
    low, high = min(found), max(found)
    return counted(high, "epoch") if low == high else f"{low:,} to {counted(high, 'epoch')}"


def where_text(data: Dataset) -> str:
    """The dataset, its main latent dimension and the training: of figures of main runs alone."""
    return f"{data.title}, latent dimension {data.main_latent_dim}, after {epochs_text(data)}."


def spread_text(seeds: Sequence[int], marks: str = "marks", spread: str = "bars") -> str:
    """How means and :data:`hebae.figures.common.SPREAD` are drawn, in a sentence.

    Args:
        marks: what shows the means.
        spread: what shows the spread.
    """
    if len(seeds) == 1:
        return f"{marks.capitalize()}: one seed."
    over = counted(len(seeds), "seed")
    return f"{marks.capitalize()}: mean over {over}; {spread}: from the lowest to the highest seed."


def gaps_text(places: Sequence[str], why: str = "a seed has no finite value") -> str:
    """Where no mean is shown, in a sentence; nothing where there is one everywhere."""
    return f"No mean is shown of {listed(places)}: {why}." if places else ""


def zero_text(table: pd.DataFrame, value: str, names: Mapping[str, str]) -> str:
    """Means at λ = 0, which a log axis cannot show; nothing where no run has that weight."""
    zero = table[table["weight"] == 0].groupby(["model", "latent_dim"], sort=False)[value]
    means = zero.agg(lambda seeds: seeds.mean(skipna=False)).dropna()
    several = table["latent_dim"].nunique() > 1
    texts = [
        f"{number(mean)} for {names[model]}" + f" (latent dimension {latent_dim:g})" * several
        for (model, latent_dim), mean in means.items()
    ]
    return f"The log axis cannot show λ = 0, where the mean is {listed(texts)}." if texts else ""


def weights_text(
    experiment: Experiment, dataset: str, models: Collection[str] | None = None
) -> str:
    """The default λ of the models, or of some, in a sentence."""
    of_weights: dict[str, list[str]] = {}
    for model, recipe in experiment.datasets[dataset].models.items():
        if models is None or model in models:
            title = experiment.models[model].title
            of_weights.setdefault(weight_text(recipe.default), []).append(title)
    if len(of_weights) == 1:
        return f"Weight in training: λ = {next(iter(of_weights))}."
    texts = (f"{weight} for {listed(models)}" for weight, models in of_weights.items())
    return f"Weight λ in training: {'; '.join(texts)}."


def protocol_text(protocol: MutualInformation) -> str:
    """How MIC and TIC were estimated, in a sentence."""
    if protocol.protocol == "mean_vs_sample":
        return "MIC and TIC are between the mean μⱼ and a sample zⱼ of each latent variable."
    return (
        "MIC and TIC are between the index of a test image and each latent variable: "
        f"{protocol.indices} indices × {protocol.draws} draws, averaged over "
        f"{counted(protocol.sets, 'random set')} of indices."
    )
