"""The measures by which claims are judged: one number for each run, from the tables.

Every function takes a dataset of the experiment and the tables with the rows of this dataset. It
returns a series with the index (model, latent_dim, seed). A run has no finite value if one of the
rows that it is taken from has none. MEASURES names the measures: a new one is a function and an
entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hebae.config.experiment import Dataset, Recipe

if TYPE_CHECKING:
    # Snakemake and the report read only MEASURES, and start without pandas
    import pandas as pd
    from pandas.api.typing import SeriesGroupBy

Tables = Mapping[str, "pd.DataFrame"]

RUN = ["model", "latent_dim", "seed"]
PAIR = ("VAE", "HEBAE")
"""The models whose bounds the paper follows over epochs."""
LATE = 0.8
"""A bound is said to settle by what it does after this share of the epochs."""
NEAR_ZERO = 0.01
"""A grid of λ goes near 0 if its smallest is at most this share of the default."""
ROUNDING = 1e-9
"""What two λ that are one may differ by, relatively."""
SMALLEST = 1e-12
"""The least variance that counts; in float32 codes only 0 is smaller."""


def _default(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs at the default weight of their model."""
    return table[table["weight"] == _default_weights(table, data)]


def _default_weights(table: pd.DataFrame, data: Dataset) -> pd.Series:
    weights = {model: recipe.default for model, recipe in data.models.items()}
    return table["model"].map(weights)


