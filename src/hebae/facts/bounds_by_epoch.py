"""The noise in a code and three bounds against the epoch: which of them settle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.claims.measures import LATE
from hebae.config.experiment import Experiment
from hebae.facts.text import gaps_text, spread_text, titles, where_text
from hebae.tables.rows import rows

COLUMNS = {
    "elbo_paper": "paper’s bound",
    "elbo": "per-sample bound",
    "elbo_widened": "widened bound",
    "noise_deviation": "deviation of z given x",
}
"""Columns of the table, a panel each, and what captions call them."""
BOUNDS = ("elbo_paper", "elbo", "elbo_widened")
SETTLED = 0.5
"""It settles if it changes by less than this there, in nats, on average over seeds."""


class ByEpoch(NamedTuple):
    """Of the runs at the main latent dimension and the default weights, on the test split."""

    curves: dict[str, pd.DataFrame]
    """By column: a row a model, seed and epoch, for models and epochs that have the column."""
    models: list[str]
    missing: list[str]
    """The columns that the table lacks, because it was published before they were measured."""


def measured(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> ByEpoch:
    """The curves of models with a likelihood."""
    runs = [
        run
        for run in experiment.default_runs()
        if run.dataset == dataset
        and run.latent_dim == experiment.datasets[dataset].main_latent_dim
        and run.entries.reconstruction.likelihood
    ]
    if not any(run.entries.objective.stochastic for run in runs):
        raise UserError(
            f"config: figures.bounds_by_epoch: no model of {dataset} has a bound on log p(x)"
        )
    columns = [column for column in COLUMNS if column in tables["elbo_by_epoch"]]
    if not set(columns) & set(BOUNDS):
        columns = list(BOUNDS)  # so that reading the table names what it lacks
    table = rows(tables, "elbo_by_epoch", runs, columns, ["epoch"], split="test", finite=False)
    curves = {column: _defined(table, column) for column in columns}
    curves = {column: curve for column, curve in curves.items() if not curve.empty}
    if not set(curves) & set(BOUNDS):
        raise UserError(
            f"{tables['elbo_by_epoch'].attrs.get('file', 'elbo_by_epoch')}: no finite bound of "
            f"{dataset}"
        )
    drawn = {model for curve in curves.values() for model in curve["model"]}
    models = [model for model in experiment.datasets[dataset].models if model in drawn]
    return ByEpoch(curves, models, [column for column in COLUMNS if column not in columns])


def _defined(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The models that have the column, in the epochs in which any of them has it.

    A deterministic encoder has no noise, which a log axis could not show.
    """
    table = table[["model", "latent_dim", "seed", "epoch", column]]
    there = table[column].notna()
    if column == "noise_deviation":
        there &= table[column] > 0
    table = table.assign(**{column: table[column].where(there)})
    of_model = there.groupby(table["model"]).transform("any")
    of_epoch = there.groupby(table["epoch"]).transform("any")
    return table[of_model & of_epoch]


def changes(curve: pd.DataFrame, column: str) -> pd.Series:
    """How a column moves in the last fifth of each run's epochs, per epoch; by model and seed.

    It is the slope by least squares. NaN where a value is missing there, or only one is there.
    """

    def slope(rows: pd.DataFrame) -> float:
        late = rows[rows["epoch"] >= LATE * rows["epoch"].max()]
        if len(late) < 2:
            return np.nan
        centred = late["epoch"] - late["epoch"].mean()
        return float((centred * late[column]).sum(skipna=False) / (centred**2).sum())

    of_runs = curve.groupby(["model", "seed"], sort=False)[["epoch", column]]
    return of_runs.apply(slope)


def settles(curve: pd.DataFrame, column: str) -> pd.Series:
    """Whether each model's bound settles; models without a slope are left out."""
    sizes = changes(curve, column).abs().groupby("model", sort=False)
    means = sizes.agg(lambda seeds: seeds.mean(skipna=False))
    epochs = curve.groupby("model")["epoch"].max()
    moved = (means * (1 - LATE) * epochs.reindex(means.index)).dropna()
    return moved < SETTLED


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names = titles(experiment, dataset)
    said = [f"{where_text(data)[:-1]}, test split, against the epoch."]
    meanings = {
        "elbo_paper": "The paper’s bound is −(reconstruction + R), which is no bound on log p(x) "
        "for HEBAE.",
        "elbo": "The per-sample bound is −(reconstruction + mean KL(q(z|x) ‖ p)).",
        "elbo_widened": "The widened bound is the same with N(0, s²I) added to q(z|x), of the "
        "width s that is best on images apart; it exists for deterministic encoders too.",
        "noise_deviation": "The deviation of z given x is a root mean square over images and "
        "variables; the prior’s is 1.",
    }
    said += [meanings[column] for column in COLUMNS if column in found.curves]
    for column in BOUNDS:
        if column in found.curves:
            said.append(_change_text(found.curves[column], column, names))
    said += _verdict_texts(found, names)
    said.append(_passed_text(found, experiment, names))
    said.append(_noise_text(found, names))
    if found.missing:
        lacking = listed(COLUMNS[column] for column in found.missing)
        said.append(f"Not shown, as these runs were not measured for it: {lacking}.")
    said.append(spread_text(data.seeds, "lines", "bands"))
    said.append(gaps_text(_lost(found, names)))
    return said


