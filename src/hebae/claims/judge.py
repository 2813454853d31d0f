"""Judges the papers' claims in an experiment: ``python -m hebae.claims.judge --help``.

A claim is judged by each of its measures, on every dataset and at every latent dimension at which
all of its models have been trained. ``claims.csv`` has a row for each of these tests: the verdict,
and the estimate, with its 95 % interval, of the part that the verdict rests on. ``claim_parts.csv``
has every part of every test with its effect size and p-values. ``claims.json`` says by which file
of claims they were judged. docs/claims.md describes their columns.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hebae.base import checkout, files
from hebae.base.errors import command
from hebae.base.text import listed, number
from hebae.claims import statistics
from hebae.claims.measures import MEASURES, TABLES, Measure
from hebae.claims.read import CLAIMS, CLAIMS_SCHEMA, Claim, Claims, read_claims
from hebae.claims.statistics import Part, Sample
from hebae.claims.verdicts import COLUMNS, PART_COLUMNS, WAITS, Verdict
from hebae.config.experiment import Dataset, Experiment
from hebae.config.registry import RECONSTRUCTIONS
from hebae.tables import collect
from hebae.tables.collect import tables_of
from hebae.tables.read import read_table

Row = dict[str, Any]
RULE = ("config/claims.yaml", "src/hebae/claims")
"""What decides how claims are judged, as paths in the checkout."""


class Key(NamedTuple):
    """A test: a claim's id, a dataset of the experiment, a measure, a latent dimension."""

    claim: str
    dataset: str
    measure: str
    latent_dim: int


class RunKey(NamedTuple):
    """A run, as the rows of all tables name it."""

    dataset: str
    model: str
    latent_dim: int
    weight: float
    seed: int


class Planned(NamedTuple):
    """What the config asks for of a test, and what is missing."""

    n_seeds: int
    """Of each model; 0 where the config does not ask for the test."""
    missing: str
    """How many runs it waits for; empty if all that the config asks for are there."""


class NotRun(Exception):
    """Why a claim was not run in an experiment."""


@dataclass(frozen=True)
class Quantity:
    """A part of a claim, and how its values read in the measure's own terms.

    ``to_measure`` turns the part's quantity, or an end of its interval, into the measure, or into a
    difference or ratio of two measures.
    """

    part: Part
    to_measure: Callable[[float], float]


@dataclass(frozen=True)
class Test:
    """A claim by one measure on one dataset at one latent dimension, before it is judged."""

    quantities: tuple[Quantity, ...]
    notes: tuple[str, ...]
    """What a reader must know of its values, such as seeds that are left out."""
    withdrawn: str
    """Why its verdict is withdrawn; empty if it stands."""
    beside: str
    """Numbers to read beside the verdict; empty if there are none."""
    missing: str = ""
    """:attr:`Planned.missing`"""

    def is_judged(self, claim: Claim) -> bool:
        """Whether it has the seeds that the claim asks for, and all the runs of the config.

        Judging some seeds before the others are there would be a look that raises the error.
        """
        return self.n_seeds >= claim.seeds and not self.missing

    @property
    def n_seeds(self) -> int:
        """The fewest values that a model has."""
        return min(len(sample.values) for one in self.quantities for sample in one.part.samples)


def judge_claims(
    claims: Claims, experiment: Experiment, tables: Mapping[str, pd.DataFrame]
) -> tuple[list[Row], list[Row]]:
    """Rows of ``claims.csv`` and of ``claim_parts.csv``, in the order of the claims.

    All tests with enough seeds form one family, in which each reading of a claim counts separately.
    Those that wait for runs are undecided, but count, so that no verdict changes when these runs
    are there. Other tests cannot be decided, whatever their values are, and are not in the family.

    Raises:
        UserError: for a claim of the experiment that does not exist.
    """
    claims.check_named(experiment.claims)
    rows: list[Row] = []
    parts: list[Row] = []
    found: dict[Key, Test] = {}
    not_run: dict[tuple[str, str], str] = {}
    waiting = 0
    runs_of = _runs_of(experiment, tables)
    for claim in claims.claims:
        for name in claim.measures:
            tests, n_waiting, reason = _tests(claim, name, experiment, tables, runs_of)
            found |= tests
            waiting += n_waiting
            if not tests:
                not_run[claim.id, name] = reason
    judged = _judged(found, claims, waiting)
    for claim in claims.claims:
        for name in claim.measures:
            if reason := not_run.get((claim.id, name)):
                rows.append(_row(claim, name) | dict(figure=claim.figures[0], note=reason))
            for key, test in found.items():
                if (key.claim, key.measure) == (claim.id, name):
                    row, of_parts = _results(claim, key, test, judged[key], experiment)
                    rows.append(row)
                    parts += of_parts
    return rows, parts


