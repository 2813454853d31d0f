"""How fast a decoder changes with the code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.facts.text import gaps_text, spread_text, titles, weights_text, where_text
from hebae.tables.rows import rows

PLACES = {"prior": "at samples of the prior", "codes": "at codes of test images"}


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """Of the runs at the main latent dimension: columns model, seed, at, step and `rate`.

    `rate` is the change of the image over the step h, Δ(h)/h; NaN where it is not finite.
    """
    data = experiment.datasets[dataset]
    runs = [
        run
        for run in experiment.smoothness_runs()
        if run.dataset == dataset and run.latent_dim == data.main_latent_dim
    ]
    if not runs:
        raise UserError(
            f"config: figures.decoder_smoothness: no decoder of {dataset!r} can be measured"
        )
    parts = [
        rows(tables, "smoothness", runs, ["change", "n"], by=["step"], finite=False, at=at)
        for at in PLACES
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(rate=table["change"] / table["step"])


def roughness(table: pd.DataFrame) -> dict[str, float]:
    """By model, the rate at the smallest step over that at the largest, at samples of the prior.

    The geometric mean over seeds.
    """
    wide = table[table["at"] == "prior"].pivot(
        index=["model", "seed"], columns="step", values="rate"
    )
    logs = np.log((wide[min(wide)] / wide[max(wide)]).where(wide[max(wide)] > 0))
    means = logs.groupby("model", sort=False).agg(lambda seeds: seeds.mean(skipna=False))
    return np.exp(means.dropna()).to_dict()


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    table, names = measured(tables, experiment, dataset), titles(experiment, dataset)
    found, local = roughness(table), table[table["step"] == table["step"].min()]
    at_prior = local[local["at"] == "prior"].groupby("model", sort=False)["rate"].mean()
    left_out = [names[model] for model in names if model not in set(table["model"])]
    lost = [
        f"{names[model]} {PLACES[at]}"
        for model, at in table.loc[table["rate"].isna(), ["model", "at"]]
        .drop_duplicates()
        .itertuples(index=False)
    ]

    def of_models(values: Mapping[str, float]) -> str:
        return listed(
            f"{number(values[model])} for {names[model]}" for model in names if model in values
        )

    return [
        "How fast the decoded image changes with the code: the root mean square change of a pixel, "
        "in units of its range, over the length h of a random step of the code, against h. The "
        "prior’s standard deviation is h = 1.",
        where_text(experiment.datasets[dataset]),
        weights_text(experiment, dataset),
        f"Over {table['n'].max():,.0f} codes and as many directions.",
        "A linear decoder has the same rate at every h. Where the image jumps, the rate grows as "
        "h^(−1/2) for small h.",
        "At samples of the prior, the rate at the smallest h is "
        f"{of_models(at_prior.dropna().to_dict())}.",
        f"That is {of_models(found)} times the rate at the largest h.",
        "The paper argues that point estimates lead to a discontinuous latent space (Sec. 2.4); "
        "it shows no measure of it.",
        spread_text(table["seed"].unique()),
        f"Left out, with an autoregressive decoder: {listed(left_out)}." * bool(left_out),
        gaps_text(lost),
    ]
