"""The measures by which claims are judged: one number for each run, from the tables.

Every function takes a dataset of the experiment and the tables with the rows of this dataset. It
returns a series with the index (model, latent_dim, seed). Missing values, and values that are not
finite, are left out. MEASURES names the measures: a new one is a function and an entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hebae.config.experiment import Dataset

if TYPE_CHECKING:
    # Snakemake and the report read only MEASURES, and start without pandas
    import pandas as pd
    from pandas.api.typing import SeriesGroupBy

Tables = Mapping[str, "pd.DataFrame"]

RUN = ["model", "latent_dim", "seed"]
SHARE = 0.01
"""A bound counts as converged within this share of its last value."""
SMALLEST = 1e-12
"""The least variance that counts; in float32 codes only 0 is smaller."""


def _default(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs at the default weight of their model."""
    return table[table["weight"] == _default_weights(table, data)]


def _default_weights(table: pd.DataFrame, data: Dataset) -> pd.Series:
    weights = {model: recipe.default for model, recipe in data.models.items()}
    return table["model"].map(weights)


def _grid(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs on the grid of weights, for models and seeds that have the whole grid."""
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
    there = table.groupby(RUN)["weight"].transform("nunique")
    return table[there == table["model"].map({model: len(grid) for model, grid in grids.items()})]


def _at_weight(table: pd.DataFrame, column: str, weights: pd.Series) -> pd.Series:
    return table[table["weight"] == weights].set_index(RUN)[column]


def _extreme_weights(table: pd.DataFrame, which: str) -> pd.Series:
    return table.groupby(RUN)["weight"].transform(which)


def final(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """A term or bound on the test split after the last epoch, at the default λ."""
    return _default(tables["elbo_by_weight"], data).set_index(RUN)[column]


def importance_weighted(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The importance-weighted bound with most codes, for the encoder's q or for q widened."""
    table = _default(tables["bounds"], data)
    most = table.groupby(RUN)["samples"].transform("max")
    return table[table["samples"] == most].set_index(RUN)[column]


def epochs_to_converge(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The first epoch from which the test split's bound stays within 1 % of its last value."""
    table = _default(tables["elbo_by_epoch"], data)
    table = table[table["split"] == "test"].sort_values("epoch")
    found = {}
    for run, rows in table.groupby(RUN):
        bound, last = rows[column], rows[column].iloc[-1]
        if math.isfinite(last):
            # written so that an epoch without a value counts as outside
            outside = ~((bound - last).abs() <= SHARE * abs(last))
            stays = ~outside[::-1].cummax()
            found[run] = float(rows["epoch"][stays].min())
    return _series(found)


def spread_over_weights(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The highest minus the lowest bound on the grid of λ, each with λ = 1 in its sum."""
    bounds = _grid(tables["elbo_by_weight"], data).groupby(RUN)[column]
    return bounds.max() - bounds.min()


def lost_at_largest_weight(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The bound at the default λ minus the bound at the largest λ of the grid."""
    table = _grid(tables["elbo_by_weight"], data)
    default = _at_weight(table, column, _default_weights(table, data))
    return default - _at_weight(table, column, _extreme_weights(table, "max"))


def fid_range(data: Dataset, tables: Tables) -> pd.Series:
    """The largest Fréchet distance on the grid of λ, divided by the smallest."""
    distances = _grid(tables["fid"], data).groupby(RUN)["fid"]
    return distances.max() / distances.min()


def fid_near_zero(data: Dataset, tables: Tables) -> pd.Series:
    """The Fréchet distance at the smallest λ of the grid, divided by that at the default."""
    table = _grid(tables["fid"], data)
    near_zero = _at_weight(table, "fid", _extreme_weights(table, "min"))
    return near_zero / _at_weight(table, "fid", _default_weights(table, data))


def fid_best(data: Dataset, tables: Tables, features: str | None = None) -> pd.Series:
    """The smallest Fréchet distance on the grid of λ; if given, only in these features."""
    table = _grid(tables["fid"], data)
    if features is not None:
        table = table[table["features"] == features]
    return table.groupby(RUN)["fid"].min()


def smallest_variance(data: Dataset, tables: Tables) -> pd.Series:
    """min_j Var(μ_j): below 0.01, some latent variable is inactive (Burda et al. 2016)."""
    table = _default(tables["active_units"], data)
    return table.groupby(RUN)["mean_variance"].min().clip(lower=SMALLEST)


def noise_deviation(data: Dataset, tables: Tables) -> pd.Series:
    """√(mean_j mean_i Var(z_j|x_i)), the noise in a code; the prior's standard deviation is 1."""
    table = _default(tables["active_units"], data)
    return table.groupby(RUN)["noise_variance"].mean().clip(lower=SMALLEST).map(math.sqrt)


def covariance_distance(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """‖Cov − I‖ (Frobenius) of means or of samples."""
    table = _second_moments(data, tables, which)
    from_identity = table["covariance"] - (table["i"] == table["j"])
    return _by_run(from_identity**2, table).sum(min_count=1).map(math.sqrt)


def off_diagonal_correlation(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """Root mean square of the defined correlations off the diagonal."""
    table = _second_moments(data, tables, which)
    table = table[table["i"] != table["j"]]
    return _by_run(table["correlation"] ** 2, table).mean().map(math.sqrt)


def _second_moments(data: Dataset, tables: Tables, which: str) -> pd.DataFrame:
    table = tables["covariance"]
    return _default(table[table["which"] == which], data)


def _by_run(values: pd.Series, table: pd.DataFrame) -> SeriesGroupBy:
    return values.groupby([table[key] for key in RUN])


def mean_over_dimensions(data: Dataset, tables: Tables, table: str, column: str) -> pd.Series:
    """A measure's mean over the latent variables, or the measure of a whole code."""
    rows = _default(tables[table], data)
    if "protocol" in rows:
        rows = rows[rows["protocol"] == data.mutual_information.protocol]
    return rows.groupby(RUN)[column].mean()


def distance_to_prior(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The absolute value of a diagnostic of all training images."""
    table = _default(tables["diagnostics"], data)
    table = table[table["split"] == "train"]
    whole = table["n_train"] == table["n_train"].max()
    return table[whole].set_index(RUN)[column].abs()


def _series(found: Mapping[tuple[str, int, int], float]) -> pd.Series:
    import pandas as pd

    index = (
        pd.MultiIndex.from_tuples(found, names=RUN)
        if found
        else pd.MultiIndex.from_arrays([[], [], []], names=RUN)
    )
    return pd.Series(list(found.values()), index=index, dtype=float)


# --- the registry


@dataclass(frozen=True)
class Measure:
    """A measure: one number for each run, and how to read it."""

    values: Callable[[Dataset, Tables], pd.Series]
    """The function that takes it from the tables."""
    tables: tuple[str, ...]
    text: str
    """Its name in tables and pages, with its unit."""
    reading: str = "paper"
    """``paper`` if the paper looks at it, ``fair`` if it means the same for all models instead."""
    log: bool = False
    """Whether values compare by their ratio, as they are above 0 and spread in proportion."""
    resolution: float = 0.0
    """The step in which values come: an epoch, or the remaining Monte Carlo error."""


def _bound(column: str, text: str, reading: str) -> dict[str, Measure]:
    """The measures of what the paper says about bounds, for one of the bounds."""
    by_weight = ("elbo_by_weight",)
    return {
        column: Measure(partial(final, column=column), by_weight, f"{text} (nats)", reading),
        f"{column}_epochs": Measure(
            partial(epochs_to_converge, column=column),
            ("elbo_by_epoch",),
            f"epochs until the {text} stays within 1 % of its last",
            reading,
            resolution=1,
        ),
        f"{column}_spread": Measure(
            partial(spread_over_weights, column=column),
            by_weight,
            f"highest less lowest {text} over the weights λ (nats)",
            reading,
        ),
        f"{column}_lost": Measure(
            partial(lost_at_largest_weight, column=column),
            by_weight,
            f"{text} at the default λ less that at the largest (nats)",
            reading,
        ),
    }


def _moments(which: str, symbol: str, reading: str) -> dict[str, Measure]:
    """The measures of how far second moments are from those of the prior."""
    return {
        f"covariance_{which}": Measure(
            partial(covariance_distance, which=which),
            ("covariance",),
            f"‖Cov({symbol}) − I‖",
            reading,
            log=True,
        ),
        f"correlation_{which}": Measure(
            partial(off_diagonal_correlation, which=which),
            ("covariance",),
            f"root mean square correlation of {symbol} off the diagonal",
            reading,
            log=True,
        ),
    }


def _mean(table: str, column: str, text: str) -> Measure:
    values = partial(mean_over_dimensions, table=table, column=column)
    return Measure(values, (table,), text, resolution=0.001)


MEASURES = {
    **_bound("elbo_paper", "paper’s bound", "paper"),
    **_bound("elbo", "per-sample bound", "fair"),
    "importance_weighted": Measure(
        partial(importance_weighted, column="bound"),
        ("bounds",),
        "importance-weighted bound of most codes (nats)",
        "fair",
    ),
    "importance_weighted_widened": Measure(
        partial(importance_weighted, column="widened"),
        ("bounds",),
        "importance-weighted bound of most codes, q widened (nats)",
        "fair",
    ),
    "reconstruction": Measure(
        partial(final, column="reconstruction"), ("elbo_by_weight",), "reconstruction error"
    ),
    "fid_range": Measure(
        fid_range, ("fid",), "largest over smallest Fréchet distance on the grid of λ", log=True
    ),
    "fid_near_zero": Measure(
        fid_near_zero,
        ("fid",),
        "Fréchet distance at the smallest λ over that at the default",
        log=True,
    ),
    "fid_best": Measure(fid_best, ("fid",), "lowest Fréchet distance on the grid of λ", log=True),
    "fid_best_inception": Measure(
        partial(fid_best, features="inception"),
        ("fid",),
        "lowest FID on the grid of λ, in Inception’s features",
        log=True,
    ),
    "smallest_variance": Measure(
        smallest_variance,
        ("active_units",),
        "smallest variance of a latent variable’s mean",
        log=True,
        resolution=0.001,
    ),
    "noise_deviation": Measure(
        noise_deviation,
        ("active_units",),
        "standard deviation of z given x, root mean square",
        log=True,
    ),
    **_moments("mean", "μ", "paper"),
    **_moments("sample", "z", "fair"),
    "mic": _mean("mutual_information", "mic", "average MIC"),
    "tic": _mean("mutual_information", "tic", "average TIC"),
    "index_code_information": _mean("index_code_information", "nats", "I(n; z) (nats)"),
    "prior_mmd": Measure(
        partial(distance_to_prior, column="mmd"),
        ("diagnostics",),
        "MMD² of the codes of all training images to the prior",
    ),
    "prior_log_det": Measure(
        partial(distance_to_prior, column="log_det"),
        ("diagnostics",),
        "|log det| of the covariance of the codes of all training images",
    ),
}
"""The measures, under the names that claims use."""

TABLES = frozenset(table for measure in MEASURES.values() for table in measure.tables)
"""The tables from which measures are taken."""