def _row(claim: Claim, name: str) -> Row:
    """A row of ``claims.csv`` for a claim that was not run."""
    return dict.fromkeys(COLUMNS) | dict(
        claim=claim.id,
        statement=claim.statement,
        measure=name,
        reading=MEASURES[name].reading,
        n_seeds=0,
        verdict=Verdict.NOT_RUN,
    )


def _judged(
    found: Mapping[Key, Test], claims: Claims, waiting: int
) -> dict[Key, statistics.Judged]:
    """Judge the tests that can be decided as a family, and each other test separately.

    ``waiting`` tests of the family have missing runs.
    """
    asked = {claim.id: claim for claim in claims.claims}
    parts_of = {key: [one.part for one in test.quantities] for key, test in found.items()}
    family = {
        key: parts for key, parts in parts_of.items() if found[key].is_judged(asked[key.claim])
    }
    judged = statistics.judge(family, claims.level, waiting) if family else {}
    for key in parts_of.keys() - family.keys():
        judged |= statistics.judge({key: parts_of[key]}, claims.level)
    return judged


def _tests(
    claim: Claim,
    name: str,
    experiment: Experiment,
    tables: Mapping[str, pd.DataFrame],
    runs_of: Mapping[str, tuple[set[RunKey], set[RunKey]]],
) -> tuple[dict[Key, Test], int, str]:
    """A claim's tests by one measure, how many wait for runs, and, if there are none, the reason.

    A test waits if the config asks for enough seeds of it and some of its runs are missing. It may
    have no value yet.
    """
    if experiment.claims and claim.id not in experiment.claims:
        return {}, 0, f"{experiment.name} is made for other claims"
    drawn = [experiment.figures[figure] for figure in claim.figures if figure in experiment.figures]
    if claim.drawn and not drawn:
        return {}, 0, f"{experiment.name} draws none of {listed(claim.figures)}"
    measure = MEASURES[name]
    # a dataset may stand under several labels, with other models beside the same runs
    labels: dict[tuple[str, ...], list[tuple[Dataset, int, Planned]]] = {}
    # the datasets of the claim's own figures first, whose reasons say most
    order = dict.fromkeys((*drawn, *(() if claim.drawn else experiment.datasets)))
    reasons = {dataset: _lacks(claim, measure, experiment.datasets[dataset]) for dataset in order}
    for data in (experiment.datasets[dataset] for dataset in order if not reasons[dataset]):
        for latent_dim in data.latent_dims:
            runs = _same_runs(claim, experiment, data, latent_dim)
            asked = _asked(claim, measure, data, latent_dim, runs_of)
            labels.setdefault(runs, []).append((data, latent_dim, asked))
    found, waiting, values = {}, [], {}
    for of_runs in labels.values():
        # the config decides which label counts, and not what is there already
        data, latent_dim, asked = max(of_runs, key=lambda one: min(one[2].n_seeds, claim.seeds))
        if asked.missing and asked.n_seeds >= claim.seeds:
            waiting.append(asked.missing)
        try:
            if data.name not in values:
                values[data.name] = _values(measure, data, tables)
            test = _test(claim, measure, data, latent_dim, values[data.name], tables)
        except NotRun as reason:
            reasons[data.name] = reasons[data.name] or str(reason)
            continue
        found[Key(claim.id, data.name, name, latent_dim)] = replace(test, missing=asked.missing)
    datasets = list(experiment.datasets)
    found = dict(sorted(found.items(), key=lambda item: datasets.index(item[0].dataset)))
    return found, len(waiting), next(filter(None, (*waiting, *reasons.values())), "")


def _same_runs(
    claim: Claim, experiment: Experiment, data: Dataset, latent_dim: int
) -> tuple[str, ...]:
    """What the claim's runs are trained on and how, whatever the label of the dataset is."""
    runs = (
        experiment.run(data.name, model, latent_dim, data.models[model].default, 0)
        for model in claim.models
    )
    return data.source, *(replace(run, dataset="").to_json() for run in runs)


