"""Fig. 1b: Fréchet distance between generated and real images, against the weight λ."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import interval, listed, number
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS
from hebae.facts.text import epochs_text, gaps_text, spread_text, titles, zero_text
from hebae.tables.rows import rows

OWN, COMMON = "weight", "common_weight"
"""Columns of λ: as each model's loss has it, and for a loss of mean error + λ · R."""


class Distances(NamedTuple):
    """Rows of the table by the column `sampling`; without that column, all are of the prior."""

    prior: pd.DataFrame
    """Of generated images: a row a run, of the grid of λ where there is one."""
    reconstruction: pd.DataFrame
    """Of the same runs' reconstructions, where they are measured."""
    real: pd.DataFrame
    """Of real images. They belong to the dataset, so their rows may name no run or repeat with
    every run; the mean of all finite ones is drawn."""
    scales: Mapping[str, str]
    """Labels of :data:`OWN` and, unless it is the same but for one factor, :data:`COMMON`."""
    protocol: Mapping[str, Any]
    """What all rows of `prior` have in common, by column."""


def measured(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Distances:
    """The validated distances."""
    if experiment.datasets[dataset].fid is None:
        raise UserError(f"config: figures.fig1b: {dataset!r} has no fid block")
    grid, default = (
        [run for run in runs if run.dataset == dataset]
        for runs in (experiment.weight_runs(), experiment.default_runs())
    )
    # a grid may have fewer seeds than the default weights, and a mean should be over the same
    runs = grid or default
    table = tables["fid"]
    file = table.attrs.get("file", "fid")
    if "sampling" not in table:
        table = table.assign(sampling="prior")
    if "fid" in table:
        try:
            numbers = table["fid"].astype(float)
        except ValueError as error:
            raise UserError(f"{file}: column 'fid': {error}") from None
        table = table.assign(fid=numbers.where(np.isfinite(numbers)))
    prior, reconstruction, real = (
        table[table["sampling"] == sampling] for sampling in ("prior", "reconstruction", "real")
    )
    counts, kinds = ("n_generated", "n_reference"), ("reference", "features", "accuracy")
    values, texts = ("fid", COMMON, *counts), (*kinds, "warning")
    prior = rows({"fid": prior}, "fid", runs, values, each=lambda run: 1, texts=texts)
    protocol = {column: _same(prior, column, file) for column in (*counts, *kinds)}
    keys = list(runs[0].identity)
    reconstruction = prior[[*keys, COMMON]].merge(reconstruction.drop(columns=COMMON), on=keys)
    real = real[(real["dataset"] == dataset) & np.isfinite(real["fid"])]
    for column in ("n_reference", "reference", "features"):
        _same(pd.concat([prior, reconstruction, real]), column, file)
    scales = {OWN: "weight λ in training"}
    if not (prior[OWN] > 0).any():
        raise UserError(f"config: figures.fig1b: no run of {dataset!r} has a λ above 0")
    factors = (prior[COMMON] / prior[OWN])[prior[OWN] > 0]
    if not np.allclose(factors, factors.mean(), rtol=1e-6, atol=0):
        scales = {OWN: "weight λ, each model’s own scale", COMMON: "weight λ, common scale"}
    return Distances(prior, reconstruction, real, scales, protocol)


def _same(table: pd.DataFrame, column: str, file: str) -> Any:
    """The value that all rows have in a column; distances of unlike kinds do not compare."""
    values = table[column].unique()
    if len(values) > 1:
        found = ", ".join(map(str, values))
        raise UserError(f"{file}: rows with different {column} do not compare: {found}")
    if pd.isna(values[0]) and column != "accuracy":  # Inception's is empty
        raise UserError(f"{file}: column {column!r} is empty")
    return values[0]


def features_text(protocol: Mapping[str, Any]) -> str:
    """The features in which images are compared, in a sentence or two."""
    if protocol["features"] == "inception":
        return (
            "Features: Inception of pytorch-fid, which resizes images to 299×299, bilinear without "
            "antialiasing."
        )
    accuracy, tested = protocol["accuracy"], ""
    if pd.notna(accuracy):
        tested = f" (mean test accuracy {accuracy:.3f})"
    kind, _, of_dataset = str(protocol["features"]).partition(" of ")
    network = {
        "rotation": "a network that tells by how many quarter turns an image was turned, trained "
        f"on {of_dataset}"
    }.get(kind, f"a {protocol['features']}")
    return (
        f"Features: {network}{tested}. The distance is called FID in Inception’s "
        "features alone, so this one does not compare with published ones."
    )


def other_split(reference: str) -> str:
    """What images of the split are called that a reference is not from."""
    return "training" if reference == "test" else "test"


def distance(features: str) -> str:
    """What the distance is called. Only in Inception's features is it a FID."""
    return "FID" if features == "inception" else "Fréchet distance"


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, protocol = titles(experiment, dataset), found.protocol
    prior = found.prior.assign(model=found.prior["model"].map(names))
    latent_dims = [f"{latent_dim:g}" for latent_dim in prior["latent_dim"].unique()]
    squared = all(data.models[m].reconstruction == "squared_error" for m in found.prior["model"])
    left_out = [name for name in names.values() if name not in set(prior["model"])]
    lost = [
        f"{what}{names[model]} at λ = {weight:g}"
        + f" (latent dimension {latent_dim:g})" * (len(latent_dims) > 1)
        for what, table in (("", found.prior), ("reconstructions of ", found.reconstruction))
        for model, latent_dim, weight in table.loc[
            table["fid"].isna() & (table["weight"] > 0), ["model", "latent_dim", "weight"]
        ]
        .drop_duplicates()
        .itertuples(index=False)
    ]
    reconstructed, real = (f"{table['n_generated'].max():,.0f}" for table in found[1:3])
    places = found.reconstruction.dropna(subset=["fid"]).groupby("model")["weight"].nunique()
    other = other_split(protocol["reference"])
    small = "Thin dashed lines" if (places > 1).any() else "Small marks at the default λ"
    return [
        f"The {distance(protocol['features'])} between {protocol['n_generated']:,.0f} generated "
        f"images and {protocol['n_reference']:,.0f} real images of the {protocol['reference']} "
        "split, against the weight λ; lower is better.",
        features_text(protocol),
        "Codes of generated images are drawn from the prior; pixels are clipped, rounded to 8 bits "
        "and not compressed.",
        f"Latent dimension{'s' * (len(latent_dims) > 1)} {listed(latent_dims)}, after "
        f"{epochs_text(data)}.",
        "The paper reports, on CelebA, that the FID of the VAE, HEBAE and the WAE gets worse as λ "
        "goes to 0, that HEBAE’s depends on λ the least, and that HEBAE’s is the lowest, 46.",
        *_loss_sentences(prior, squared, prod(DATASETS[data.source].image_shape)),
        "Filled marks: the default λ.",
        spread_text(prior["seed"].unique()),
        f"{small}: {reconstructed} reconstructions of {other} images in place of generated ones."
        * (not places.empty),
        f"Grey line: {real} real {other} images in place of generated ones."
        * (not found.real.empty),
        f"Left out, without a grid of λ: {listed(left_out)}." * bool(left_out),
        gaps_text(lost, "a seed has no finite distance"),
        zero_text(found.prior, "fid", names),
        *(f"Warning: {text}." for text in prior["warning"].dropna().unique()),
    ]


def _loss_sentences(prior: pd.DataFrame, squared: bool, pixels: int) -> list[str]:
    """What λ weighs the regulariser R against, and the decoder variance that it amounts to."""
    prior = prior[prior[COMMON] > 0]
    error = "mean squared error" if squared else "reconstruction error"
    factors = (prior[OWN] / prior[COMMON]).groupby(prior["model"], sort=False).max()
    losses = factors.map(lambda factor: f"{factor:.4g} · ".removeprefix("1 · ") + error)
    variances = prior[COMMON] * pixels / 2
    return [
        *(
            f"Loss of {listed(of_loss.index)}: {loss} + λ·R."
            for loss, of_loss in losses.groupby(losses, sort=False)
        ),
        f"These λ do not compare; on the common scale, all losses are {error} + λ·R."
        * (losses.nunique() > 1),
        "R is each model’s own regulariser.",
        f"In a loss of {error} + λ·R, λ stands for Gaussian pixels of variance σ² = P·λ/2, where "
        f"P = {pixels:,} values in [−1, 1]. Unit variance is λ = {number(2 / pixels)}; the "
        f"variances here are {interval(variances.min(), variances.max())}." * squared,
    ]
