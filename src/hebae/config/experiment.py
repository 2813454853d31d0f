"""An experiment, read from a config and checked once, at the door.

The shape of a config (names, types, bounds, defaults) is stated in
``workflow/schemas/config.schema.yaml``; here it is checked against that schema, then for what
a schema cannot say, and turned into frozen dataclasses. Nothing behind this module reads a
dictionary.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import reduce
from math import isfinite
from operator import getitem
from typing import Any

import jsonschema

from hebae.base.errors import UserError
from hebae.config import registry
from hebae.config.fields import from_fields, from_json
from hebae.config.registry import (
    DATASETS,
    DIVERGENCES,
    FEATURES,
    FIGURES,
    NETWORKS,
    OBJECTIVES,
    RECONSTRUCTIONS,
    lookup,
)
from hebae.config.run import Run, Training, weight_text


@dataclass(frozen=True)
class Model:
    """A label in the config: an objective with its parameters, and how figures call it."""

    name: str
    title: str
    objective: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How one model is trained on one dataset: weights λ, protocol, network, reconstruction.

    ``parameters`` are those of the objective that are others here than the model's.
    """

    default: float
    grid: tuple[float, ...]
    parameters: dict[str, Any]
    training: Training
    network: str
    network_parameters: dict[str, Any]
    reconstruction: str
    reconstruction_parameters: dict[str, Any]
    latent_dims: tuple[int, ...] | None = None
    """Some of the dataset's, the main one among them; None for all of them."""


@dataclass(frozen=True)
class MutualInformation:
    """Protocol of MIC and TIC (docs/paper.md)."""

    protocol: str
    indices: int
    draws: int
    sets: int


@dataclass(frozen=True)
class Panels:
    """What the qualitative figure shows.

    ``interpolations`` are pairs of classes or of test images, as ``end_points`` says.
    """

    interpolations: tuple[tuple[int, int], ...]
    end_points: str
    steps: int
    samples: tuple[int, int]


@dataclass(frozen=True)
class Fid:
    """Between which images the Fréchet distance is taken, and in which features."""

    features: str
    n_generated: int
    n_reference: int
    reference: str


@dataclass(frozen=True)
class Diagnostics:
    """How far the codes of a whole split are from the prior, and on what training sets.

    ``training_sizes`` are those smaller than the whole one, at the main latent dimension.
    """

    kernel: str
    permutations: int
    training_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Bounds:
    """With how many codes an image log p(x) is bounded, and on which test images.

    Each of ``samples`` divides the largest; ``images`` are the first so many, None for all.
    """

    samples: tuple[int, ...]
    images: int | None


@dataclass(frozen=True)
class Dataset:
    """One dataset of an experiment, with everything that is trained and measured on it.

    ``name`` is a label in the config, ``source`` the dataset whose images these are.
    """

    name: str
    source: str
    title: str
    latent_dims: tuple[int, ...]
    main_latent_dim: int
    seeds: tuple[int, ...]
    weight_seeds: tuple[int, ...]
    weight_latent_dims: tuple[int, ...]
    models: dict[str, Recipe]
    mutual_information: MutualInformation
    bounds: Bounds
    panels: Panels
    fid: Fid | None
    diagnostics: Diagnostics | None


