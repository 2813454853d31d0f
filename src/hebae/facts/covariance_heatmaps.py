"""Covariance and correlation of the code, model by model (Fig. 2a, 2b)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.text import counted, interval, number
from hebae.config.experiment import Experiment
from hebae.facts.text import titles, where_text
from hebae.tables.rows import rows

QUANTITIES = ("covariance", "correlation")

LIMIT = 2
"""Where colours end in every experiment, so that figures compare: twice the target variance."""


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> np.ndarray:
    """The matrices of the encoder's means on the test split, from the main runs.

    Returns:
        By quantity and model, (2, models, d, d); NaN where a value is not finite.
    """
    # a correlation is empty where a latent variable is constant
    table = rows(
        tables,
        "covariance",
        experiment.main_runs(dataset),
        QUANTITIES,
        ["i", "j"],
        lambda run: run.latent_dim**2,
        finite=False,
        which="mean",
    )
    wide = table.pivot(index=["model", "i"], columns="j", values=list(QUANTITIES))
    models = experiment.datasets[dataset].models
    found = np.array([[wide[quantity].loc[model] for model in models] for quantity in QUANTITIES])
    return np.where(np.isfinite(found), found, np.nan)


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    found = measured(tables, experiment, dataset)
    variances, correlations = [], []
    for title, covariance, correlation in zip(names.values(), *found, strict=True):
        variance = covariance.diagonal()
        if np.isfinite(variance).all():
            variances.append(f"{title} {interval(variance.min(), variance.max())}")
        off = correlation[~np.eye(len(correlation), dtype=bool)]
        off = off[np.isfinite(off)]
        if off.size:
            root, largest = np.sqrt((off**2).mean()), abs(off).max()
            correlations.append(f"{title} {number(root)} ({number(largest)})")
    beyond = int((abs(found) > LIMIT).sum())
    return [
        "Covariance and correlation of the encoder’s means μ on the test split: the prior’s is the "
        "identity I, 1 on the diagonal and 0 off it.",
        f"{where_text(data)} One run a model, of seed {data.seeds[0]}.",
        f"Variances: {'; '.join(variances)}." if variances else "",
        "Correlations off the diagonal, root mean square (largest magnitude): "
        f"{'; '.join(correlations)}."
        if correlations
        else "",
        "The paper shows, on MNIST and on CelebA, variances that fall to 0 for the VAE, none that "
        "do for HEBAE and the WAE, and the matrices closest to I for HEBAE.",
        "Sampled codes can match the prior where means have no variance, so they are judged as "
        "well.",
        f"Colours follow the square root of a value’s magnitude and end at ±{LIMIT} in every "
        "experiment" + f" ({counted(beyond, 'value')} beyond)" * (beyond > 0) + ".",
        "Grey cells are not finite: a latent variable is constant or the run diverged."
        if np.isnan(found).any()
        else "",
    ]
