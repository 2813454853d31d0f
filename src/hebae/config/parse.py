"""Turns a config document into an experiment, and checks it once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from hebae.base.errors import UserError
from hebae.config.checks import check_experiment, check_network, check_objective
from hebae.config.experiment import Dataset, Execution, Experiment, Model, Recipe, Word
from hebae.config.fields import from_fields
from hebae.config.protocols import (
    Bounds,
    Diagnostics,
    Fid,
    MutualInformation,
    Panels,
    Stability,
)
from hebae.config.registry import (
    DATASETS,
    NETWORKS,
    OBJECTIVES,
    RECONSTRUCTIONS,
    DatasetEntry,
    lookup,
)
from hebae.config.run import Training, weight_text
from hebae.config.schema import check_parameters, check_schema, with_defaults


class Config(NamedTuple):
    """A parsed config: the experiment, and how it is executed."""

    experiment: Experiment
    execution: Execution


def parse(document: Any, schema: Mapping[str, Any]) -> Config:
    """Check a config document against the schema, the registry and itself.

    Raises:
        UserError: naming the first key that is wrong, in one line.
    """
    check_schema(document, schema, "config")
    fields = with_defaults(_inherited(document), schema, schema)
    try:
        models = {name: _model(name, model) for name, model in fields["models"].items()}
        experiment = Experiment(
            name=fields["experiment"],
            models=models,
            datasets={
                name: _dataset(name, data, models, fields["seeds"])
                for name, data in fields["datasets"].items()
            },
            figures=dict(fields["figures"]),
            claims=tuple(fields["claims"]),
        )
        check_experiment(experiment)
    except UserError as error:
        raise UserError(f"config: {error}") from None
    execution = Execution(
        data_dir=fields["data_dir"],
        device=fields["device"],
        word=_word(fields),
        pack=fields["pack"],
        figure_width=fields["figure_width"],
    )
    return Config(experiment, execution)


def _word(fields: Mapping[str, Any]) -> Word:
    """The user's word about finished trainings. Raises UserError for contradicting keys."""
    said = {
        "runs: restore": (fields["runs"] == "restore", Word.RESTORE),
        "keep: true": (fields["keep"], Word.KEEP),
        "replace: true": (fields["replace"], Word.REPLACE),
    }
    words = {text: word for text, (given, word) in said.items() if given}
    if len(words) > 1:
        raise UserError(f"config: {' and '.join(words)} contradict each other; leave one out")
    return next(iter(words.values()), Word.ASK)


def _inherited(document: Mapping[str, Any]) -> dict[str, Any]:
    """A new document in which each model inherits the training keys of its dataset.

    Call it before defaults are filled in, because defaults would replace the dataset's values.
    """
    document = copy.deepcopy(dict(document))
    for data in document["datasets"].values():
        for recipe in data["models"].values():
            recipe["training"] = {**data["training"], **recipe.get("training", {})}
    return document


def _model(name: str, fields: Mapping[str, Any]) -> Model:
    parameters = {key: fields[key] for key in fields if key not in ("objective", "title")}
    check_objective(f"models.{name}", fields["objective"], parameters)
    if divergences := OBJECTIVES[fields["objective"]].divergences:
        parameters.setdefault("divergence", {"name": divergences[0]})
    return Model(name, fields.get("title", name), fields["objective"], parameters)


def _dataset(
    name: str, fields: Mapping[str, Any], models: Mapping[str, Model], seeds: list[int]
) -> Dataset:
    where = f"datasets.{name}"
    source = fields.get("source", name)
    if source not in DATASETS:
        known = ", ".join(DATASETS)
        hint = (
            ""
            if "source" in fields
            else "; a label of your own needs the key source, with one of these"
        )
        raise UserError(f"{where}: unknown dataset {source!r}; there are: {known}{hint}")
    for model in fields["models"]:
        lookup(models, "model", model, f"{where}.models")
    seeds = fields.get("seeds", seeds)
    latent_dims = tuple(fields["latent_dims"])
    diagnostics = dict(fields.get("diagnostics", {}))
    training_sizes = tuple(diagnostics.pop("training_sizes", ()))
    return Dataset(
        name=name,
        source=source,
        title=fields.get("title", name),
        latent_dims=latent_dims,
        main_latent_dim=fields.get("main_latent_dim", latent_dims[-1]),
        seeds=tuple(seeds),
        weight_seeds=tuple(fields.get("weight_seeds", seeds)),
        weight_latent_dims=tuple(fields.get("weight_latent_dims", latent_dims)),
        models={
            model: _recipe(where, models[model], recipe, fields, DATASETS[source])
            for model, recipe in fields["models"].items()
        },
        mutual_information=from_fields(MutualInformation, fields["mutual_information"]),
        bounds=from_fields(Bounds, fields["bounds"]),
        panels=from_fields(Panels, fields["panels"]),
        fid=from_fields(Fid, fields["fid"]) if "fid" in fields else None,
        diagnostics=from_fields(Diagnostics, diagnostics) if diagnostics else None,
        training_sizes=training_sizes,
        stability=from_fields(Stability, fields["stability"]) if "stability" in fields else None,
    )


def _recipe(
    where: str,
    model: Model,
    fields: Mapping[str, Any],
    data: Mapping[str, Any],
    images: DatasetEntry,
) -> Recipe:
    own = f"{where}.models.{model.name}"
    parts = {}
    for kind, table in (("network", NETWORKS), ("reconstruction", RECONSTRUCTIONS)):
        at = f"{own if kind in fields else where}.{kind}"
        given = dict(fields.get(kind, data[kind]))
        entry = lookup(table, kind, name := given.pop("name"), at)
        required = getattr(entry, "required", ())
        check_parameters(at, f"{name!r}", given, entry.parameters, required)
        parts[kind] = at, name, entry, given
    at, network, entry, network_parameters = parts["network"]
    _, reconstruction, _, reconstruction_parameters = parts["reconstruction"]
    check_network(at, network, entry, images, reconstruction)
    check_objective(f"{own}.parameters", model.objective, fields["parameters"])
    return Recipe(
        default=float(weight_text(fields["weight"])),
        grid=tuple(float(weight_text(lam)) for lam in fields["weights"]),
        parameters=fields["parameters"],
        training=from_fields(Training, fields["training"]),
        network=network,
        network_parameters=network_parameters,
        reconstruction=reconstruction,
        reconstruction_parameters=reconstruction_parameters,
        latent_dims=tuple(fields["latent_dims"]) if "latent_dims" in fields else None,
    )