@dataclass(frozen=True)
class Experiment:
    """A checked config."""

    name: str
    data_dir: str
    device: str
    run_mode: str
    """train, or restore: whether runs are trained here or come from an imported archive."""
    models: dict[str, Model]
    datasets: dict[str, Dataset]
    figures: dict[str, str]
    """Figure name to the dataset it is drawn for."""
    replace: bool = False
    """Whether runs trained under another config of the same name may be trained anew."""
    pack: int = 1
    """How many runs are trained as one stack of weights, where they can be."""
    claims: tuple[str, ...] = ()
    """Ids of the claims that it is to judge; all that it can where empty."""

    def run(
        self,
        dataset: str,
        model: str,
        latent_dim: int,
        lam: float,
        seed: int,
        n_train: int | None = None,
    ) -> Run:
        """Everything that determines one run."""
        data, label = self.datasets[dataset], self.models[model]
        trained = data.models[model]
        return Run(
            dataset=dataset,
            model=model,
            latent_dim=latent_dim,
            lam=lam,
            seed=seed,
            objective=label.objective,
            parameters={**label.parameters, **trained.parameters},
            network=trained.network,
            network_parameters=trained.network_parameters,
            reconstruction=trained.reconstruction,
            reconstruction_parameters=trained.reconstruction_parameters,
            training=trained.training,
            n_train=n_train,
        )

    def default_runs(self) -> Iterator[Run]:
        """Every model at its default weight, at every latent dimension and seed."""
        for data in self.datasets.values():
            for model, recipe in data.models.items():
                for latent_dim in recipe.latent_dims or data.latent_dims:
                    for seed in data.seeds:
                        yield self.run(data.name, model, latent_dim, recipe.default, seed)

    def weight_runs(self) -> Iterator[Run]:
        """The grids of weights, with the runs at the default weight that belong to them."""
        for data in self.datasets.values():
            for model, recipe in data.models.items():
                trained = recipe.latent_dims or data.latent_dims
                for latent_dim in data.weight_latent_dims:
                    for lam in recipe.grid if latent_dim in trained else ():
                        for seed in data.weight_seeds:
                            yield self.run(data.name, model, latent_dim, lam, seed)

    def diagnostics_runs(self) -> Iterator[Run]:
        """Default runs of the datasets with diagnostics, and those on smaller training sets."""
        for run in self.default_runs():
            if self.datasets[run.dataset].diagnostics is not None:
                yield run
        for data in self.datasets.values():
            if data.diagnostics is not None:
                for model, recipe in data.models.items():
                    for size in data.diagnostics.training_sizes:
                        for seed in data.seeds:
                            yield self.run(
                                data.name, model, data.main_latent_dim, recipe.default, seed, size
                            )

    def runs(self) -> list[Run]:
        """Every run of the experiment on all training images, once."""
        return list({run.path: run for run in (*self.default_runs(), *self.weight_runs())}.values())

    def fid_runs(self) -> Iterator[Run]:
        """Every run of the datasets that are to be compared by Fréchet distance."""
        return (run for run in self.runs() if self.datasets[run.dataset].fid is not None)

    def bounds_runs(self) -> Iterator[Run]:
        """Default runs whose codes and images have densities: log p(x) can be bounded for them."""
        for run in self.default_runs():
            entries = run.entries
            if entries.objective.stochastic and entries.reconstruction.likelihood:
                yield run

    def main_runs(self, dataset: str) -> list[Run]:
        """One run a model: main latent dimension, default weight, first seed."""
        data = self.datasets[dataset]
        return [
            self.run(dataset, model, data.main_latent_dim, recipe.default, data.seeds[0])
            for model, recipe in data.models.items()
        ]

    def to_json(self) -> str:
        """One line of JSON, from which :meth:`from_json` makes the same experiment."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """Read what :meth:`to_json` wrote."""
        return from_json(cls, text)


def parse(document: Any, schema: Mapping[str, Any]) -> Experiment:
    """Check a config document against the schema and against itself.

    Raises:
        UserError: naming the first key that is wrong, in one line.
    """
    check_schema(document, schema, "config")
    fields = _with_defaults(_inherited(document), schema, schema)
    models = {name: _model(name, model) for name, model in fields["models"].items()}
    datasets = {
        name: _dataset(name, data, models, fields["seeds"])
        for name, data in fields["datasets"].items()
    }
    experiment = Experiment(
        name=fields["experiment"],
        data_dir=fields["data_dir"],
        device=fields["device"],
        run_mode=fields["runs"],
        models=models,
        datasets=datasets,
        figures=dict(fields["figures"]),
        replace=fields["replace"],
        pack=fields["pack"],
        claims=tuple(fields["claims"]),
    )
    for figure, dataset in experiment.figures.items():
        _check_figure(figure, dataset, experiment)
    return experiment


def _is_integer(_: Any, value: Any) -> bool:
    """JSON Schema takes 2.0 for an integer; ``range`` and argparse do not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    """YAML's .nan and .inf are floats, and no hyper-parameters."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def _check_keys(value: Any, what: str, where: str = "") -> None:
    """YAML allows keys that are no text, and then nothing sensible can be said of them."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"{what}: {where or 'the top level'}: key {key!r} is not text")
            _check_keys(inner, what, f"{where}.{key}".lstrip("."))


