"""What a model reaches against the size of the batches that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import counted, listed, number
from hebae.claims.measures import covariance_distance, mean_over_dimensions
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS, OBJECTIVES
from hebae.config.run import Run
from hebae.facts.batch_bias import expected_regulariser
from hebae.facts.text import gaps_text, spread_text, titles, weights_text
from hebae.tables.rows import rows

LABELS = {
    "elbo_paper": "paper’s bound (nats)",
    "reconstruction": "reconstruction error",
    "distance": "‖Cov(μ) − I‖",
    "mic": "average MIC",
}


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """A row a run of :meth:`Experiment.batch_sizes`, at the main latent dimension, on test images.

    Columns model, batch_size, seed and those of :data:`LABELS`, NaN where a model has no bound.
    `model` is the label of the first of the models that are the same but for the batch size.
    """
    data, groups = experiment.datasets[dataset], experiment.batch_sizes(dataset)
    if not groups:
        raise UserError(
            f"config: figures.batch_size: no models of {dataset!r} are the same but for the batch "
            "size"
        )
    place = {own: (model, size) for model, sizes in groups.items() for size, own in sizes.items()}
    runs = [run for run in experiment.default_runs_of(dataset) if run.model in place]

    def each(run: Run) -> int:
        return 1

    final = ["elbo_paper", "reconstruction"]
    scores = rows(tables, "elbo_by_weight", runs, final, each=each, finite=False)
    covariance = rows(
        tables,
        "covariance",
        runs,
        ["covariance"],
        ["i", "j"],
        each=lambda run: run.latent_dim**2,
        finite=False,
        which="mean",
    )
    protocol = data.mutual_information.protocol
    information = rows(
        tables,
        "mutual_information",
        runs,
        ["mic"],
        ["dimension"],
        each=lambda run: run.latent_dim,
        finite=False,
        protocol=protocol,
    )
    table = scores.set_index(["model", "latent_dim", "seed"])[final]
    table["distance"] = covariance_distance(data, {"covariance": covariance}, "mean")
    of_codes = {"mutual_information": information}
    table["mic"] = mean_over_dimensions(data, of_codes, "mutual_information", "mic")
    table = table.reset_index().drop(columns="latent_dim")
    models, sizes = zip(*table["model"].map(place), strict=True)
    return table.assign(model=models, batch_size=sizes)


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    groups, names = experiment.batch_sizes(dataset), titles(experiment, dataset)
    cells = found.groupby(["model", "batch_size"])[list(LABELS)]
    means = cells.agg(lambda seeds: seeds.mean(skipna=False))
    lost = [
        f"{names[groups[model][size]]}"
        for (model, size), values in means.iterrows()
        if (values.isna() & cells.count().loc[(model, size)].gt(0)).any()
        or values.drop("elbo_paper").isna().any()
    ]
    return [
        f"What {listed(names[model] for model in groups)} reach on test images against the batch "
        f"size. {data.title}, latent dimension {data.main_latent_dim}.",
        *(
            f"{LABELS[value][:1].upper()}{LABELS[value][1:]}: "
            + "; ".join(_means(means[value], names))
            + "."
            for value in LABELS
        ),
        *_trainings(experiment, dataset),
        _bias(experiment, dataset),
        weights_text(experiment, dataset, {m for of in groups.values() for m in of.values()}),
        spread_text(data.seeds),
        gaps_text(lost),
    ]


def _means(values: pd.Series, names: Mapping[str, str]) -> list[str]:
    """Of each model that has any, the means by batch size: HEBAE 0.4 (32), 0.2 (128)."""
    values = values.dropna()
    return [
        f"{names[model]} "
        + ", ".join(f"{number(value)} ({size:,})" for size, value in values[model].items())
        for model in values.index.get_level_values("model").unique()
    ]


def _trainings(experiment: Experiment, dataset: str) -> list[str]:
    """How long each batch size was trained."""
    data, groups = experiment.datasets[dataset], experiment.batch_sizes(dataset)
    n_train = DATASETS[data.source].n_train
    found: dict[int, set[int]] = {}
    for sizes in groups.values():
        for size, model in sizes.items():
            found.setdefault(size, set()).add(data.models[model].training.epochs)
    texts, steps = [], set()
    for size, epochs in sorted(found.items()):
        texts.append(f"{listed(sorted(epochs))} epochs of batches of {size:,}")
        if n_train is not None:
            steps |= {count * (n_train // size) for count in epochs}
    said = f"Training: {listed(texts)}"
    if len(steps) == 1:
        return [f"{said}, {steps.pop():,} steps each."]
    if steps:
        said += f", {counted(min(steps), 'step')} to {counted(max(steps), 'step')}"
    return [f"{said}."]


def _bias(experiment: Experiment, dataset: str) -> str:
    """What a batch adds to HEBAE's R, which moves no optimum."""
    data = experiment.datasets[dataset]
    sizes = sorted(
        {
            size
            for model, sizes in experiment.batch_sizes(dataset).items()
            if OBJECTIVES[experiment.models[model].objective].needs_covariance
            for size in sizes
        }
    )
    if not sizes:
        return ""
    d = data.main_latent_dim
    added = expected_regulariser(np.array(sizes), d)
    texts = (f"{number(value)} (n = {size:,})" for size, value in zip(sizes, added, strict=True))
    return (
        f"In a batch of n Gaussian codes, HEBAE’s R is higher by {listed(texts)} nats on average, "
        "whatever their mean and covariance are: this bias has no gradient. All values here are of "
        "the whole test split."
    )
