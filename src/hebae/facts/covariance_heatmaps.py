"""Covariance and correlation of the code, model by model (Fig. 2a, 2b)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.text import counted, interval, listed, number
from hebae.config.experiment import Experiment
from hebae.facts.text import has_hebae, titles, where_text
from hebae.measures.active_units import ACTIVE
from hebae.measures.sampling_floor import Floor, floors
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


def floors_of(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> tuple[Floor | None, Floor | None]:
    """What as many codes from N(0, I) have, of ‖Cov − I‖ and of the root mean square correlation.

    None, where the table does not say how many codes there were, as earlier ones do not.
    """
    data, table = experiment.datasets[dataset], tables["covariance"]
    if "n_codes" not in table:
        return None, None
    main = (table["dataset"] == dataset) & (table["latent_dim"] == data.main_latent_dim)
    counts = table["n_codes"][main].unique()
    if len(counts) != 1 or not np.isfinite(counts[0]):
        return None, None
    return floors(int(counts[0]), data.main_latent_dim)


def inactive(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """How many latent variables of each run are inactive: model, latent_dim, seed, `inactive`.

    It is NaN where a variance is not finite.
    """
    table = rows(
        tables,
        "covariance",
        [run for run in experiment.default_runs() if run.dataset == dataset],
        ["covariance"],
        ["i", "j"],
        lambda run: run.latent_dim**2,
        finite=False,
        which="mean",
    )
    variances = table[table["i"] == table["j"]]
    below = (variances["covariance"] <= ACTIVE).astype(float)
    variances = variances.assign(inactive=below.where(variances["covariance"].notna()))
    of_runs = variances.groupby(["model", "latent_dim", "seed"], sort=False)["inactive"]
    return of_runs.agg(lambda values: values.sum(skipna=False)).reset_index()


def _inactive_text(found: pd.DataFrame, names: Mapping[str, str]) -> str:
    """How many of d latent variables are inactive, model by model and seed by seed."""
    limit, n_seeds = f"variance of μ below {ACTIVE:g}", found["seed"].nunique()
    texts, without = [], []
    for latent_dim, of_dim in found.groupby("latent_dim"):
        counts = {
            names[model]: ["–" if np.isnan(n) else f"{n:.0f}" for n in of_model["inactive"]]
            for model, of_model in of_dim.groupby("model", sort=False)
        }
        none = [title for title, of in counts.items() if set(of) == {"0"}]
        some = [f"{title} {listed(of)}" for title, of in counts.items() if title not in none]
        if not some:
            without.append(latent_dim)
            continue
        some += [f"{listed(none)} none"] if none else []
        seeds = f" in each of {n_seeds} seeds" if n_seeds > 1 else ""
        said = "" if texts else f" latent variables, so many are inactive ({limit}){seeds}"
        texts.append(f"Of {latent_dim}{said}: {'; '.join(some)}.")
    if not texts:
        return f"No latent variable of any run is inactive ({limit})."
    return " ".join([*texts, f"Of {listed(without)}: none." if without else ""]).strip()


def _floor_text(floor: Floor | None) -> str:
    if floor is None:
        return ""
    ends = interval(floor.low, floor.high)
    return f"; N(0, I) itself {number(floor.expected)} ({ends} in 95 %) with as many images"


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    found = measured(tables, experiment, dataset)
    of_distance, of_correlation = floors_of(tables, experiment, dataset)
    variances, distances, correlations = [], [], []
    for title, covariance, correlation in zip(names.values(), *found, strict=True):
        variance = covariance.diagonal()
        if np.isfinite(variance).all():
            variances.append(f"{title} {interval(variance.min(), variance.max())}")
        if np.isfinite(covariance).all():
            distance = np.linalg.norm(covariance - np.eye(len(covariance)))
            distances.append(f"{title} {number(distance)}")
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
        f"Distances to I, ‖Cov(μ) − I‖: {'; '.join(distances)}{_floor_text(of_distance)}."
        if distances
        else "",
        "Correlations off the diagonal, root mean square (largest magnitude): "
        f"{'; '.join(correlations)}{_floor_text(of_correlation)}."
        if correlations
        else "",
        _inactive_text(inactive(tables, experiment, dataset), names),
        "The paper shows, on MNIST and on CelebA, variances that fall to 0 for the VAE, none that "
        "do for HEBAE and the WAE, and the matrices closest to I for HEBAE."
        if has_hebae(experiment, dataset)
        else "",
        "Sampled codes can match the prior where means have no variance; the table has both.",
        f"Colours follow the square root of a value’s magnitude and end at ±{LIMIT} in every "
        "experiment" + f" ({counted(beyond, 'value')} beyond)" * (beyond > 0) + ".",
        "Grey cells are not finite: a latent variable is constant or the run diverged."
        if np.isnan(found).any()
        else "",
    ]
