"""From the tables of an experiment to one number a run: what claims are judged by.

Every function takes the dataset's entry of the experiment and its tables, holding that dataset's
rows alone, and returns a series with the index (model, latent_dim, seed). What a run lacks, or
what is not finite there, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.config.experiment import Dataset

Tables = Mapping[str, pd.DataFrame]

RUN = ["model", "latent_dim", "seed"]
SHARE = 0.01
"""Of its last value, within which a bound counts as converged."""
SMALLEST = 1e-12
"""Below this, a variance counts as this: float32 codes have none smaller but 0."""


def _default(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs at their model's default weight."""
    return table[table["weight"] == _default_weights(table, data)]


def _default_weights(table: pd.DataFrame, data: Dataset) -> pd.Series:
    weights = {model: recipe.default for model, recipe in data.models.items()}
    return table["model"].map(weights)


def _grid(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs on the grid of weights, of those models and seeds that have all of it."""
    grids = {
        model: set(recipe.grid) for model, recipe in data.models.items() if len(recipe.grid) > 1
    }
    wanted = [
        latent_dim in data.weight_latent_dims and weight in grids.get(model, ())
        for model, latent_dim, weight in zip(
            table["model"], table["latent_dim"], table["weight"], strict=True
        )
    ]
    table = table[wanted]
    whole = [
        len(grids[model]) == n for (model, *_), n in table.groupby(RUN)["weight"].nunique().items()
    ]
    complete = table.groupby(RUN)["weight"].nunique().index[whole]
    return table[pd.MultiIndex.from_frame(table[RUN]).isin(complete)]


def _at_weight(table: pd.DataFrame, column: str, weights: pd.Series) -> pd.Series:
    return table[table["weight"] == weights].set_index(RUN)[column]


def _extreme_weights(table: pd.DataFrame, which: str) -> pd.Series:
    return table.groupby(RUN)["weight"].transform(which)


def final(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """A term or bound on the test split after the last epoch, at the default λ."""
    return _default(tables["elbo_by_weight"], data).set_index(RUN)[column]


def importance_weighted(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The importance-weighted bound of the most codes: of the encoder's q, or of q widened."""
    table = _default(tables["bounds"], data)
    most = table.groupby(RUN)["samples"].transform("max")
    return table[table["samples"] == most].set_index(RUN)[column]


def epochs_to_converge(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The first epoch from which on the test split's bound stays within 1 % of its last."""
    table = _default(tables["elbo_by_epoch"], data)
    table = table[table["split"] == "test"].sort_values("epoch")
    found = {}
    for run, rows in table.groupby(RUN):
        bound = rows[column].to_numpy(float)
        if np.isfinite(bound[-1]):
            # written so that an epoch without a value counts as outside
            outside = ~(np.abs(bound - bound[-1]) <= SHARE * abs(bound[-1]))
            first = outside.nonzero()[0].max() + 1 if outside.any() else 0
            found[run] = float(rows["epoch"].iloc[first])
    return _series(found)


def spread_over_weights(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The highest less the lowest bound on the grid of λ, each at λ = 1 in the sum."""
    bounds = _grid(tables["elbo_by_weight"], data).groupby(RUN)[column]
    return bounds.max() - bounds.min()


def lost_at_largest_weight(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The bound at the default λ less that at the largest of the grid."""
    table = _grid(tables["elbo_by_weight"], data)
    default = _at_weight(table, column, _default_weights(table, data))
    return default - _at_weight(table, column, _extreme_weights(table, "max"))


def fid_range(data: Dataset, tables: Tables) -> pd.Series:
    """The largest over the smallest Fréchet distance on the grid of λ."""
    distances = _grid(tables["fid"], data).groupby(RUN)["fid"]
    return distances.max() / distances.min()


def fid_near_zero(data: Dataset, tables: Tables) -> pd.Series:
    """The Fréchet distance at the smallest λ of the grid over that at the default."""
    table = _grid(tables["fid"], data)
    near_zero = _at_weight(table, "fid", _extreme_weights(table, "min"))
    return near_zero / _at_weight(table, "fid", _default_weights(table, data))


def fid_best(data: Dataset, tables: Tables, features: str | None = None) -> pd.Series:
    """The smallest Fréchet distance on the grid of λ; in these features alone, where given."""
    table = _grid(tables["fid"], data)
    if features is not None:
        table = table[table["features"] == features]
    return table.groupby(RUN)["fid"].min()


def smallest_variance(data: Dataset, tables: Tables) -> pd.Series:
    """min_j Var(μ_j): below 0.01, some latent variable is inactive (Burda et al. 2016)."""
    table = _default(tables["active_units"], data)
    return table.groupby(RUN)["mean_variance"].min().clip(lower=SMALLEST)


def noise_deviation(data: Dataset, tables: Tables) -> pd.Series:
    """√(mean_j mean_i Var(z_j|x_i)): how much of a code is noise; the prior's deviation is 1."""
    table = _default(tables["active_units"], data)
    return np.sqrt(table.groupby(RUN)["noise_variance"].mean().clip(lower=SMALLEST))


def covariance_distance(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """‖Cov − I‖, Frobenius, of means or of samples."""
    table = _of(tables["covariance"], data, which)
    from_identity = table["covariance"] - (table["i"] == table["j"])
    return np.sqrt((from_identity**2).groupby([table[key] for key in RUN]).sum(min_count=1))


def off_diagonal_correlation(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """Root mean square of the correlations off the diagonal, where they are defined."""
    table = _of(tables["covariance"], data, which)
    table = table[table["i"] != table["j"]]
    return np.sqrt((table["correlation"] ** 2).groupby([table[key] for key in RUN]).mean())


def _of(table: pd.DataFrame, data: Dataset, which: str) -> pd.DataFrame:
    return _default(table[table["which"] == which], data)


def mean_over_dimensions(data: Dataset, tables: Tables, table: str, column: str) -> pd.Series:
    """A measure's mean over the latent variables, or the measure itself of a whole code."""
    rows = _default(tables[table], data)
    if "protocol" in rows:
        rows = rows[rows["protocol"] == data.mutual_information.protocol]
    return rows.groupby(RUN)[column].mean()


def distance_to_prior(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """A diagnostic of all training images, in size."""
    table = _default(tables["diagnostics"], data)
    table = table[table["split"] == "train"]
    whole = table["n_train"] == table["n_train"].max()
    return table[whole].set_index(RUN)[column].abs()


def _series(found: Mapping[tuple[str, int, int], float]) -> pd.Series:
    index = (
        pd.MultiIndex.from_tuples(found, names=RUN)
        if found
        else pd.MultiIndex.from_arrays([[], [], []], names=RUN)
    )
    return pd.Series(list(found.values()), index=index, dtype=float)
