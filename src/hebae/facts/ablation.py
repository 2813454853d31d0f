"""Whether a model's divergence moves it, or the noise of its codes (Sec. 5 of the paper)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import counted, listed, number
from hebae.claims.measures import covariance_distance
from hebae.config.experiment import Experiment
from hebae.config.registry import COMPARED, NOISES
from hebae.config.run import Run
from hebae.facts.fig1b import distance as distance_name
from hebae.facts.text import gaps_text, spread_text, titles, weights_text, where_text
from hebae.measures.sampling_floor import covariance_distance as floor_of
from hebae.tables.rows import rows

MEASURES = {
    "bound": "the bound",
    "reconstruction": "the reconstruction error",
    "distance": "‖Cov(μ) − I‖",
    "codes": "‖Cov(z) − I‖",
    "prior": "the distance of the prior’s samples",
    "mixture": "the distance of the mixture’s samples",
}
"""The columns of :attr:`Ablation.runs`, as captions call them. The first is better where it is
higher, the others where they are lower."""
NATS = ("bound", "reconstruction")
CELL = ["noise", "divergence"]


class Ablation(NamedTuple):
    """Of the runs at the main latent dimension and the default weights, on test images."""

    runs: pd.DataFrame
    """A row a model and seed: model, seed, noise, divergence, and those of :data:`MEASURES` that
    the tables have; NaN where a run has no finite value."""
    models: list[str]
    """By noise, and in it by divergence."""
    left_out: list[str]
    """The dataset's models that are not a noise with a divergence and nothing else."""
    samples: int | None
    """Codes an image of the bound."""
    floor: float | None
    """The root mean square of the distance of as many draws of N(0, I)."""
    features: str | None
    """In which the Fréchet distances were measured."""

    @property
    def measures(self) -> list[str]:
        """Those of :data:`MEASURES` that there are."""
        return [name for name in MEASURES if name in self.runs]

    @property
    def means(self) -> pd.DataFrame:
        """Over seeds, by noise and divergence; NaN where a seed has no value."""
        cells = self.runs.groupby(CELL, sort=False)[self.measures]
        return cells.agg(lambda seeds: seeds.mean(skipna=False))


