"""From the tables of an experiment to one number a run: what claims are judged by.

Every function takes the dataset's entry of the experiment and its tables, holding that dataset's
rows alone, and returns a series with the index (model, latent_dim, seed). What a run lacks, or
what is not finite there, is left out. MEASURES names them: a new measure is a function and an
entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hebae.config.experiment import Dataset

if TYPE_CHECKING:
    # Snakemake and the report read MEASURES alone, and start without pandas
    import pandas as pd
    from pandas.api.typing import SeriesGroupBy

Tables = Mapping[str, "pd.DataFrame"]

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
        bound, last = rows[column], rows[column].iloc[-1]
        if math.isfinite(last):
            # written so that an epoch without a value counts as outside
            outside = ~((bound - last).abs() <= SHARE * abs(last))
            stays = ~outside[::-1].cummax()
            found[run] = float(rows["epoch"][stays].min())
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
    return table.groupby(RUN)["noise_variance"].mean().clip(lower=SMALLEST).map(math.sqrt)


def covariance_distance(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """‖Cov − I‖, Frobenius, of means or of samples."""
    table = _second_moments(data, tables, which)
    from_identity = table["covariance"] - (table["i"] == table["j"])
    return _by_run(from_identity**2, table).sum(min_count=1).map(math.sqrt)


def off_diagonal_correlation(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """Root mean square of the correlations off the diagonal, where they are defined."""
    table = _second_moments(data, tables, which)
    table = table[table["i"] != table["j"]]
    return _by_run(table["correlation"] ** 2, table).mean().map(math.sqrt)


def _second_moments(data: Dataset, tables: Tables, which: str) -> pd.DataFrame:
    table = tables["covariance"]
    return _default(table[table["which"] == which], data)


def _by_run(values: pd.Series, table: pd.DataFrame) -> SeriesGroupBy:
    return values.groupby([table[key] for key in RUN])


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
    """One number a run, and how it is read."""

    values: Callable[[Dataset, Tables], pd.Series]
    """Takes it from the tables."""
    tables: tuple[str, ...]
    text: str
    """What tables and pages call it, with its unit."""
    reading: str = "paper"
    """Whether it is what the paper looks at, or what is fair where the paper's is not."""
    log: bool = False
    """Whether values compare by their ratio: they are above 0 and spread in proportion."""
    resolution: float = 0.0
    """The step in which it comes: an epoch, or what is left of Monte Carlo error."""


def _bound(column: str, text: str, reading: str) -> dict[str, Measure]:
    """What the paper says of a bound, for one of the bounds."""
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
    """How far second moments are from those of the prior."""
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
"""What claims are judged by, under the names that they use."""

TABLES = frozenset(table for measure in MEASURES.values() for table in measure.tables)
"""Those that any measure is taken from."""
