"""Checks of an experiment that a schema cannot express, before anything is run.

Without them a wrong config would fail after hours of training, when old results are gone. Each
error is one line that names the wrong key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hebae.base.errors import UserError
from hebae.config.at_hand import AUTO
from hebae.config.experiment import Dataset, Experiment, Model, Recipe
from hebae.config.protocols import Bounds, Fid, Panels, Stability
from hebae.config.registry import (
    DATASETS,
    DIVERGENCES,
    FEATURES,
    FIGURES,
    OBJECTIVES,
    RECONSTRUCTIONS,
    DatasetEntry,
    NetworkEntry,
    lookup,
)
from hebae.config.run import Training, weight_text
from hebae.config.schema import check_parameters


def check_experiment(
    experiment: Experiment, images: Mapping[str, DatasetEntry] | None = None
) -> None:
    """Check datasets, models and figures against each other.

    Args:
        images: what is known of the images of each dataset; by default the registry's entries.

    Raises:
        UserError: for the first key that is wrong.
    """
    if images is None:
        images = {name: DATASETS[data.source] for name, data in experiment.datasets.items()}
    bounded = {run.dataset for run in experiment.bounds_runs()}
    for name, data in experiment.datasets.items():
        _check_latent_dims(data)
        _check_measures(data, images[name])
        _check_bounds(f"datasets.{name}.bounds", images[name], data.bounds, name in bounded)
        for model, recipe in data.models.items():
            _check_recipe(data, images[name], experiment.models[model], recipe)
        for run in experiment.main_runs(name):
            if run.needs_covariance:
                recipe = data.models[run.model]
                _check_covariance(f"datasets.{name}", data, images[name], run.model, recipe)
    for figure, dataset in experiment.figures.items():
        _check_figure(figure, dataset, experiment)
        if FIGURES[figure].needs_images:
            panels = experiment.datasets[dataset].panels
            _check_panels(f"datasets.{dataset}.panels", images[dataset], panels)


def check_prepared(experiment: Experiment, results: Path) -> None:
    """Check datasets whose number of images is known only after they have been prepared.

    Args:
        results: the folder of the experiment; datasets that are missing or unreadable are skipped.

    Raises:
        UserError: for the first key that is wrong.
    """
    images = {name: DATASETS[data.source] for name, data in experiment.datasets.items()}
    unknown = [name for name, entry in images.items() if entry.n_test is None]
    for name in unknown:
        with suppress(OSError, ValueError, LookupError, TypeError):
            there = json.loads((results / "data" / name / "dataset.json").read_bytes())
            if there["name"] == experiment.datasets[name].source:
                numbers = {key: int(there[key]) for key in ("n_train", "n_test")}
                images[name] = replace(images[name], **numbers)
    try:
        if unknown:
            check_experiment(experiment, images)
    except UserError as error:
        raise UserError(
            f"config: {error} (according to {results}/data; if your images have changed, "
            "delete that folder)"
        ) from None


def check_objective(where: str, objective: str, parameters: Mapping[str, Any]) -> None:
    """Check the parameters of an objective and of its divergence. Raises UserError."""
    entry = lookup(OBJECTIVES, "objective", objective, where)
    known = {
        **entry.parameters,
        **entry.deviation_parameters,
        **({"divergence": {}} if entry.divergences else {}),
    }
    check_parameters(where, f"objective {objective!r}", parameters, known)
    if "divergence" not in parameters:
        return
    where = f"{where}.divergence"
    given = dict(parameters["divergence"])
    name = given.pop("name")
    divergence = lookup(DIVERGENCES, "divergence", name, where)
    if name not in entry.divergences:
        raise UserError(
            f"{where}: objective {objective!r} takes {' or '.join(entry.divergences)}, not {name!r}"
        )
    known = {**divergence.parameters, **divergence.adversary_parameters}
    check_parameters(where, f"{name!r}", given, known)


def check_network(
    where: str, name: str, entry: NetworkEntry, images: DatasetEntry, reconstruction: str
) -> None:
    """Check that a network fits the images and the reconstruction term. Raises UserError."""
    height, width, channels = images.image_shape
    if height % entry.multiple or width % entry.multiple:
        raise UserError(
            f"{where}: {name!r} needs images whose sides are multiples of "
            f"{entry.multiple}, not {height}×{width}"
        )
    if entry.channels not in (None, channels):
        raise UserError(
            f"{where}: {name!r} is for images of {entry.channels} channel, not {channels}"
        )
    if entry.reconstructions and reconstruction not in entry.reconstructions:
        raise UserError(
            f"{where}: the decoder of {name!r} needs the reconstruction "
            f"{' or '.join(entry.reconstructions)}, not {reconstruction!r}"
        )


def _check_latent_dims(data: Dataset) -> None:
    where = f"datasets.{data.name}"
    for key, values in (
        ("main_latent_dim", (data.main_latent_dim,)),
        ("weight_latent_dims", data.weight_latent_dims),
    ):
        if missing := [value for value in values if value not in data.latent_dims]:
            raise UserError(
                f"{where}.{key}: {missing[0]} is not one of latent_dims {data.latent_dims}"
            )
    for model, recipe in data.models.items():
        own = recipe.latent_dims or data.latent_dims
        if missing := [value for value in own if value not in data.latent_dims]:
            raise UserError(
                f"{where}.models.{model}.latent_dims: {missing[0]} is not one of the dataset's "
                f"{data.latent_dims}"
            )
        if data.main_latent_dim not in own:
            raise UserError(
                f"{where}.models.{model}.latent_dims: {own} lacks main_latent_dim "
                f"{data.main_latent_dim}, at which figures compare all models"
            )


def _check_measures(data: Dataset, images: DatasetEntry) -> None:
    where = f"datasets.{data.name}"
    indices = data.mutual_information.indices
    if images.n_test is not None and indices > images.n_test:
        raise UserError(
            f"{where}.mutual_information.indices: {indices} is more than the "
            f"{images.n_test} test images"
        )
    for size in data.training_sizes:
        if images.n_train is not None and size >= images.n_train:
            raise UserError(
                f"{where}.diagnostics.training_sizes: {size} is not below the {images.n_train} "
                "training images; leave it out, because all images are always trained on too"
            )
    if data.fid is not None:
        _check_fid(f"{where}.fid", images, data.fid)


def _check_bounds(where: str, images: DatasetEntry, bounds: Bounds, taken: bool) -> None:
    largest = max(bounds.samples)
    for k in bounds.samples:
        if largest % k:
            raise UserError(
                f"{where}.samples: {k} does not divide the largest, {largest}, whose codes are "
                "used for all"
            )
    if taken and images.n_test is not None:
        try:
            bounds.parts(images.n_test)
        except UserError as error:
            raise UserError(f"{where.removesuffix('bounds')}{error}") from None


def _check_fid(where: str, images: DatasetEntry, fid: Fid) -> None:
    name = "rotation" if fid.features == AUTO else fid.features
    entry = lookup(FEATURES, "features", name, where)
    if entry.needs_labels and not images.n_classes:
        raise UserError(
            f"{where}.features: the images have no labels to train a classifier on; use inception "
            "or rotation"
        )
    height, width, _ = images.image_shape
    if entry.needs_squares and height != width:
        raise UserError(
            f"{where}.features: a quarter turn does not fit images of {height}×{width}; use "
            "inception or classifier"
        )
    n_reference = {"train": images.n_train, "test": images.n_test}[fid.reference]
    if n_reference is not None and fid.n_reference > n_reference:
        raise UserError(
            f"{where}.n_reference: {fid.n_reference} is more than the {n_reference} images "
            f"of the {fid.reference} split"
        )


def _check_recipe(data: Dataset, images: DatasetEntry, model: Model, recipe: Recipe) -> None:
    where = f"datasets.{data.name}"
    at = f"{where}.models.{model.name}"
    _check_training(f"{at}.training", images, recipe.training)
    _check_weights(at, model, recipe)
    if data.stability is not None:
        _check_stability(f"{where}.stability", data.stability, recipe.training)
    if data.fid is not None and RECONSTRUCTIONS[recipe.reconstruction].binary:
        raise UserError(
            f"{where}.fid: {model.name} makes black and white images, which cannot be compared "
            "with grey ones; leave fid out"
        )


def _check_training(where: str, images: DatasetEntry, training: Training) -> None:
    if images.n_train is not None and training.batch_size > images.n_train:
        raise UserError(
            f"{where}.batch_size: {training.batch_size} is more than the "
            f"{images.n_train} training images"
        )
    after = [epochs for epochs, _ in training.learning_rate_steps]
    if after != sorted(set(after)):
        raise UserError(f"{where}.learning_rate_steps: epochs must increase, not {after}")


def _check_stability(where: str, asked: Stability, training: Training) -> None:
    if asked.images is not None and asked.images < training.batch_size:
        raise UserError(
            f"{where}.images: {asked.images} is less than a batch of {training.batch_size} images"
        )


def _check_weights(where: str, model: Model, recipe: Recipe) -> None:
    """Check the grid of λ, and each λ of an objective that uses it (Zhao et al. 2017, Eq. 6)."""
    if len(set(recipe.grid)) < len(recipe.grid):
        texts = ", ".join(map(weight_text, recipe.grid))
        raise UserError(f"{where}.weights: two are the same: {texts}")
    if not OBJECTIVES[model.objective].takes_lam:
        return
    alpha = {**model.parameters, **recipe.parameters}.get("alpha", 1)
    for key, lams in (("weight", (recipe.default,)), ("weights", recipe.grid)):
        for lam in lams:
            if lam <= 0:
                raise UserError(
                    f"{where}.{key}: objective {model.objective!r} needs a λ above 0, not {lam:g}"
                )
            if alpha + lam - 1 < -1e-12:  # 1 − α itself is allowed, whatever its rounding
                raise UserError(
                    f"{where}.{key}: α + λ − 1 must not be below 0, but is {alpha:g} + {lam:g} − 1:"
                    " the codes would be driven away from the prior"
                )


def _check_covariance(
    where: str, data: Dataset, images: DatasetEntry, model: str, recipe: Recipe
) -> None:
    """Check that every batch and split is large enough for a covariance of full rank (Eq. 11)."""
    batch_size, n_test = recipe.training.batch_size, images.n_test
    latent_dim = max(recipe.latent_dims or data.latent_dims)
    for what, size in (("batch_size", batch_size), ("test images", n_test)):
        if size is not None and latent_dim >= size:
            raise UserError(
                f"{where}: latent_dim {latent_dim} needs more than {latent_dim} {what}, not "
                f"{size}: the covariance of {model} would be singular (Eq. 11)"
            )
    for size in data.training_sizes:
        # a batch may hold an image twice, and then has fewer different images
        if 4 * data.main_latent_dim > min(size, batch_size):
            raise UserError(
                f"{where}.diagnostics.training_sizes: batches of {batch_size} out "
                f"of {size} images are too small for the covariance of {model} in "
                f"{data.main_latent_dim} dimensions (Eq. 11)"
            )


def _check_figure(figure: str, dataset: str, experiment: Experiment) -> None:
    where = f"figures.{figure}"
    entry = lookup(FIGURES, "figure", figure, "figures")
    if dataset not in experiment.datasets:
        raise UserError(f"{where}: dataset {dataset!r} is not in datasets")
    if entry.needs_bound and not any(run.bound for run in experiment.main_runs(dataset)):
        raise UserError(f"{where}: no model of {dataset!r} has a bound to plot")
    if entry.needs_likelihood and not any(
        run.dataset == dataset for run in experiment.bounds_runs()
    ):
        raise UserError(
            f"{where}: no model of {dataset!r} has a likelihood, so there is no bound on log p(x)"
        )
    if entry.needs_covariance and not any(
        run.needs_covariance for run in experiment.main_runs(dataset)
    ):
        raise UserError(f"{where}: no model of {dataset!r} has the covariance of a batch")
    if entry.needs_fid and experiment.datasets[dataset].fid is None:
        raise UserError(f"{where}: {dataset!r} has no fid block, so there is no distance to plot")
    if entry.needs_stability and experiment.datasets[dataset].stability is None:
        raise UserError(f"{where}: {dataset!r} has no stability block, so there is nothing to plot")
    if entry.needs_batch_sizes and not experiment.batch_sizes(dataset):
        raise UserError(f"{where}: no models of {dataset!r} are the same but for the batch size")
    if entry.needs_noises:
        grid = experiment.noises_and_divergences(dataset)
        if any(len(grid) == len({cell[k] for cell in grid}) for k in (0, 1)):
            raise UserError(
                f"{where}: no models of {dataset!r} differ in their noise alone, or none in their "
                "divergence alone"
            )
    if entry.needs_diagnostics and experiment.datasets[dataset].diagnostics is None:
        raise UserError(
            f"{where}: {dataset!r} has no diagnostics block, so there is nothing to plot"
        )


def _check_panels(where: str, images: DatasetEntry, panels: Panels) -> None:
    by_class = panels.end_points == "class"
    if by_class and not images.n_classes:
        raise UserError(
            f"{where}: the images have no classes; use end_points: image and the images' numbers"
        )
    ends = images.n_classes[0] if by_class else images.n_test
    for end in (end for pair in panels.interpolations for end in pair):
        if ends is not None and end >= ends:
            what, many = ("class", "classes") if by_class else ("test image", "test images")
            hint = "; or use end_points: image" if by_class else ""
            raise UserError(
                f"{where}.interpolations: there is no {what} {end}; "
                f"{many} are 0 to {ends - 1}{hint}"
            )