def measured(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Ablation:
    """The validated values. Tables without rows of these models, or of an earlier version without
    a column, have no measure."""
    data, cells = experiment.datasets[dataset], experiment.noises_and_divergences(dataset)
    if not cells:
        raise UserError(f"config: figures.ablation: no model of {dataset!r} is compared")
    of_model = {model: cell for cell, model in cells.items()}
    runs = [run for run in experiment.default_runs_of(dataset) if run.model in of_model]
    runs.sort(key=lambda run: list(of_model).index(run.model))
    index = pd.MultiIndex.from_tuples([(run.model, run.seed) for run in runs])
    found: dict[str, pd.Series] = {}
    samples = features = floor = None

    def there(name: str, *columns: str) -> list[Run]:
        """The runs whose model has rows in a table with these columns."""
        table = tables.get(name)
        if table is None or not {"dataset", "model", *columns} <= set(table):
            return []
        models = set(table.loc[table["dataset"] == dataset, "model"])
        return [run for run in runs if run.model in models]

    def column(table: pd.DataFrame, value: str) -> pd.Series:
        return table.set_index(["model", "seed"])[value].reindex(index)

    if some := there("bounds", "widened"):
        table = rows(tables, "bounds", some, ["widened"], ["samples"], finite=False)
        samples = int(table["samples"].max())
        found["bound"] = column(table[table["samples"] == samples], "widened")
    if some := there("elbo_by_weight"):
        table = rows(tables, "elbo_by_weight", some, ["reconstruction"], finite=False)
        found["reconstruction"] = column(table, "reconstruction")
    if some := there("covariance"):
        for name, which in (("distance", "mean"), ("codes", "sample")):
            table = rows(
                tables,
                "covariance",
                some,
                ["covariance"],
                ["i", "j"],
                lambda run: run.latent_dim**2,
                finite=False,
                which=which,
            )
            # nothing of a run with a value that is not finite
            whole = table.groupby(["model", "seed"])["covariance"].transform("count")
            kept = {"covariance": table[whole == data.main_latent_dim**2]}
            distances = covariance_distance(data, kept, which).droplevel("latent_dim")
            found[name] = distances.reindex(index)
        counts = table["n_codes"].unique() if "n_codes" in table else []
        if len(counts) == 1 and np.isfinite(counts[0]):
            floor = floor_of(int(counts[0]), data.main_latent_dim)
    if some := there("fid"):
        fid = tables["fid"]
        if "sampling" not in fid:
            fid = fid.assign(sampling="prior")
        for sampling in ("prior", "mixture"):
            if (fid.loc[fid["dataset"] == dataset, "sampling"] == sampling).any():
                one = {"fid": fid[fid["sampling"] == sampling]}
                table = rows(one, "fid", some, ["fid"], finite=False, texts=["features"])
                if table["features"].nunique() > 1:
                    raise UserError("fid: rows with different features do not compare")
                features = str(table["features"].iloc[0])
                found[sampling] = column(table, "fid")
    if not found:
        raise UserError(f"tables: no values of {dataset!r}")
    table = pd.DataFrame(found, index=index).rename_axis(["model", "seed"]).reset_index()
    for place, name in enumerate(CELL):
        table[name] = [of_model[model][place] for model in table["model"]]
    left_out = [model for model in data.models if model not in of_model]
    return Ablation(table, list(of_model), left_out, samples, floor, features)


# How far models are apart


def pairs(means: pd.Series, alike: str) -> dict[Hashable, list[float]]:
    """|difference| of every two models that share their noise, or their divergence, by what they
    share.

    Args:
        means: by noise and divergence; those that are NaN are left out.
        alike: the name of the level that the two models share.
    """
    return {
        shared: [abs(a - b) for a, b in itertools.combinations(group, 2)]
        for shared, group in means.dropna().groupby(level=alike, sort=False)
        if len(group) > 1
    }


def by_chance(found: Ablation, measure: str) -> float:
    """How far the means of two models that are alike would be apart, because of their seeds.

    With n seeds of variance s² the two means differ by N(0, 2s²/n), |N(0, v)| has the mean
    √(2v/π), and so this is 2s/√(πn). s² is the mean variance over models. NaN with one seed.
    """
    seeds = found.runs.groupby("model")[measure]
    variances, counts = seeds.var(), seeds.count()
    return 2 * math.sqrt(variances.mean() / (math.pi * counts.mean()))


def effects(found: Ablation) -> pd.DataFrame:
    """A row a measure: how far two models are apart on average that differ in their `divergence`
    alone, or in their `noise` alone, and `chance`, how far because of seeds.

    It is a mean over pairs, which, other than a range, does not grow with the number of models:
    there are four noises and three divergences.
    """
    table = {}
    for measure in found.measures:
        means = found.means[measure]
        differ = {
            "divergence": pairs(means, "noise").values(),
            "noise": pairs(means, "divergence").values(),
        }
        table[measure] = {
            changed: float(np.mean([*itertools.chain(*groups)])) if groups else math.nan
            for changed, groups in differ.items()
        } | {"chance": by_chance(found, measure)}
    return pd.DataFrame(table).T


# The caption


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names, means = titles(experiment, dataset), found.means
    of_model = found.runs.groupby("model", sort=False)[found.measures]
    lost = of_model.agg(lambda seeds: seeds.isna().any()).any(axis=1)
    return [
        *_answer(found),
        _apart_text(found),
        _against_kl(means),
        "The noise: z = μ (no noise), μ + σ∘ε with the encoder’s σ (σ free), μ + σ∘(L ε) with "
        "L Lᵀ the batch’s covariance (σ∘L), or μ + s·ε with one s for all (σ fixed).",
        "Moments are compared of the means μ, and MMD of the codes z: only without noise do both "
        "see the same. Without noise the per-sample KL is infinite, and what depends on μ is in "
        "its place, ½‖μ‖².",
        f"From above: {'; '.join(_row_texts(found, names))}.",
        f"Not compared: {listed(names[model] for model in found.left_out)}."
        if found.left_out
        else "",
        "The bound on log p(x) is importance-weighted, of "
        f"{counted(found.samples, 'code')} an image, with q(z|x) widened. Higher is better; of all "
        "else, lower."
        if found.samples
        else "",
        "‖Cov − I‖: filled marks and numbers are of the means μ, open ones of the codes z."
        if "distance" in found.runs
        else "",
        f"Grey line: as many draws of N(0, I), {number(found.floor)}." if found.floor else "",
        f"{distance_name(found.features)[:1].upper()}{distance_name(found.features)[1:]}: filled "
        "marks and numbers are of samples of the prior"
        + ", open ones of a mixture of ten Gaussians fitted to the training codes"
        * ("mixture" in found.runs)
        + "."
        if found.features
        else "",
        where_text(data),
        weights_text(experiment, dataset, found.models),
        spread_text(data.seeds, "marks and numbers"),
        "Small points: single seeds." * (len(data.seeds) > 1),
        gaps_text([names[model] for model in lost.index[lost]]),
    ]


def _answer(found: Ablation) -> list[str]:
    """Which of the two moves the models further, measure by measure, and with which divergence the
    noise does least and most."""
    # without `chance`, with one seed, there is no telling
    table = effects(found).dropna()
    if table.empty:
        return []
    apart = table["divergence"] - table["noise"]
    unclear = apart.abs() <= table["chance"]
    said = {
        "the divergence moves these models further than the noise does": (apart > 0) & ~unclear,
        "the noise moves these models further than the divergence does": (apart < 0) & ~unclear,
        "the divergence and the noise move them as far, or so nearly that seeds explain the "
        "difference": unclear,
    }
    texts = [
        f"On average {what}, by {_by(table.index[here], found)}."
        for what, here in said.items()
        if any(here)
    ]
    for word, pick in (("least", min), ("most", max)):
        extreme: dict[Hashable, list[str]] = {}
        for measure in table.index:
            groups = {
                key: np.mean(of) for key, of in pairs(found.means[measure], "divergence").items()
            }
            if len(groups) > 1:
                extreme.setdefault(pick(groups, key=lambda key: groups[key]), []).append(measure)
        parts = [f"with {_with(key)} ({_by(of, found)})" for key, of in extreme.items()]
        if parts:
            texts.append(f"The noise does {word} {listed(parts)}.")
    return texts


def _by(measures: Collection[str], found: Ablation) -> str:
    """Measures in words; all of them, where that is so."""
    everything = 1 < len(measures) == len(found.measures)
    return f"all {len(measures)} measures" if everything else listed(MEASURES[m] for m in measures)


def _with(divergence: Hashable) -> str:
    return f"{'the ' if divergence == 'posterior_kl' else ''}{COMPARED[str(divergence)]}"


def _apart_text(found: Ablation) -> str:
    """How far models are apart that differ in one alone, measure by measure."""
    table = effects(found).dropna(how="all", subset=["noise", "divergence"])
    words = {"noise": "in the noise alone", "divergence": "in the divergence alone"}
    words |= {"chance": "in their seeds"}
    words = {changed: what for changed, what in words.items() if table[changed].notna().any()}
    texts = [
        f"{MEASURES[measure]} {listed(number(apart[changed]) for changed in words)}"
        + " nats" * (measure in NATS)
        for measure, apart in table.iterrows()
        if apart[list(words)].notna().all()
    ]
    if not texts:
        return ""
    return f"How far two models are apart that differ {listed(words.values())}: {'; '.join(texts)}."


def _against_kl(means: pd.DataFrame) -> str:
    """In how many pairs of the same noise moments or MMD are better than the per-sample KL."""
    texts = []
    for measure, values in means.items():
        wide = values.unstack("divergence").reindex(columns=list(COMPARED))
        better = wide[["moments", "mmd"]].sub(wide["posterior_kl"], axis=0)
        better = (better if measure == "bound" else -better).stack().dropna()
        if len(better):
            texts.append(f"{(better > 0).sum()} of {len(better)} by {MEASURES[str(measure)]}")
    if not texts:
        return ""
    return (
        "Of the pairs with the same noise, moments or MMD do better than the per-sample KL in "
        f"{listed(texts)}."
    )


def _row_texts(found: Ablation, names: Mapping[str, str]) -> list[str]:
    """The models of each noise, in the order of the rows."""
    cells = found.runs.drop_duplicates("model").set_index("model").loc[found.models, "noise"]
    return [
        f"{NOISES[noise]}: {listed(names[model] for model in group.index)}"
        for noise, group in cells.groupby(cells, sort=False)
    ]