def _grid(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of runs on the grid of weights, for models and seeds that have the whole grid.

    A run without a finite value has a row all the same, and makes the measure of its grid NaN.
    """
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


def lacks_grid(recipe: Recipe) -> str | None:
    """Why a model has no measure of a grid of λ; None if it has a grid."""
    return None if len(recipe.grid) > 1 else "no grid of λ"


def lacks_larger(recipe: Recipe) -> str | None:
    """Why the default λ cannot be compared with the largest of the grid; None if it can."""
    if reason := lacks_grid(recipe):
        return reason
    if recipe.default not in recipe.grid:
        return "the default λ is not on the grid"
    if recipe.default == max(recipe.grid):
        return "the default λ is the largest of the grid"
    return None


def lacks_near_zero(recipe: Recipe) -> str | None:
    """Why a grid of λ does not tell what happens as λ goes to 0; None if it does."""
    if reason := lacks_grid(recipe):
        return reason
    if min(recipe.grid) > NEAR_ZERO * recipe.default * (1 + ROUNDING):
        return f"the smallest λ of the grid is above {NEAR_ZERO:g} of the default"
    return None


def _shared(table: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The rows of a grid with a λ/default in the range that all of the dataset's grids have.

    A value moves more over a wider grid. A run with a single λ in that range has no rows.
    """
    ranges = [
        (min(recipe.grid) / recipe.default, max(recipe.grid) / recipe.default)
        for recipe in data.models.values()
        if len(recipe.grid) > 1
    ]
    if not ranges:
        return table
    low = max(low for low, _ in ranges) * (1 - ROUNDING)
    high = min(high for _, high in ranges) * (1 + ROUNDING)
    table = table[(table["weight"] / _default_weights(table, data)).between(low, high)]
    return table[table.groupby(RUN)["weight"].transform("nunique") > 1]


def _at_weight(table: pd.DataFrame, column: str, weights: pd.Series) -> pd.Series:
    return table[table["weight"] == weights].set_index(RUN)[column]


def _extreme_weights(table: pd.DataFrame, which: str) -> pd.Series:
    return table.groupby(RUN)["weight"].transform(which)


def _over_grid(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The least and the largest value on each run's grid; NaN where one of them is not finite."""
    found = table.groupby(RUN)[column].agg(["min", "max"])
    finite = (table[column].abs() < math.inf).groupby([table[key] for key in RUN]).all()
    return found.where(finite)


def final(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """A term or bound on the test split after the last epoch, at the default λ."""
    return _default(tables["elbo_by_weight"], data).set_index(RUN)[column]


def importance_weighted(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The importance-weighted bound with most codes, for the encoder's q or for q widened."""
    table = _default(tables["bounds"], data)
    most = table.groupby(RUN)["samples"].transform("max")
    return table[table["samples"] == most].set_index(RUN)[column]


def epochs_to_level(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The first epoch in which a run's bound reaches the level that all runs of PAIR reach.

    At each latent dimension there is one level: over the runs of both models, the lowest of a run's
    highest value on the test split. Where bounds rise, that is about the final value of the lower
    model. Every run reaches it, so no value is censored, and models that are alike have values that
    may be exchanged (docs/claims.md). An epoch without a value does not count, and a run without
    one in its last epoch is left out: it has diverged, and its few epochs would set the level.
    """
    table = _default(tables["elbo_by_epoch"], data)
    table = table[(table["split"] == "test") & table["model"].isin(PAIR)].sort_values("epoch")
    last = table["epoch"] == table.groupby(RUN)["epoch"].transform("max")
    diverged = _by_run(last & ~(table[column].abs() < math.inf), table).transform("any")
    table = table[(table[column].abs() < math.inf) & ~diverged]
    both = table.groupby("latent_dim")["model"].transform("nunique") == len(PAIR)
    table = table[both]
    highest = table.groupby(RUN)[column].transform("max")
    level = highest.groupby(table["latent_dim"]).transform("min")
    return table[table[column] >= level].groupby(RUN)["epoch"].first().astype(float)


def late_change(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """By how much the test split's bound moves in the last fifth of the epochs, in nats, >= 0.

    It is that of a straight line, by least squares through the epochs that have the bound. A run
    without a value in its last epoch, or with a single one in that fifth, is left out.
    """
    table = tables["elbo_by_epoch"]
    if column not in table:  # published before there was such a column
        return _series({})
    table = _default(table, data)
    table = table[table["split"] == "test"]
    found = {}
    for run, rows in table.groupby(RUN):
        last = rows["epoch"].max()
        late = rows[(rows["epoch"] >= LATE * last) & (rows[column].abs() < math.inf)]
        if len(late) > 1 and late["epoch"].max() == last:
            centred = late["epoch"] - late["epoch"].mean()
            slope = float((centred * late[column]).sum() / (centred**2).sum())
            found[run] = abs(slope) * (1 - LATE) * last
    return _series(found)


def spread_over_weights(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The highest minus the lowest bound on the shared grid of λ, each with λ = 1 in its sum."""
    bounds = _over_grid(_shared(_grid(tables["elbo_by_weight"], data), data), column)
    return bounds["max"] - bounds["min"]


def lost_at_largest_weight(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The bound at the default λ minus the bound at the largest λ of the grid."""
    table = _grid(tables["elbo_by_weight"], data)
    default = _at_weight(table, column, _default_weights(table, data))
    return default - _at_weight(table, column, _extreme_weights(table, "max"))


def _sampled(tables: Tables, sampling: str = "prior") -> pd.DataFrame:
    """The Fréchet distances of a sampling; without that column, all are of the prior."""
    table = tables["fid"]
    if "sampling" not in table:
        return table[[sampling == "prior"] * len(table)]
    return table[table["sampling"] == sampling]


def fid_range(data: Dataset, tables: Tables) -> pd.Series:
    """The largest Fréchet distance on the shared grid of λ, divided by the smallest."""
    distances = _over_grid(_shared(_grid(_sampled(tables), data), data), "fid")
    return distances["max"] / distances["min"]


def fid_near_zero(data: Dataset, tables: Tables) -> pd.Series:
    """The Fréchet distance at the smallest λ of the grid, divided by that at the next one."""
    table = _grid(_sampled(tables), data)
    smallest = _extreme_weights(table, "min")
    others = table[table["weight"] > smallest]
    following = _at_weight(others, "fid", _extreme_weights(others, "min"))
    return _at_weight(table, "fid", smallest) / following


def fid_best(data: Dataset, tables: Tables, features: str | None = None) -> pd.Series:
    """The smallest Fréchet distance on the grid of λ; if given, only in these features."""
    table = _grid(_sampled(tables), data)
    if features is not None:
        table = table[table["features"] == features]
    return _over_grid(table, "fid")["min"]


def fid_at_default(
    data: Dataset, tables: Tables, sampling: str, over: str = "", less: str = ""
) -> pd.Series:
    """The Fréchet distance of a sampling at the default λ; if given, over or less another's."""

    def distance(of: str) -> pd.Series:
        return _default(_sampled(tables, of), data).set_index(RUN)["fid"]

    if over:
        return distance(sampling) / distance(over)
    return distance(sampling) - distance(less) if less else distance(sampling)


def decoder_rate(data: Dataset, tables: Tables, over: float | None = None) -> pd.Series:
    """Δ(h)/h of samples of the prior at the smallest step h; if given, divided by that at a step.

    A decoder that is linear has a ratio of 1. A jump makes it larger (docs/samples.md).
    """
    table = _default(tables["smoothness"], data)
    table = table[table["at"] == "prior"]
    rate = (table["change"] / table["step"]).groupby([table[key] for key in [*RUN, "step"]]).mean()
    local = rate.xs(table["step"].min(), level="step")
    return local if over is None else local / rate.xs(over, level="step")


def smallest_variance(data: Dataset, tables: Tables) -> pd.Series:
    """min_j Var(μ_j): below 0.01, some latent variable is inactive (Burda et al. 2016)."""
    table = _default(tables["active_units"], data)
    return table.groupby(RUN)["mean_variance"].min(skipna=False).clip(lower=SMALLEST)


def inactive_units(data: Dataset, tables: Tables) -> pd.Series:
    """How many latent variables are inactive: Var(μ_j) is not above 0.01."""
    from hebae.measures.active_units import ACTIVE

    table = _default(tables["active_units"], data)
    table = table[table["mean_variance"].notna()]
    return _by_run(table["mean_variance"] <= ACTIVE, table).sum().astype(float)


def noise_deviation(data: Dataset, tables: Tables) -> pd.Series:
    """√(mean_j mean_i Var(z_j|x_i)), the noise in a code; the prior's standard deviation is 1."""
    table = _default(tables["active_units"], data)
    variance = table.groupby(RUN)["noise_variance"].mean(skipna=False)
    return variance.clip(lower=SMALLEST).map(math.sqrt)


def covariance_distance(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """‖Cov − I‖ (Frobenius) of means or of samples."""
    table = _second_moments(data, tables, which)
    from_identity = table["covariance"] - (table["i"] == table["j"])
    return _by_run(from_identity**2, table).sum(skipna=False).map(math.sqrt)


def off_diagonal_correlation(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """Root mean square of the defined correlations off the diagonal."""
    table = _second_moments(data, tables, which)
    table = table[table["i"] != table["j"]]
    return _by_run(table["correlation"] ** 2, table).mean().map(math.sqrt)


def covariance_floor(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """What ‖Cov − I‖ is of as many codes from N(0, I); nothing of tables without their number."""
    from hebae.measures.sampling_floor import covariance_distance

    counts = _n_codes(data, tables, which)
    return _series({run: covariance_distance(n, run[1]) for run, n in counts.items()})


def correlation_floor(data: Dataset, tables: Tables, which: str) -> pd.Series:
    """What the correlation off the diagonal is of as many codes from N(0, I)."""
    from hebae.measures.sampling_floor import off_diagonal_correlation

    counts = _n_codes(data, tables, which)
    return _series(
        {run: off_diagonal_correlation(n) for run, n in counts.items() if n > 1 and run[1] > 1}
    )


def _n_codes(data: Dataset, tables: Tables, which: str) -> dict[tuple[str, int, int], int]:
    table = _second_moments(data, tables, which)
    if "n_codes" not in table:
        return {}
    return {run: int(n) for run, n in table.groupby(RUN)["n_codes"].first().dropna().items()}


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
    return rows.groupby(RUN)[column].mean(skipna=False)


def failed_share(data: Dataset, tables: Tables) -> pd.Series:
    """The share of a run's grid of short trainings that do not end as trained."""
    table = _default(tables["stability"], data)
    return _by_run((table["outcome"] != "trained").astype(float), table).mean()


def distance_to_prior(data: Dataset, tables: Tables, column: str) -> pd.Series:
    """The absolute value of a diagnostic of all training images."""
    table = _default(tables["diagnostics"], data)
    whole = ~table["n_train"].isin(data.training_sizes)
    return table[whole & (table["split"] == "train")].set_index(RUN)[column].abs()


def identity_residual(data: Dataset, tables: Tables) -> pd.Series:
    """The largest |left − right| of a run's identities; none where one of them has no value."""
    table = _default(tables["identities"], data)
    table = table[table["kind"] == "identity"]
    sizes = table["residual"].abs().fillna(math.inf)
    return sizes.groupby([table[key] for key in RUN]).max().replace(math.inf, math.nan).dropna()


def residual(data: Dataset, tables: Tables, identity: str) -> pd.Series:
    """What the left side of one equation has more than the right side."""
    table = _default(tables["identities"], data)
    return table[table["identity"] == identity].set_index(RUN)["residual"].dropna()


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
class Flaw:
    """Verdicts by a measure are withdrawn where rows of its table lack a column."""

    table: str
    column: str
    reason: str
    """A sentence without its full stop."""

    def spoils(self, tables: Tables) -> bool:
        """Whether some rows are those of an earlier version."""
        table = tables[self.table]
        return self.column not in table or bool(table[self.column].isna().any())


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
    """The step in which values are counted: 1 for epochs, 0 for values that are not counted."""
    of_likelihood: bool = False
    """Whether it bounds log p(x), so that the reconstruction error must be a likelihood's."""
    lacks: Callable[[Recipe], str | None] = lambda recipe: None
    """Why a model trained in this way has no value; None if it has one."""
    flaw: Flaw | None = None
    """What is wrong with the values of tables of earlier versions."""
    floor: Callable[[Dataset, Tables], pd.Series] | None = None
    """What codes from the prior itself would have, as many as there are images."""
    beside: str | None = None
    """Another measure, to be shown beside verdicts on this one."""

    @property
    def over_grid(self) -> bool:
        """Whether it is of the grid of λ rather than of the default λ."""
        return self.lacks in (lacks_grid, lacks_larger, lacks_near_zero)


def _change(column: str, text: str, reading: str) -> Measure:
    return Measure(
        partial(late_change, column=column),
        ("elbo_by_epoch",),
        f"change of the {text} over the last fifth of the epochs (nats)",
        reading,
        of_likelihood=True,
    )


def _bound(column: str, text: str, reading: str) -> dict[str, Measure]:
    """The measures of what the paper says about bounds, for one of the bounds."""
    by_weight = ("elbo_by_weight",)
    return {
        column: Measure(
            partial(final, column=column),
            by_weight,
            f"{text} (nats)",
            reading,
            of_likelihood=True,
        ),
        f"{column}_epochs": Measure(
            partial(epochs_to_level, column=column),
            ("elbo_by_epoch",),
            f"epochs until the {text} reaches the level that all runs reach",
            reading,
            resolution=1,
            of_likelihood=True,
        ),
        f"{column}_change": _change(column, text, reading),
        f"{column}_spread": Measure(
            partial(spread_over_weights, column=column),
            by_weight,
            f"highest less lowest {text} over the weights λ (nats)",
            reading,
            of_likelihood=True,
            lacks=lacks_grid,
        ),
        f"{column}_lost": Measure(
            partial(lost_at_largest_weight, column=column),
            by_weight,
            f"{text} at the default λ less that at the largest (nats)",
            reading,
            of_likelihood=True,
            lacks=lacks_larger,
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
            floor=partial(covariance_floor, which=which),
        ),
        f"correlation_{which}": Measure(
            partial(off_diagonal_correlation, which=which),
            ("covariance",),
            f"root mean square correlation of {symbol} off the diagonal",
            reading,
            log=True,
            floor=partial(correlation_floor, which=which),
        ),
    }


def _mean(table: str, column: str, text: str, flaw: Flaw | None = None) -> Measure:
    values = partial(mean_over_dimensions, table=table, column=column)
    return Measure(values, (table,), text, flaw=flaw)


def _distance(sampling: str, text: str, over: str = "", less: str = "") -> Measure:
    """The Fréchet distance of a sampling, or what it is over, or more than, another's."""
    values = partial(fid_at_default, sampling=sampling, over=over, less=less)
    # a difference may be of either sign
    return Measure(values, ("fid",), f"Fréchet distance of {text}", "fair", log=not less)


TIES = Flaw(
    "mutual_information",
    "ties",
    "codes that are equal in all draws of an image, like the WAE's, counted as ties, which alone "
    "raise TIC by about 0.06 (docs/paper.md); the runs are to be measured again",
)
"""Tables with the column ``ties`` were made with ties told apart at random."""

MEASURES = {
    **_bound("elbo_paper", "paper’s bound", "paper"),
    **_bound("elbo", "per-sample bound", "fair"),
    "elbo_widened_change": _change("elbo_widened", "widened bound", "fair"),
    "importance_weighted": Measure(
        partial(importance_weighted, column="bound"),
        ("bounds",),
        "importance-weighted bound of most codes (nats)",
        "fair",
        of_likelihood=True,
    ),
    "importance_weighted_widened": Measure(
        partial(importance_weighted, column="widened"),
        ("bounds",),
        "importance-weighted bound of most codes, q widened (nats)",
        "fair",
        of_likelihood=True,
    ),
    "reconstruction": Measure(
        partial(final, column="reconstruction"), ("elbo_by_weight",), "reconstruction error"
    ),
    "fid_range": Measure(
        fid_range,
        ("fid",),
        "largest over smallest Fréchet distance on the grid of λ",
        log=True,
        lacks=lacks_grid,
    ),
    "fid_near_zero": Measure(
        fid_near_zero,
        ("fid",),
        "Fréchet distance at the smallest λ over that at the next one",
        log=True,
        lacks=lacks_near_zero,
    ),
    "fid_best": Measure(
        fid_best, ("fid",), "lowest Fréchet distance on the grid of λ", log=True, lacks=lacks_grid
    ),
    "fid_best_inception": Measure(
        partial(fid_best, features="inception"),
        ("fid",),
        "lowest FID on the grid of λ, in Inception’s features",
        log=True,
        lacks=lacks_grid,
    ),
    "fid_prior": _distance("prior", "samples of the prior"),
    "fid_reconstruction": _distance("reconstruction", "reconstructions"),
    "fid_midpoints": _distance("midpoints", "images decoded halfway between two codes"),
    "fid_midpoints_less_reconstruction": _distance(
        "midpoints",
        "images decoded halfway between two codes less that of reconstructions",
        less="reconstruction",
    ),
    "fid_mixture": _distance("mixture", "samples of a mixture fitted to the codes"),
    "fid_prior_over_mixture": _distance(
        "prior",
        "samples of the prior over that of a mixture fitted to the codes",
        over="mixture",
    ),
    "fid_prior_less_mixture": _distance(
        "prior",
        "samples of the prior less that of a mixture fitted to the codes",
        less="mixture",
    ),
    "decoder_rate": Measure(
        decoder_rate,
        ("smoothness",),
        "how fast the decoded image changes with the code, in ranges of a pixel for σ of the prior",
        "fair",
        log=True,
    ),
    "decoder_roughness": Measure(
        partial(decoder_rate, over=1.0),
        ("smoothness",),
        "how fast the decoded image changes locally over how fast it changes within 1 σ",
        "fair",
        log=True,
    ),
    "smallest_variance": Measure(
        smallest_variance,
        ("active_units",),
        "smallest variance of a latent variable’s mean",
        log=True,
        beside="inactive_units",
    ),
    "inactive_units": Measure(
        inactive_units, ("active_units",), "latent variables whose mean has a variance below 0.01"
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
    "tic": _mean("mutual_information", "tic", "average TIC", TIES),
    "index_code_information": _mean("index_code_information", "nats", "I(n; z) (nats)"),
    "identity_residual": Measure(
        identity_residual, ("identities",), "largest residual of an identity of Sec. 3 (nats)"
    ),
    "aggregate_gap": Measure(
        partial(residual, identity="gaussian_aggregate"),
        ("identities",),
        "KL(q(z) ‖ p) less that of the Gaussian with its moments (nats)",
    ),
    "mean_penalty": Measure(
        partial(residual, identity="mean_penalty"), ("identities",), "½‖m̂‖² (nats)"
    ),
    "failed_share": Measure(
        failed_share,
        ("stability",),
        "share of trainings that fail, over learning rates and initial weights",
    ),
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
