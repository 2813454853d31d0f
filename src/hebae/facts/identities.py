"""How exactly Theorem 1 and Eqs. 5 to 11 of the paper hold on trained runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import interval, listed, number
from hebae.config.experiment import Experiment
from hebae.facts.text import gaps_text, spread_text, titles, weights_text, where_text
from hebae.tables.rows import rows

ROUNDING = 1e-10
"""Residuals below this many nats are rounding."""
EXACT, APPROXIMATE, BATCH = "Identities", "Approximations", "Batches, and the mean"
PANELS = {
    EXACT: {
        "theorem_1": "Theorem 1",
        "closed_form": "Eq. 11: closed form of R",
        "reparameterisation": "Eq. 8: L Lᵀ = Σ̂",
        "total_covariance": "Eq. 9: covariance of z",
        "surgery": "Eq. 10: mean KL",
        "information": "Eq. 10: I(n; z)",
        "plugged_in_prior": "Eq. 5: the moments’ own codes",
        "cross_image": "Eq. 5: two images",
    },
    APPROXIMATE: {
        "scalar_variance": "Eq. 9: one σ̄ for all",
        "means_for_codes": "Eq. 7: means for codes",
        "gaussian_aggregate": "Eq. 9: q(z) Gaussian",
        "full_information": "I(n; z) = log N",
        "batch_bias": "batch bias of Gaussian codes",
    },
    BATCH: {
        "batch_regulariser": "R of a batch, less R",
        "batch_prior": "a batch’s prior on others",
        "mean_penalty": "Theorem 1: ½‖m̂‖²",
    },
}
"""The panels of the figure, and their rows: the name in the table, and the label."""


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """The rows of the runs at the main latent dimension and the default weights: `panel`, `label`,
    identity, left, right, residual and standard_error (nats; NaN where there is none).

    An identity that a table lacks is left out.
    """
    runs = experiment.default_runs_of(dataset)
    table = tables["identities"]
    for column in ("identity", "model"):
        if column not in table:
            raise UserError(f"{table.attrs.get('file', 'identities')}: no column {column!r}")
    found = []
    for panel, labels in PANELS.items():
        for identity, label in labels.items():
            models = set(table.loc[table["identity"] == identity, "model"])
            of_models = [run for run in runs if run.model in models]
            if of_models:
                values = ["left", "right", "residual", "standard_error"]
                one = rows(
                    tables,
                    "identities",
                    of_models,
                    values,
                    each=lambda run: 1,
                    finite=False,
                    identity=identity,
                )
                found.append(one.assign(panel=panel, label=label))
    if not found:
        raise UserError(f"{table.attrs.get('file', 'identities')}: no identity of {dataset}")
    return pd.concat(found, ignore_index=True)


def means(found: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds by (identity, model); NaN where a seed has no value."""
    columns = ["left", "right", "residual", "standard_error"]
    grouped = found.groupby(["identity", "model"], sort=False)[columns]
    return grouped.agg(lambda seeds: seeds.mean(skipna=False))


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, mean = titles(experiment, dataset), means(found)
    sizes = {recipe.training.batch_size for recipe in data.models.values()}

    def of(identity: str, column: str = "residual") -> pd.Series:
        """Means over seeds by model, where they are finite."""
        if identity not in mean.index.get_level_values("identity"):
            return pd.Series(dtype=float)
        found = mean.loc[identity, column].dropna()
        return found.mask(found.abs() < ROUNDING, 0.0)

    def told(identity: str, column: str = "residual") -> str:
        """Each model's mean in words: 0.306 for VAE and 37.9 for HEBAE."""
        return listed(f"{number(v)} for {names[m]}" for m, v in of(identity, column).items())

    def said(identity: str, text: str) -> str:
        return text.format(told(identity)) if told(identity) else ""

    return [
        "Both sides of each equation of the paper’s Section 3, computed in different ways from "
        "the codes of the test split, and the size of their difference.",
        _exact_text(found, names),
        said("gaussian_aggregate", "q(z) is further from p than the Gaussian of Eq. 9: {} nats."),
        said("means_for_codes", "R of the means less R of the codes is {} nats."),
        said("full_information", "I(n; z) less log N is {} nats."),
        _batch_text(of("batch_regulariser"), of("batch_bias", "right"), sizes),
        said(
            "batch_prior",
            "A batch’s moments, taken as the prior of Eq. 5, fit other images worse than its own "
            "by {} nats an image.",
        ),
        said("mean_penalty", "The penalty of the mean, ½‖m̂‖², is {} nats."),
        where_text(data),
        weights_text(experiment, dataset),
        spread_text(data.seeds),
        gaps_text(_gaps(found, names)),
        "Vertical ticks: two standard errors of the Monte Carlo mean.",
        "Marks in the grey band, and those at its left edge, are rounding.",
    ]


def _exact_text(found: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Which identities hold, and which do not: beyond rounding and four standard errors."""
    exact = found[found["panel"] == EXACT].dropna(subset=["residual"])
    allowed = ROUNDING + 4 * exact["standard_error"].fillna(0)
    off = exact[exact["residual"].abs() > allowed]
    holding = [label for label in exact["label"].unique() if label not in set(off["label"])]
    largest = exact.loc[exact["label"].isin(holding), "residual"].abs().max()
    texts = []
    if holding:
        texts.append(f"These hold for all models: {'; '.join(holding)}.")
        texts.append(
            f"Their residuals are at most {number(largest)} nats: Monte Carlo error and rounding."
        )
    for (label, model), group in off.groupby(["label", "model"], sort=False):
        size = group["residual"].abs()
        texts.append(f"Not exact for {names[model]}, {label}: {_range(size)} nats.")
    return " ".join(texts)


def _batch_text(added: pd.Series, predicted: pd.Series, sizes: set[int]) -> str:
    """How much larger R is in a batch."""
    if added.empty:
        return ""
    size = f"batches of {sizes.copy().pop():,}" if len(sizes) == 1 else "batches as in training"
    expected = predicted.dropna().unique()
    formula = f", where Gaussian codes would add {number(expected[0])}" if len(expected) else ""
    return f"R of {size} is {_range(added)} nats above R of the whole split{formula}."


def _gaps(found: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Where some seed has no residual: a model with its equations, or with how many of them."""
    missing = found[found["residual"].isna()].groupby("model", sort=False)["label"].unique()
    return [
        f"{names[model]} ({listed(labels) if len(labels) < 3 else f'{len(labels)} equations'})"
        for model, labels in missing.items()
    ]


def _range(values: pd.Series) -> str:
    low, high = float(values.min()), float(values.max())
    return number(low) if np.isclose(low, high, rtol=5e-3, atol=0) else interval(low, high)