def _change_text(curve: pd.DataFrame, column: str, names: Mapping[str, str]) -> str:
    """Mean change an epoch of each model, with the range over seeds."""
    texts = []
    for model, slopes in changes(curve, column).groupby("model", sort=False):
        if np.isfinite(slopes).all():
            spread = f" ({number(slopes.min())} to {number(slopes.max())})" * (len(slopes) > 1)
            texts.append(f"{number(slopes.mean())}{spread} for {names[model]}")
    if not texts:
        return ""
    return (
        f"Change of the {COLUMNS[column]} over the last fifth of the epochs, in nats an epoch, "
        f"mean over seeds (range): {', '.join(texts)}."
    )


def _verdict_texts(found: ByEpoch, names: Mapping[str, str]) -> list[str]:
    """Which bounds settle and which do not."""
    settled, moving = [], []
    for column in BOUNDS:
        if column in found.curves:
            still = settles(found.curves[column], column)
            for texts, models in ((settled, still.index[still]), (moving, still.index[~still])):
                if len(models):
                    texts.append(f"{COLUMNS[column]} ({', '.join(names[m] for m in models)})")
    rule = f"changes by less than {SETTLED:g} nats over that fifth, on average over seeds"
    said = [f"We say that a bound settles if it {rule}."] if settled or moving else []
    if settled:
        said.append(f"Settled: {'; '.join(settled)}.")
    if moving:
        said.append(f"Not settled: {'; '.join(moving)}.")
    return said


def passing_epoch(curve: pd.DataFrame, column: str, model: str, other: str) -> tuple[float, float]:
    """A model's final mean, and the first epoch in which the mean of another one reaches it.

    NaN where there is no final mean, infinite where it is never reached.
    """
    means = curve.groupby(["model", "epoch"])[column].agg(lambda s: s.mean(skipna=False))
    level = float(means[model].iloc[-1])
    above = means[other][means[other] >= level]
    if np.isnan(level):
        return np.nan, np.nan
    return level, float(above.index.min()) if len(above) else np.inf


def _passed_text(found: ByEpoch, experiment: Experiment, names: Mapping[str, str]) -> str:
    """When HEBAE's mean reaches the VAE's final one, by each bound."""
    texts = []
    for column in BOUNDS:
        curve = found.curves.get(column)
        if curve is None or not {"VAE", "HEBAE"} <= set(curve["model"]):
            continue
        level, epoch = passing_epoch(curve, column, "VAE", "HEBAE")
        if not np.isnan(level):
            when = f"in epoch {epoch:g}" if np.isfinite(epoch) else "never"
            texts.append(f"{when} by the {COLUMNS[column]} ({number(level)} nats)")
    if not texts:
        return ""
    return f"{names['HEBAE']} passes {names['VAE']}’s final value {listed(texts)}."


def _noise_text(found: ByEpoch, names: Mapping[str, str]) -> str:
    """By what factor the noise shrinks in the last fifth."""
    curve = found.curves.get("noise_deviation")
    if curve is None:
        return ""
    texts = []
    for model, of_model in curve.groupby("model", sort=False):
        means = of_model.groupby("epoch")["noise_deviation"].agg(lambda s: s.mean(skipna=False))
        start = means[means.index >= LATE * means.index.max()].iloc[0]
        if np.isfinite(start) and np.isfinite(means.iloc[-1]):
            texts.append(f"from {number(start)} to {number(means.iloc[-1])} for {names[model]}")
    if not texts:
        return ""
    return f"In the last fifth the deviation of z given x goes {listed(texts)}."


def _lost(found: ByEpoch, names: Mapping[str, str]) -> list[str]:
    """Where a mean is missing."""
    return [
        f"{COLUMNS[column]} of {names[model]} in some epochs"
        for column, curve in found.curves.items()
        for model in curve.loc[curve[column].isna(), "model"].unique()
    ]
