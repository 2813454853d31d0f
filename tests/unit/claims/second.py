"""The verdicts a second time, from docs/claims.md alone; this imports nothing of hebae.

``judge`` takes what three kinds of files say: config/claims.yaml, an experiment's config and its
tables. Defaults of the config are those of workflow/schemas/config.schema.yaml.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import nct, t

RUN = ["model", "latent_dim", "seed"]
RATIO = {
    *("fid_range", "fid_near_zero", "fid_best", "fid_best_inception", "fid_prior"),
    *("fid_reconstruction", "fid_midpoints", "fid_mixture", "fid_prior_over_mixture"),
    *("decoder_rate", "decoder_roughness", "smallest_variance", "noise_deviation"),
    *("covariance_mean", "covariance_sample", "correlation_mean", "correlation_sample"),
}
OVER_GRID = {"fid_range", "fid_near_zero", "fid_best", "fid_best_inception"}
FEWEST, MOST = 4, 200  # seeds that decide anything, and that are asked for
TRAINING = {"batch_size": 128, "learning_rate": 0.001, "learning_rate_decay": 0.995}
TRAINING |= {"learning_rate_steps": [], "adam_beta1": 0.9, "precision": "float32"}
TRAINING |= {"reset_optimiser": "never"}
NO_ROWS = pd.DataFrame(columns=["dataset", "model", "latent_dim", "weight", "seed"])
NOTHING = pd.Series(index=pd.MultiIndex.from_arrays([[], [], []], names=RUN), dtype=float)


# The measures


def values(measure: str, label: str, data: dict, tables: dict) -> pd.Series:
    """One number for a run, by model, latent_dim and seed; without those that are not finite."""
    name = table_of(measure)
    if name not in tables:
        return NOTHING
    table = tables[name]
    table = table[(table["dataset"] == label) & table["model"].isin(list(data["models"]))]
    if measure == "elbo_widened_change" and "elbo_widened" not in table:
        return NOTHING  # older than this column
    found = of_table(measure, table, data).astype(float)
    return found[np.isfinite(found) & ((found > 0) | (measure not in RATIO))]


def table_of(measure: str) -> str:
    for start, table in (
        ("fid_", "fid"),
        ("decoder_", "smoothness"),
        ("importance_", "bounds"),
        ("covariance_", "covariance"),
        ("correlation_", "covariance"),
        ("prior_", "diagnostics"),
    ):
        if measure.startswith(start):
            return table
    if measure.endswith(("_epochs", "_change")):
        return "elbo_by_epoch"
    return {
        "mic": "mutual_information",
        "tic": "mutual_information",
        "index_code_information": "index_code_information",
        "smallest_variance": "active_units",
        "noise_deviation": "active_units",
        "identity_residual": "identities",
        "aggregate_gap": "identities",
        "mean_penalty": "identities",
        "failed_share": "stability",
    }.get(measure, "elbo_by_weight")


def of_table(measure: str, table: pd.DataFrame, data: dict) -> pd.Series:
    if measure.endswith(("_spread", "_lost")):
        column, _, what = measure.rpartition("_")
        grid = whole_grid(table, column, data)
        return grid.most - grid.least if what == "spread" else grid.default - grid["last"]
    if measure.startswith("fid_"):
        sampling = table.get("sampling", "prior")
        table = table.assign(sampling=sampling)
        if measure in ("fid_range", "fid_near_zero", "fid_best", "fid_best_inception"):
            table = table[table["sampling"] == "prior"]
            if measure == "fid_best_inception":
                table = table[table["features"] == "inception"]
            grid = whole_grid(table, "fid", data)
            if measure == "fid_range":
                return grid.most / grid.least
            return grid["first"] / grid.second if measure == "fid_near_zero" else grid.lowest
        of = {s: one(rows, "fid") for s, rows in at_default(table, data).groupby("sampling")}
        of = {s: of.get(s, NOTHING) for s in ("prior", "mixture", "midpoints", "reconstruction")}
        return {
            "fid_prior": lambda: of["prior"],
            "fid_reconstruction": lambda: of["reconstruction"],
            "fid_midpoints": lambda: of["midpoints"],
            "fid_mixture": lambda: of["mixture"],
            "fid_midpoints_less_reconstruction": lambda: of["midpoints"] - of["reconstruction"],
            "fid_prior_less_mixture": lambda: of["prior"] - of["mixture"],
            "fid_prior_over_mixture": lambda: of["prior"] / of["mixture"],
        }[measure]()

    table = at_default(table, data)
    if measure in ("elbo_paper", "elbo", "reconstruction"):
        return one(table, measure)
    if measure.endswith(("_epochs", "_change")):
        column, _, what = measure.rpartition("_")
        table = table[table["split"] == "test"]
        return first_epoch(table, column) if what == "epochs" else change(table, column)
    if measure.startswith("importance_"):
        last = table["samples"] == table.groupby(RUN)["samples"].transform("max")
        return one(table[last], "widened" if measure.endswith("widened") else "bound")
    if measure.startswith("decoder_"):
        table = table[table["at"] == "prior"]
        table = table.assign(rate=table["change"] / table["step"])
        small = one(table[table["step"] == table["step"].min()], "rate")
        return (
            small if measure == "decoder_rate" else small / one(table[table["step"] == 1], "rate")
        )
    if measure == "smallest_variance":
        return one(table, "mean_variance", "min").clip(lower=1e-12)
    if measure == "noise_deviation":
        return one(table, "noise_variance", "mean").clip(lower=1e-12) ** 0.5
    if measure.startswith(("covariance_", "correlation_")):
        column, which = measure.split("_")
        table = table[table["which"] == which]
        if column == "covariance":
            off = table["covariance"] - (table["i"] == table["j"])
            return one(table.assign(square=off**2), "square", "sum") ** 0.5
        table = table[(table["i"] != table["j"]) & table["correlation"].notna()]
        return one(table.assign(square=table["correlation"] ** 2), "square", "mean") ** 0.5
    if measure in ("mic", "tic"):
        protocol = (data.get("mutual_information") or {}).get("protocol", "indices_draws")
        return one(table[table["protocol"] == protocol], measure, "mean")
    if measure == "index_code_information":
        return one(table, "nats")
    if measure == "identity_residual":
        table = table[table["kind"] == "identity"]
        return one(table.assign(size=table["residual"].abs()), "size", "max")
    if measure in ("aggregate_gap", "mean_penalty"):
        identity = {"aggregate_gap": "gaussian_aggregate"}.get(measure, measure)
        return one(table[table["identity"] == identity], "residual")
    if measure == "failed_share":
        return one(table.assign(failed=table["outcome"] != "trained"), "failed", "mean")
    assert measure in ("prior_mmd", "prior_log_det")
    table = on_all_images(table[table["split"] == "train"], data)
    return one(table, measure.removeprefix("prior_")).abs()


def at_default(table: pd.DataFrame, data: dict) -> pd.DataFrame:
    default = table["model"].map({name: float(of["weight"]) for name, of in data["models"].items()})
    return table[table["weight"] == default]


def one(table: pd.DataFrame, column: str, of: str = "") -> pd.Series:
    """A number for each run; none where one of its rows has none."""
    column = table.set_index(RUN)[column]
    return getattr(column.groupby(level=RUN), of)(skipna=False) if of else column


def whole_grid(table: pd.DataFrame, column: str, data: dict) -> pd.DataFrame:
    """Of each run whose grid of λ is whole: values at its first two λ, the last and the default.

    ``lowest`` is of grids without a value that is not finite, ``least`` and ``most`` are of those
    of their λ that all grids of the dataset reach.
    """
    default = one(at_default(table, data), column)
    grids = {
        model: np.sort(np.array(of["weights"], dtype=float))
        for model, of in data["models"].items()
        if len(of.get("weights") or []) > 1
    }
    relative = {model: grid / data["models"][model]["weight"] for model, grid in grids.items()}
    low = max((of[0] for of in relative.values()), default=0) * (1 - 1e-9)
    high = min((of[-1] for of in relative.values()), default=0) * (1 + 1e-9)
    names = ["first", "second", "last", "lowest", "least", "most"]
    found = [pd.DataFrame([], NOTHING.index, names, dtype=float)]
    for model, rows in table.groupby("model"):
        if model not in grids:
            continue
        grid = grids[model]
        rows = rows[rows["weight"].isin(grid)]
        rows = rows[rows.groupby(RUN)["weight"].transform("count") == len(grid)]
        if len(rows):
            wide = rows.pivot(index=RUN, columns="weight", values=column)
            shared = wide[grid[(relative[model] >= low) & (relative[model] <= high)]]
            ends = {"first": wide[grid[0]], "second": wide[grid[1]], "last": wide[grid[-1]]}
            ends["lowest"] = of_all_finite(wide).min(axis=1)
            if shared.shape[1] > 1:
                ends["least"] = of_all_finite(shared).min(axis=1)
                ends["most"] = of_all_finite(shared).max(axis=1)
            found.append(pd.DataFrame(ends))
    every = pd.concat([of for of in found if len(of)] or found).reindex(columns=names)
    return every.assign(default=default.reindex(every.index))


def of_all_finite(wide: pd.DataFrame) -> pd.DataFrame:
    return wide[np.isfinite(wide).all(axis=1)]


def first_epoch(table: pd.DataFrame, column: str) -> pd.Series:
    """When a bound converges."""
    table = table[table["model"].isin(["VAE", "HEBAE"])]
    ends = table[table["epoch"] == table.groupby(RUN)["epoch"].transform("max")].set_index(RUN)
    lives = pd.MultiIndex.from_frame(table[RUN]).isin(ends.index[np.isfinite(ends[column])])
    table = table[lives & np.isfinite(table[column])]
    found = {}
    for _, of_dim in table.groupby("latent_dim"):
        if of_dim["model"].nunique() == 2:
            level = of_dim.groupby(RUN)[column].max().min()
            found |= of_dim[of_dim[column] >= level].groupby(RUN)["epoch"].min().to_dict()
    return pd.Series(found, dtype=float).rename_axis(RUN) if found else NOTHING


def change(table: pd.DataFrame, column: str) -> pd.Series:
    found = {}
    for run, rows in table.groupby(RUN):
        last = rows["epoch"].max()
        rows = rows[(rows["epoch"] >= 0.8 * last) & np.isfinite(rows[column])]
        if len(rows) > 1 and rows["epoch"].max() == last:
            x = rows["epoch"] - rows["epoch"].mean()
            found[run] = abs((x * rows[column]).sum() / (x**2).sum()) * last / 5
    return pd.Series(found, dtype=float).rename_axis(RUN) if found else NOTHING


# From a sentence to numbers


def parts_of(claim: dict, measure: str, values_of: dict[str, pd.Series]) -> list[dict]:
    """Each part: ``terms`` (sign, model), ``offset``, ``direction`` of its estimate, ``paired``."""
    scale = math.log if measure in RATIO else float
    parts = []
    for chain in claim.get("order", []):
        for low, high in itertools.pairwise(chain):
            parts.append(part([(1, high), (-1, low)], claim.get("margin", 0)))
    for model, limit in claim.get("above", {}).items():
        parts.append(part([(1, model)], scale(limit)))
    for model, limit in claim.get("below", {}).items():
        parts.append(part([(-1, model)], -scale(limit), -1))
    for a, b in claim.get("equal", []):
        (kind, size), *_ = claim["tolerance"].items()
        if kind == "relative":
            size = math.log1p(size) if measure in RATIO else size * abs(values_of[b].mean())
        parts.append(part([(1, a), (-1, b)], -size, 1, paired=True))
        parts.append(part([(-1, a), (1, b)], -size, -1, paired=True))
    if "contrast" in claim:
        signs = (1, -1, -1, 1)
        parts.append(part(list(zip(signs, claim["contrast"], strict=True)), claim.get("margin", 0)))
    return parts


def part(terms: list, offset: float, direction: int = 1, *, paired: bool = False) -> dict:
    return {"terms": terms, "offset": offset, "direction": direction, "paired": paired}


def models_of(claim: dict) -> list[str]:
    chains = [*claim.get("order", []), *claim.get("equal", []), claim.get("contrast", [])]
    chains += [list(claim.get("above", {})), list(claim.get("below", {}))]
    return list(dict.fromkeys(itertools.chain.from_iterable(chains)))


# From numbers to a verdict


def judge_part(which: dict, of_models: dict[str, pd.Series], *, ratio: bool, epochs: bool) -> dict:
    """Everything about one part that needs no other part."""
    terms, offset = which["terms"], which["offset"]
    samples = {m: np.log(of_models[m]) if ratio else of_models[m] for _, m in terms}
    if which["paired"]:
        (sign, a), (_, b) = terms
        data = [(1, (sign * (samples[a] - samples[b])).dropna().to_numpy())]
    else:
        data = [(sign, samples[model].to_numpy()) for sign, model in terms]
    rounding = epochs * (2 if which["paired"] else 1) / 12
    n = np.array([len(x) for _, x in data])
    made = {"n": int(n.min()), "test": "none", "p_above": 1.0, "p_below": 1.0}
    made |= dict.fromkeys(("q", "estimate", "low", "high", "effect", "variances"))
    if n.min() == 0:
        return made
    q = sum(sign * x.mean() for sign, x in data) - offset
    estimate = which["direction"] * (q + offset)
    made |= {"q": q, "estimate": estimate}
    if n.min() >= 2:
        variances = np.array([x.var(ddof=1) for _, x in data]) + rounding
        small = 1e-9 * max(0.001, abs(offset), *(of.abs().max() for of in samples.values()))
        equal = not epochs and all(np.ptp(x) <= small for _, x in data)
        if equal:
            made |= {"low": estimate, "high": estimate}
        else:
            error, df = standard_error(variances, n)
            half = t.isf(0.025, df) * error
            made |= {"low": estimate - half, "high": estimate + half}
            m = (n - 1).sum()
            pooled = math.sqrt(((n - 1) * variances).sum() / m)
            j = (
                math.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / math.sqrt(m / 2)
                if m > 1
                else None
            )
            made["effect"] = None if j is None else q / pooled * j
            made["variances"] = variances
        if n.min() >= FEWEST:
            if equal:
                above = q > small
                made |= {"test": "tie", "p_above": 1.0 - above, "p_below": float(above)}
            else:
                made |= {
                    "test": "t",
                    "p_above": t.sf(q / error, df),
                    "p_below": t.cdf(q / error, df),
                }
                if disagree(data, offset, rounding, small):
                    made |= by_ranks(data, offset, made, small)
    if ratio:
        keys = [key for key in ("estimate", "low", "high") if made[key] is not None]
        with np.errstate(over="ignore"):
            made |= {key: float(np.exp(made[key])) for key in keys}
    return made


def standard_error(variances: np.ndarray, n: np.ndarray) -> tuple[Any, Any]:
    """SE and the degrees of freedom. variances: (samples,); n: the same, or (…, samples)."""
    of_means = variances / n
    square = of_means.sum(axis=-1)
    return np.sqrt(square), square**2 / (of_means**2 / (n - 1)).sum(axis=-1)


def disagree(data: list, offset: float, rounding: float, small: float) -> bool:
    """Whether there are two groups, and not all choices of them say the same of Q."""
    choices = [[sign * mean for mean in group_means(x, rounding, small)] for sign, x in data]
    q = [sum(chosen) - offset for chosen in itertools.product(*choices)]
    return len(q) > 1 and min(q) <= small and max(q) >= -small


def group_means(x: np.ndarray, rounding: float, small: float) -> list[float]:
    """The means of the groups, for each cut at a largest gap; of all values if there are none."""
    x, n = np.sort(x), len(x)
    gaps, means = np.diff(x), []
    for cut in np.flatnonzero(gaps >= gaps.max() - small) + 1:
        low, high = x[:cut], x[cut:]
        within = ((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum()
        if gaps[cut - 1] > (1.6 + 10.5 / (n - 3)) * math.sqrt(within / (n - 2) + rounding):
            means += [low.mean(), high.mean()]
    return means or [x.mean()]


def by_ranks(data: list, offset: float, made: dict, small: float) -> dict:
    if len(data) != 2:
        return {"test": "none", "p_above": 1.0, "p_below": 1.0}
    (_, a), (_, b) = data
    differences = (a - offset)[:, None] - b
    higher, lower = int((differences > small).sum()), int((differences < -small).sum())
    return {
        "test": "rank",
        "p_above": max(made["p_above"], mann_whitney(higher, len(a), len(b))),
        "p_below": max(made["p_below"], mann_whitney(lower, len(a), len(b))),
    }


def mann_whitney(u: int, n: int, m: int) -> float:
    """P(U ≥ u), where each order of n + m values is as likely."""
    counts = np.zeros((n + 1, n * m + 1))  # [how many of the n are placed, U]
    counts[0, 0] = 1
    for placed in range(n + m):
        new = np.zeros_like(counts)
        for a in range(n + 1):
            b = placed - a  # how many of the m are placed, all lower than what comes next
            if not 0 <= b <= m:
                continue
            if b < m:
                new[a] += counts[a]
            if a < n:
                new[a + 1, b:] += counts[a, : n * m + 1 - b]
        counts = new
    return counts[n, u:].sum() / math.comb(n + m, n)


def seeds_for(made: dict, level: float, more_than: int) -> float:
    """How many seeds find Q on its side of 0 with probability .8."""
    n = np.arange(more_than + 1, MOST + 1)
    error, df = standard_error(made["variances"], n[:, None])
    critical, effect = t.isf(level, df), abs(made["q"]) / error
    certain = effect > 3 * critical + 50  # nct is nan far out
    enough = certain | (nct.sf(critical, df, np.where(certain, 0, effect)) >= 0.8)
    if made["test"] == "rank":
        enough &= [1 / math.comb(2 * int(k), int(k)) <= level for k in n]
    return float(n[np.argmax(enough)]) if enough.any() else math.inf


def judge(claims: dict, config: dict, tables: dict[str, pd.DataFrame]) -> list[dict]:
    """A row for each test, with its parts; in the order of claims, datasets, measures and z."""
    known: dict[tuple[str, str], pd.Series] = {}
    tests, waiting = [], 0
    for claim in claims["claims"]:
        if claim["id"] in (config.get("claims") or [claim["id"]]):
            made, n_waiting = tests_of({"seeds": claims["seeds"]} | claim, config, tables, known)
            tests, waiting = tests + made, waiting + n_waiting
    # Claim, Family
    family = [test for test in tests if test["enough"]]
    for test in family:
        holds = max(of["p_above"] for of in test["parts"])
        fails = min(1.0, len(test["parts"]) * min(of["p_below"] for of in test["parts"]))
        test["side"] = "holds" if holds < fails else "does not hold"
        test["p"] = min(1.0, 2 * min(holds, fails))
    before, m = 0.0, len(family) + waiting
    for k, test in enumerate(sorted(family, key=lambda test: test["p"])):
        before = test["p_holm"] = max(before, min(1.0, (m - k) * test["p"]))
        if before <= claims["level"]:
            test |= {"verdict": test["side"], "seeds_needed": None}
    for test in family:
        if test["verdict"] == "undecided":
            test["seeds_needed"] = needed(test, claims["level"] / (2 * m))
    for test in tests:
        fails = test["verdict"] == "does not hold"
        decides = (min, "p_below") if fails else (max, "p_above")
        test["decides"] = decides[0](test["parts"], key=lambda of: of[decides[1]])
    return tests


def needed(test: dict, level: float) -> float:
    parts, n = test["parts"], min(of["n"] for of in test["parts"])
    if n < FEWEST:
        return FEWEST
    tested = [of for of in parts if of["test"] in ("t", "rank")]
    below = [of for of in tested if of["q"] < 0]
    if below:
        return min(seeds_for(of, level / len(parts), n) for of in below)
    if any(of["test"] == "none" for of in parts):
        return math.inf
    return max(seeds_for(of, level, n) for of in tested)


def tests_of(claim: dict, config: dict, tables: dict, known: dict) -> tuple[list[dict], int]:
    """The tests of a claim before they are judged as a family, and how many wait for runs."""
    tests, models, n_waiting = [], models_of(claim), 0
    drawn = [config["figures"][name] for name in claim["figures"] if name in config["figures"]]
    labels = dict.fromkeys(drawn + ([] if claim.get("drawn") else list(config["datasets"])))
    for measure in claim["measures"]:
        places: list[tuple] = []  # label, latent dimension, runs, what is wanted
        for label in labels:
            data = config["datasets"][label]
            source = data.get("source", label)
            if source not in claim.get("datasets", [source]) or not set(models) <= set(
                data["models"]
            ):
                continue
            if not_comparable(measure, data, models):
                continue
            for dim in data["latent_dims"]:
                runs = [dim, source, *(resolved(data, config, model) for model in models)]
                wanted = wanted_runs(measure, label, models, dim, config)
                places.append((label, dim, runs, wanted))
        for place in places:
            label, dim, runs, wanted = place
            alike = [other for other in places if other[2] == runs]
            n_wanted = [min(claim["seeds"], seeds_of(other[3], models)) for other in alike]
            if place is not alike[n_wanted.index(max(n_wanted))]:
                continue
            data = config["datasets"][label]
            whole = wanted <= there(measure, label, dim, data, tables)
            n_waiting += not whole and seeds_of(wanted, models) >= claim["seeds"]
            if (measure, label) not in known:
                known[measure, label] = values(measure, label, data, tables)
            found = known[measure, label]
            at = found[found.index.get_level_values("latent_dim") == dim]
            of_models = {model: of.droplevel([0, 1]) for model, of in at.groupby("model")}
            if not set(models) <= set(of_models):
                continue
            ratio, epochs = measure in RATIO, measure.endswith("_epochs")
            parts = parts_of(claim, measure, of_models)
            judged = [judge_part(of, of_models, ratio=ratio, epochs=epochs) for of in parts]
            n, fewest = min(len(of_models[model]) for model in models), claim["seeds"]
            enough = n >= fewest and whole
            test = {"claim": claim["id"], "dataset": label, "latent_dim": dim}
            test |= {"measure": measure, "parts": judged, "n_seeds": n, "enough": enough}
            asked = fewest if n < fewest else None
            test |= {"verdict": "undecided", "seeds_needed": asked, "p_holm": None}
            tests.append(test | {"withdrawn": withdrawn(measure, label, tables)})
    order = [*claim["measures"]], [*config["datasets"]]
    tests.sort(key=lambda of: (order[0].index(of["measure"]), order[1].index(of["dataset"])))
    return tests, n_waiting


def wanted_runs(measure: str, label: str, models: list[str], dim: int, config: dict) -> set[tuple]:
    """The runs of a test that the config asks for: model, λ, seed."""
    data = config["datasets"][label]
    seeds = data.get("seeds", config["seeds"])
    over_grid = measure.endswith(("_spread", "_lost")) or measure in OVER_GRID
    if over_grid:
        seeds = data.get("weight_seeds", seeds)
        if dim not in data.get("weight_latent_dims", data["latent_dims"]):
            return set()
    wanted = set()
    for model in models:
        of = data["models"][model]
        trained = dim in of.get("latent_dims", data["latent_dims"])
        if trained and has_rows(table_of(measure), resolved(data, config, model), data, dim):
            weights = of["weights"] if over_grid else [of["weight"]]
            wanted |= {(model, float(of), seed) for of in weights for seed in seeds}
    return wanted


def seeds_of(wanted: set[tuple], models: list[str]) -> int:
    """The fewest seeds that are wanted of a model."""
    return min(len({seed for of, _, seed in wanted if of == model}) for model in models)


def has_rows(table: str, run: dict, data: dict, dim: int) -> bool:
    """Whether the config asks for rows of a run in a table."""
    if table == "bounds":
        return run["reconstruction"]["name"] != "squared_error"
    if table == "smoothness":
        return run["network"]["name"] != "pixelcnn"
    if table == "stability":
        main = data.get("main_latent_dim", data["latent_dims"][-1])
        return data.get("stability") is not None and dim == main
    return table not in ("fid", "diagnostics") or data.get(table) is not None


def there(measure: str, label: str, dim: int, data: dict, tables: dict) -> set[tuple]:
    """The runs of a dataset and latent dimension that have rows."""
    rows = on_all_images(tables.get(table_of(measure), NO_ROWS), data)
    rows = rows[(rows["dataset"] == label) & (rows["latent_dim"] == dim)]
    return set(zip(rows["model"], rows["weight"].astype(float), rows["seed"], strict=True))


def not_comparable(measure: str, data: dict, models: list[str]) -> bool:
    """Whether a model has no bound, no grid, or one that does not go as far as is asked."""
    on_grid = measure.endswith(("_spread", "_lost"))
    on_grid |= measure.startswith(("fid_range", "fid_best", "fid_near_zero"))
    for model in models if measure.startswith(("elbo", "importance_")) else []:
        if resolved_reconstruction(data, model)["name"] == "squared_error":
            return True
    for model in models if on_grid else []:
        grid, default = data["models"][model].get("weights") or [], data["models"][model]["weight"]
        if len(grid) < 2:
            return True
        if measure.endswith("_lost") and (default not in grid or default == max(grid)):
            return True
        if measure == "fid_near_zero" and min(grid) > 0.01 * default * (1 + 1e-9):
            return True
    return False


def on_all_images(rows: pd.DataFrame, data: dict) -> pd.DataFrame:
    """Without the rows of runs on smaller training sets."""
    smaller = (data.get("diagnostics") or {}).get("training_sizes", [])
    return rows[~rows["n_train"].isin(smaller)] if "n_train" in rows else rows


def withdrawn(measure: str, label: str, tables: dict) -> bool:
    if measure != "tic":
        return False
    table = tables["mutual_information"]
    return "ties" not in table or table[table["dataset"] == label]["ties"].isna().any()


def resolved_reconstruction(data: dict, model: str) -> dict:
    default = data.get("reconstruction", {"name": "bernoulli"})
    return data["models"][model].get("reconstruction", default)


def resolved(data: dict, config: dict, model: str) -> dict:
    """What a run of the model is trained as, but for the images."""
    own = data["models"][model]
    training = TRAINING | data["training"] | own.get("training", {})
    objective = config["models"][model] | own.get("parameters", {})
    return {
        "objective": {key: value for key, value in objective.items() if key != "title"},
        "weight": own["weight"],
        "network": own.get("network", data["network"]),
        "reconstruction": resolved_reconstruction(data, model),
        "training": training,
    }