def check_schema(document: Any, schema: Mapping[str, Any], what: str) -> None:
    """Check a document, called `what` in messages, against a JSON schema.

    Raises:
        UserError: naming the key that is wrong, in one line.
    """
    _check_keys(document, what)
    errors = _Validator(schema).iter_errors(document)
    error = jsonschema.exceptions.best_match(errors)
    if error is None:
        return
    where = ".".join(str(part) for part in error.absolute_path) or "the top level"
    hint = ""
    if error.validator == "type" and isinstance(error.instance, str):
        with suppress(ValueError):
            # YAML 1.1 reads 1e-3 as text: a number needs its point
            hint = f"; write {float(error.instance)!r}, or 1.0e-3 for powers of ten"
    if error.validator == "additionalProperties":
        hint = f"; known here: {', '.join(error.schema['properties'])}"
    message = " ".join(str(error.message).split())
    raise UserError(f"{what}: {where}: {message[:300]}{hint}")


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """The document with the schema's defaults filled in; a new object."""
    if reference := schema.get("$ref"):
        schema = reduce(getitem, reference.split("/")[1:], root)
    if not isinstance(value, Mapping):
        return value
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", {})
    filled = {
        key: _with_defaults(inner, known.get(key, other if isinstance(other, dict) else {}), root)
        for key, inner in value.items()
    }
    for key, inner in known.items():
        if key not in filled and "default" in inner:
            filled[key] = _with_defaults(inner["default"], inner, root)
    return filled