def _lacks(claim: Claim, measure: Measure, data: Dataset) -> str:
    """Why a claim is not tested by a measure on a dataset, whatever was run; empty if it is."""
    if claim.sources and data.source not in claim.sources:
        return f"made for {listed(claim.sources)}, not for {data.source}"
    for model in claim.models:
        if model not in data.models:
            return f"no model {model} on {data.name}"
        recipe = data.models[model]
        if measure.of_likelihood and not RECONSTRUCTIONS[recipe.reconstruction].likelihood:
            return f"{model} on {data.name}: its reconstruction error is no likelihood's"
        if lacks := measure.lacks(recipe):
            return f"{model} on {data.name}: {lacks}"
    return ""


def _values(measure: Measure, data: Dataset, tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    """The measure of every run of a dataset."""
    for table in measure.tables:
        rows = tables.get(table)
        if rows is None or not (rows["dataset"] == data.name).any():
            raise NotRun(f"no table {table} of {data.name}")
    return measure.values(data, _of_dataset(measure.tables, data, tables)).sort_index()


def _of_dataset(
    names: Sequence[str], data: Dataset, tables: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    return {name: tables[name][tables[name]["dataset"] == data.name] for name in names}


def _test(
    claim: Claim,
    measure: Measure,
    data: Dataset,
    latent_dim: int,
    values: pd.Series,
    tables: Mapping[str, pd.DataFrame],
) -> Test:
    """A claim's test at one latent dimension."""
    by_model, notes = {}, []
    for model in claim.models:
        by_model[model], without = _by_seed(values, model, latent_dim, measure.log)
        if without:
            notes.append(f"{model} has no finite value in {_seeds(without)}")
    made = tuple(quantities(claim, measure, by_model))
    own = _of_dataset(measure.tables, data, tables)
    spoilt = measure.flaw is not None and measure.flaw.spoils(own)
    return Test(
        made,
        tuple(notes),
        withdrawn=measure.flaw.reason if spoilt else "",
        beside=_beside(measure, data, own, claim.models, latent_dim),
    )


def _runs_of(
    experiment: Experiment, tables: Mapping[str, pd.DataFrame]
) -> dict[str, tuple[set[RunKey], set[RunKey]]]:
    """By table, the runs that the config asks for, and those that have rows.

    Runs on smaller training sets are left out, as no claim is about them.
    """
    return {
        name: (
            {
                RunKey(run.dataset, run.model, run.latent_dim, run.lam, run.seed)
                for run in table.runs(experiment)
                if run.n_train is None
            },
            _runs_in(tables[name], experiment) if name in tables else set(),
        )
        for name, table in collect.TABLES.items()
    }


def _runs_in(table: pd.DataFrame, experiment: Experiment) -> set[RunKey]:
    if "n_train" in table:
        smaller = {
            (data.name, size)
            for data in experiment.datasets.values()
            for size in data.training_sizes
        }
        rows = zip(table["dataset"], table["n_train"], strict=True)
        table = table[[row not in smaller for row in rows]]
    columns = ["dataset", "model", "latent_dim", "weight", "seed"]
    return set(map(RunKey._make, table[columns].drop_duplicates().itertuples(index=False)))


def _asked(
    claim: Claim,
    measure: Measure,
    data: Dataset,
    latent_dim: int,
    runs_of: Mapping[str, tuple[set[RunKey], set[RunKey]]],
) -> Planned:
    """What the config asks for of a test, in the tables of its measure."""
    n_seeds, missing = [], ""
    for table in measure.tables:
        wanted, there = runs_of[table]
        wanted = {
            run
            for run in wanted
            if (run.dataset, run.latent_dim) == (data.name, latent_dim)
            and run.model in claim.models
            and _counts(measure, data, run)
        }
        n_seeds += [len({run.seed for run in wanted if run.model == one}) for one in claim.models]
        if not missing and (lacking := len(wanted - there)):
            missing = f"{WAITS} {lacking} of {len(wanted)} runs"
    return Planned(min(n_seeds), missing)


def _counts(measure: Measure, data: Dataset, run: RunKey) -> bool:
    """Whether a measure is taken from a run: on the grid of λ, or at the default λ."""
    recipe = data.models[run.model]
    if measure.over_grid:
        on_grid = run.latent_dim in data.weight_latent_dims and run.seed in data.weight_seeds
        return on_grid and run.weight in recipe.grid
    return run.weight == recipe.default


def _beside(
    measure: Measure,
    data: Dataset,
    tables: Mapping[str, pd.DataFrame],
    models: Sequence[str],
    latent_dim: int,
) -> str:
    """What is shown beside a verdict: the prior's own value, or another measure seed by seed."""
    said = []
    if measure.floor:
        floors = _of_models(measure.floor(data, tables), models, latent_dim)
        if len(floors):  # all alike, as all runs encode the same images into as many dimensions
            said.append(f"as many draws of N(0, I): {number(floors.iloc[0])}")
    if measure.beside:
        other = MEASURES[measure.beside]
        counts = _of_models(other.values(data, tables), models, latent_dim)
        by_model = ", ".join(
            f"{model} {', '.join(f'{count:g}' for count in of_model)}"
            for model, of_model in counts.groupby(level="model", sort=False)
        )
        said.append(f"{other.text}, of {latent_dim}, in each seed: {by_model}")
    return "; ".join(said)


def _of_models(values: pd.Series, models: Sequence[str], latent_dim: int) -> pd.Series:
    """The values of some models at one latent dimension, in the order of the models and seeds."""
    there = values[values.index.get_level_values("latent_dim") == latent_dim].sort_index()
    return pd.concat([there[there.index.get_level_values("model") == model] for model in models])


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {listed(map(str, seeds))}"


def _by_seed(
    values: pd.Series, model: str, latent_dim: int, log: bool
) -> tuple[dict[int, float], list[int]]:
    """A model's values by seed where they are finite, and the seeds where they are not."""
    try:
        found = values.loc[(model, latent_dim)].astype(float)
    except KeyError:
        raise NotRun(f"no values of {model} at z = {latent_dim}") from None
    if log:
        found = np.log(found.where(found > 0))
    finite = found[np.isfinite(found)]
    if finite.empty:
        raise NotRun(f"no finite values of {model} at z = {latent_dim}")
    return finite.to_dict(), sorted(found.index.difference(finite.index))


def quantities(
    claim: Claim, measure: Measure, by_model: Mapping[str, Mapping[int, float]]
) -> Iterator[Quantity]:
    """The parts of a claim at one latent dimension, from each model's values by seed."""
    minus = "/" if measure.log else "−"

    def quantity(
        name: str, signs: Sequence[tuple[int, str]], offset: float, shown: int = 1, **how: bool
    ) -> Quantity:
        """The part Σ sign · mean − offset > 0; ``shown`` · (that + offset) is what is shown."""
        samples = tuple(Sample(sign, by_model[model]) for sign, model in signs)
        part = Part(name, samples, offset, resolution=measure.resolution, **how)

        def to_measure(above: float) -> float:
            value = shown * (above + offset)
            with np.errstate(over="ignore"):
                return float(np.exp(value)) if measure.log else value

        return Quantity(part, to_measure)

    margin = math.exp(claim.margin) if measure.log else claim.margin
    clearly = f" > {margin:g}" if claim.margin else ""
    for low, high in (pair for chain in claim.order for pair in pairwise(chain)):
        yield quantity(f"{high} {minus} {low}{clearly}", [(1, high), (-1, low)], claim.margin)
    for thresholds, sign, beyond in ((claim.above, 1, ">"), (claim.below, -1, "<")):
        for model, threshold in thresholds.items():
            limit = math.log(threshold) if measure.log else threshold
            name = f"{model} {beyond} {threshold:g}"
            yield quantity(name, [(sign, model)], sign * limit, sign)
    for first, second in claim.equal:
        tolerance = _tolerance(claim, measure, by_model[second].values())
        # as a ratio it reads from 1/(1 + tolerance) to 1 + tolerance
        below, above = f"−{tolerance:.3g}", f"{tolerance:.3g}"
        if measure.log:
            below, above = f"{math.exp(-tolerance):.3g}", f"{math.exp(tolerance):.3g}"
        for sign, beyond in ((1, f"> {below}"), (-1, f"< {above}")):
            name = f"{first} {minus} {second} {beyond}"
            signs = [(sign, first), (-sign, second)]
            yield quantity(name, signs, -tolerance, sign, paired=True)
    if claim.contrast:
        a, b, c, d = claim.contrast
        name = f"({a} {minus} {b}) {minus} ({c} {minus} {d}){clearly}"
        yield quantity(name, [(1, a), (-1, b), (-1, c), (1, d)], claim.margin)


def _tolerance(claim: Claim, measure: Measure, values: Collection[float]) -> float:
    """The largest difference that counts as equal, of the logarithms where ratios are compared.

    A relative tolerance is a share of the absolute mean of the pair's second model, whose values
    are given. Ratios are at most 1 + tolerance, and at least its inverse.
    """
    if not claim.relative:
        return claim.tolerance
    if measure.log:
        return math.log1p(claim.tolerance)
    return claim.tolerance * abs(sum(values) / len(values))


def _results(
    claim: Claim, key: Key, test: Test, judged: statistics.Judged, experiment: Experiment
) -> tuple[Row, list[Row]]:
    """The row of ``claims.csv`` of a judged test, and its rows of ``claim_parts.csv``.

    ``effect`` is Hedges' g of the part. ``p_above`` and ``p_below`` are one-sided p-values of the
    part alone, ``p_holm`` is that of the whole test, corrected for the family.
    """
    enough = test.is_judged(claim)
    figures = [f for f in claim.figures if experiment.figures.get(f) == key.dataset]
    identity = dict(
        claim=claim.id,
        figure=(figures or claim.figures)[0],
        dataset=key.dataset,
        latent_dim=key.latent_dim,
        measure=key.measure,
        reading=MEASURES[key.measure].reading,
    )
    parts = [
        identity
        | dict(where=claim.where, part=examined.part.name, n_seeds=examined.n)
        | _estimate(quantity, examined)
        | dict(
            test=examined.test,
            effect=None if math.isnan(examined.effect) else examined.effect,
            p_above=examined.p_above,
            p_below=examined.p_below,
            p_holm=judged.p_holm if enough else None,
        )
        for quantity, examined in zip(test.quantities, judged.parts, strict=True)
    ]
    weakest = judged.weakest if enough else max(judged.parts, key=lambda one: one.p_above)
    decisive = parts[judged.parts.index(weakest)]
    shared = {name: decisive[name] for name in ("part", "estimate", "ci_low", "ci_high")}
    row = _row(claim, key.measure) | identity | shared
    row |= dict(
        beside=test.beside,
        n_seeds=test.n_seeds,
        # with fewer seeds than the claim asks for, or fewer runs, there is no verdict
        seeds_needed=judged.seeds_needed
        if enough
        else claim.seeds
        if test.n_seeds < claim.seeds
        else None,
        verdict=judged.verdict if enough else Verdict.UNDECIDED,
        note="; ".join(filter(None, (test.missing, *test.notes, judged.reason if enough else ""))),
        withdrawn=test.withdrawn,
    )
    return row, parts


def _estimate(quantity: Quantity, examined: statistics.Examined) -> Row:
    """A part's estimate and interval in the measure's own terms; one seed has no interval."""
    row: Row = dict(estimate=quantity.to_measure(examined.mean), ci_low=None, ci_high=None)
    if examined.n > 1:
        ends = sorted((quantity.to_measure(examined.low), quantity.to_measure(examined.high)))
        row |= dict(zip(("ci_low", "ci_high"), ends, strict=True))
    return row


def judge_tables(experiment: Experiment, tables: Path, output: Path, claims: Path = CLAIMS) -> None:
    """Write ``claims.csv``, ``claim_parts.csv`` and ``claims.json``.

    Args:
        tables: folder of the experiment's tables; those that are missing count as not run.
        output: folder to write to.
        claims: the file of claims.

    Raises:
        UserError: for a file that is damaged, and for a claim that does not exist.
    """
    asked = read_claims(claims, CLAIMS_SCHEMA)
    found = {
        name: read_table(path)
        for name in tables_of(experiment)
        if name in TABLES and (path := tables / f"{name}.csv").is_file()
    }
    rows, parts = judge_claims(asked, experiment, found)
    files.write_csv(output / "claims.csv", rows)
    if parts:
        files.write_csv(output / "claim_parts.csv", parts)
    else:  # a table without rows still has its columns
        files.write_bytes(output / "claim_parts.csv", (",".join(PART_COLUMNS) + "\n").encode())
    files.write_json(output / "claims.json", rule(claims))


def rule(claims: Path = CLAIMS) -> dict[str, str | None]:
    """What fixes the verdicts: the SHA-256 of the file of claims, and when git last saw a change.

    ``commit`` is the last one that changed the claims or the code that judges them, null if git
    does not tell. Runs whose own commit (table ``runs``) is not older were trained after the rule
    was fixed.
    """
    return dict(claims_sha256=files.sha256(claims), **checkout.last_change(RULE).fields())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Judge the papers' claims by an experiment.")
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument(
        "--claims", type=Path, default=CLAIMS, help="file of claims (default: this checkout's)"
    )
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for claims.csv, claim_parts.csv and claims.json",
    )
    options = parser.parse_args(arguments)
    experiment = Experiment.from_json(options.experiment)
    judge_tables(experiment, options.tables, options.output, options.claims)


if __name__ == "__main__":
    command(main)