def _inherited(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with what models take over from their dataset written out; a new object."""
    document = copy.deepcopy(dict(document))
    for data in document["datasets"].values():
        reconstruction = data.pop("reconstruction", {"name": "bernoulli"})
        for trained in data["models"].values():
            trained["training"] = {**data["training"], **trained.get("training", {})}
            trained.setdefault("network", data["network"])
            trained.setdefault("reconstruction", reconstruction)
        del data["training"]
    return document


def _model(name: str, fields: Mapping[str, Any]) -> Model:
    parameters = {key: fields[key] for key in fields if key not in ("objective", "title")}
    _check_objective(f"config: models.{name}", fields["objective"], parameters)
    if divergences := OBJECTIVES[fields["objective"]].divergences:
        parameters.setdefault("divergence", {"name": divergences[0]})
    return Model(name, fields.get("title", name), fields["objective"], parameters)


def _dataset(
    name: str, fields: Mapping[str, Any], models: Mapping[str, Model], seeds: list[int]
) -> Dataset:
    where = f"config: datasets.{name}"
    source = fields.get("source", name)
    if source not in DATASETS:
        known = ", ".join(DATASETS)
        hint = "" if "source" in fields else "; a label of your own needs source: with one of them"
        raise UserError(f"{where}: unknown dataset {source!r}; there are: {known}{hint}")
    images = DATASETS[source]
    latent_dims = tuple(fields["latent_dims"])
    main_latent_dim = fields.get("main_latent_dim", latent_dims[-1])
    weight_latent_dims = tuple(fields.get("weight_latent_dims", latent_dims))
    for key, values in (
        ("main_latent_dim", (main_latent_dim,)),
        ("weight_latent_dims", weight_latent_dims),
    ):
        if missing := [value for value in values if value not in latent_dims]:
            raise UserError(f"{where}.{key}: {missing[0]} is not one of latent_dims {latent_dims}")

    mutual_information = from_fields(MutualInformation, fields["mutual_information"])
    bounds = from_fields(Bounds, fields["bounds"])
    _check_bounds(f"{where}.bounds", images, bounds)
    panels = from_fields(Panels, fields["panels"])
    fid = from_fields(Fid, fields["fid"]) if "fid" in fields else None
    diagnostics = (
        from_fields(Diagnostics, fields["diagnostics"]) if "diagnostics" in fields else None
    )
    _check_images(where, images, mutual_information, fid, diagnostics)
    used: dict[str, Recipe] = {}
    for model, weights in fields["models"].items():
        training = from_fields(Training, weights["training"])
        _check_training(f"{where}.models.{model}.training", images, training)
        reconstruction = dict(weights["reconstruction"])
        term = reconstruction.pop("name")
        entry = lookup(RECONSTRUCTIONS, "reconstruction", term)
        at = f"{where}.models.{model}.reconstruction"
        _check_parameters(at, f"{term!r}", reconstruction, entry.parameters)
        if fid is not None and entry.binary:
            raise UserError(
                f"{where}.fid: {model} makes black and white images, and would be compared with "
                "grey ones; leave fid out"
            )
        network = dict(weights["network"])
        network_name = network.pop("name")
        own = weights["network"] != fields["network"]
        at = f"{where}.models.{model}.network" if own else f"{where}.network"
        _check_network(at, network_name, network, images, term)
        if model not in models:
            known = ", ".join(models)
            raise UserError(f"{where}.models: unknown model {model!r}; models has: {known}")
        own_dims = tuple(weights.get("latent_dims", latent_dims))
        if missing := [value for value in own_dims if value not in latent_dims]:
            raise UserError(
                f"{where}.models.{model}.latent_dims: {missing[0]} is not one of the dataset's "
                f"{latent_dims}"
            )
        if main_latent_dim not in own_dims:
            raise UserError(
                f"{where}.models.{model}.latent_dims: {own_dims} lacks main_latent_dim "
                f"{main_latent_dim}, at which figures compare all models"
            )
        if OBJECTIVES[models[model].objective].needs_covariance:
            _check_covariance(where, model, max(own_dims), training, images)
            for size in diagnostics.training_sizes if diagnostics else ():
                # a batch may hold an image twice, and then has fewer that differ
                if 4 * main_latent_dim > min(size, training.batch_size):
                    raise UserError(
                        f"{where}.diagnostics.training_sizes: batches of {training.batch_size} out "
                        f"of {size} images are too small for the covariance of {model} in "
                        f"{main_latent_dim} dimensions (Eq. 11)"
                    )
        texts = [weight_text(lam) for lam in weights["weights"]]
        if len(set(texts)) < len(texts):
            raise UserError(f"{where}.models.{model}.weights: two are the same: {', '.join(texts)}")
        objective = models[model].objective
        parameters = dict(weights["parameters"])
        at = f"{where}.models.{model}"
        _check_objective(f"{at}.parameters", objective, parameters)
        both = {**models[model].parameters, **parameters}
        for key, values in (("weight", [weights["weight"]]), ("weights", weights["weights"])):
            for weight in values:
                _check_weight(f"{at}.{key}", objective, both, weight)
        used[model] = Recipe(
            default=float(weight_text(weights["weight"])),
            grid=tuple(map(float, texts)),
            latent_dims=own_dims if "latent_dims" in weights else None,
            parameters=parameters,
            training=training,
            network=network_name,
            network_parameters=network,
            reconstruction=term,
            reconstruction_parameters=reconstruction,
        )
    return Dataset(
        name=name,
        source=source,
        title=fields.get("title", name),
        latent_dims=latent_dims,
        main_latent_dim=main_latent_dim,
        seeds=tuple(fields.get("seeds", seeds)),
        weight_seeds=tuple(fields.get("weight_seeds", fields.get("seeds", seeds))),
        weight_latent_dims=weight_latent_dims,
        models=used,
        mutual_information=mutual_information,
        bounds=bounds,
        panels=panels,
        fid=fid,
        diagnostics=diagnostics,
    )


def _check_objective(where: str, objective: str, parameters: Mapping[str, Any]) -> None:
    entry = lookup(OBJECTIVES, "objective", objective)
    known = (*entry.parameters, *["divergence"] * bool(entry.divergences))
    _check_parameters(where, f"objective {objective!r}", parameters, known)
    if "divergence" not in parameters:
        return
    given = dict(parameters["divergence"])
    name = given.pop("name")
    if name not in DIVERGENCES:
        known = ", ".join(DIVERGENCES)
        raise UserError(f"{where}.divergence: unknown divergence {name!r}; there are: {known}")
    divergence = DIVERGENCES[name]
    if name not in entry.divergences:
        raise UserError(
            f"{where}.divergence: objective {objective!r} takes {' or '.join(entry.divergences)}, "
            f"not {name!r}"
        )
    of_divergence = (*divergence.parameters, *divergence.adversary_parameters)
    _check_parameters(f"{where}.divergence", f"{name!r}", given, of_divergence)


def _check_weight(where: str, objective: str, parameters: Mapping[str, Any], weight: float) -> None:
    """What λ has to be where the objective is told it (Zhao et al. 2017, Eq. 6)."""
    if not OBJECTIVES[objective].takes_weight:
        return
    if weight <= 0:
        raise UserError(f"{where}: objective {objective!r} needs a λ above 0, not {weight:g}")
    alpha = parameters.get("alpha", 1)
    if alpha + weight - 1 < -1e-12:  # 1 − α itself is allowed, whatever its rounding
        raise UserError(
            f"{where}: α + λ − 1 must not be below 0, and is {alpha:g} + {weight:g} − 1: "
            "the codes would be driven away from the prior"
        )


def _check_parameters(where: str, what: str, given: Collection[str], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            names = ", ".join(known) or "none"
            raise UserError(f"{where}: {what} has no parameter {key!r}; it has: {names}")


def _check_network(
    where: str,
    name: str,
    parameters: Mapping[str, Any],
    images: registry.DatasetEntry,
    reconstruction: str,
) -> None:
    entry = lookup(NETWORKS, "network", name)
    _check_parameters(where, f"{name!r}", parameters, entry.parameters)
    for key in entry.required:
        if key not in parameters:
            raise UserError(f"{where}: {name!r} needs {key!r}")
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


def _check_training(where: str, images: registry.DatasetEntry, training: Training) -> None:
    if images.n_train is not None and training.batch_size > images.n_train:
        raise UserError(
            f"{where}.batch_size: {training.batch_size} is more than the "
            f"{images.n_train} training images"
        )
    after = [epochs for epochs, _ in training.learning_rate_steps]
    if after != sorted(set(after)):
        raise UserError(f"{where}.learning_rate_steps: epochs must increase, not {after}")


def _check_images(
    where: str,
    images: registry.DatasetEntry,
    mutual_information: MutualInformation,
    fid: Fid | None,
    diagnostics: Diagnostics | None,
) -> None:
    """What would otherwise fail after hours of training, and after old results are gone."""
    if images.n_test is not None and mutual_information.indices > images.n_test:
        raise UserError(
            f"{where}.mutual_information.indices: {mutual_information.indices} is more than the "
            f"{images.n_test} test images"
        )
    for size in diagnostics.training_sizes if diagnostics else ():
        if images.n_train is not None and size >= images.n_train:
            raise UserError(
                f"{where}.diagnostics.training_sizes: {size} is not below the {images.n_train} "
                "training images there are, which are always among them"
            )
    if fid is None:
        return
    if lookup(FEATURES, "features", fid.features).needs_labels and not images.n_classes:
        raise UserError(
            f"{where}.fid.features: the images have no labels to train a classifier on; "
            "say inception"
        )
    n_reference = {"train": images.n_train, "test": images.n_test}[fid.reference]
    if n_reference is not None and fid.n_reference > n_reference:
        raise UserError(
            f"{where}.fid.n_reference: {fid.n_reference} is more than the {n_reference} images "
            f"of the {fid.reference} split"
        )


def _check_bounds(where: str, images: registry.DatasetEntry, bounds: Bounds) -> None:
    largest = max(bounds.samples)
    for k in bounds.samples:
        if largest % k:
            raise UserError(
                f"{where}.samples: {k} does not divide the largest, {largest}, whose codes serve "
                "for all"
            )
    if None not in (bounds.images, images.n_test) and bounds.images > images.n_test:
        raise UserError(
            f"{where}.images: {bounds.images} is more than the {images.n_test} test images"
        )


def _check_figure(figure: str, dataset: str, experiment: Experiment) -> None:
    where = f"config: figures.{figure}"
    entry = lookup(FIGURES, "figure", figure)
    if dataset not in experiment.datasets:
        raise UserError(f"{where}: dataset {dataset!r} is not in datasets")
    if entry.needs_bound and not any(run.bound for run in experiment.main_runs(dataset)):
        raise UserError(f"{where}: no model of {dataset!r} has a bound to plot")
    if entry.needs_likelihood and not any(
        run.dataset == dataset for run in experiment.bounds_runs()
    ):
        raise UserError(
            f"{where}: no model of {dataset!r} has a likelihood and a stochastic encoder, so there "
            "is no bound on log p(x)"
        )
    if entry.needs_covariance and not any(
        run.entries.objective.needs_covariance for run in experiment.main_runs(dataset)
    ):
        raise UserError(f"{where}: no model of {dataset!r} has the covariance of a batch")
    if entry.needs_fid and experiment.datasets[dataset].fid is None:
        raise UserError(f"{where}: {dataset!r} has no fid block, so there is no distance to plot")
    if entry.needs_images:
        data = experiment.datasets[dataset]
        images = DATASETS[data.source]
        _check_panels(f"config: datasets.{dataset}.panels", images, data.panels)
    if entry.needs_diagnostics and experiment.datasets[dataset].diagnostics is None:
        raise UserError(f"{where}: {dataset!r} has no diagnostics block, so there are none to plot")


def _check_panels(where: str, images: registry.DatasetEntry, panels: Panels) -> None:
    by_class = panels.end_points == "class"
    if by_class and not images.n_classes:
        raise UserError(
            f"{where}: the images have no classes; say end_points: image, and number them"
        )
    ends = images.n_classes[0] if by_class else images.n_test
    for end in (end for pair in panels.interpolations for end in pair):
        if ends is not None and end >= ends:
            what, many = ("class", "classes") if by_class else ("test image", "test images")
            hint = "; or say end_points: image" if by_class else ""
            raise UserError(
                f"{where}.interpolations: there is no {what} {end}; "
                f"{many} are 0 to {ends - 1}{hint}"
            )


def _check_covariance(
    where: str, model: str, latent_dim: int, training: Training, images: registry.DatasetEntry
) -> None:
    for what, size in (("batch_size", training.batch_size), ("test images", images.n_test)):
        if size is not None and latent_dim >= size:
            raise UserError(
                f"{where}: latent_dim {latent_dim} needs more than {latent_dim} {what}, not "
                f"{size}: the covariance of {model} would be singular (Eq. 11)"
            )
