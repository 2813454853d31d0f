"""Judges the papers' claims in an experiment: ``python -m hebae.claims.judge --help``.

``claims.csv`` has a row for each claim, figure and measure: the verdict, and the estimate, with its
95 % interval, of the part that the verdict rests on. ``claim_parts.csv`` has every part of every
claim with its effect size and p-values, and the reason if a claim was not run. docs/claims.md
describes their columns.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.claims import statistics
from hebae.claims.measures import MEASURES, TABLES, Measure
from hebae.claims.read import CLAIMS, CLAIMS_SCHEMA, Claim, Claims, read_claims
from hebae.claims.verdicts import Verdict
from hebae.config.experiment import Experiment
from hebae.tables.collect import tables_of
from hebae.tables.read import read_table

Key = tuple[str, str, str]
"""A claim's id, a figure, a measure."""
Row = dict[str, Any]

UNJUDGED: Row = dict(
    part=None,
    n_seeds=0,
    seeds_needed=None,
    estimate=None,
    ci_low=None,
    ci_high=None,
    effect=None,
    p_above=None,
    p_below=None,
    p_holm=None,
    verdict=Verdict.NOT_RUN,
)
"""The columns of both tables for a claim that was not run."""


class NotRun(Exception):
    """Why a claim was not run in an experiment."""


@dataclass(frozen=True)
class Quantity:
    """A part of a claim, and how its values read in the measure's own terms.

    ``to_measure`` turns a mean of the part's values, or an end of its interval, into the measure,
    or into a difference or ratio of two measures.
    """

    part: statistics.Part
    to_measure: Callable[[float], float]


def judge_claims(
    claims: Claims, experiment: Experiment, tables: Mapping[str, pd.DataFrame]
) -> tuple[list[Row], list[Row]]:
    """Rows of ``claims.csv`` and of ``claim_parts.csv``, in the order of the claims.

    All claims that were run with enough seeds form one family, in which each reading of a claim
    counts separately. The other claims cannot be decided, whatever their values are, so they are
    not in the family.

    Raises:
        UserError: for values that cannot be judged, and for a claim of the experiment that does not
            exist.
    """
    claims.check_named(experiment.claims)
    tests = [
        (claim, figure, name)
        for claim in claims.claims
        for figure in claim.figures
        for name in claim.measures
    ]
    found: dict[Key, list[Quantity]] = {}
    reasons: dict[Key, str] = {}
    for claim, figure, name in tests:
        key = claim.id, figure, name
        try:
            found[key] = _measured(claim, figure, name, experiment, tables)
        except NotRun as reason:
            reasons[key] = str(reason)
    judged = _judged(found, claims)
    rows, parts = [], []
    for claim, figure, name in tests:
        key = claim.id, figure, name
        of_parts, decisive = [UNJUDGED], UNJUDGED
        if key in found:
            of_parts, decisive = _results(claim, judged[key], found[key])
        rows.append(_claim_row(claim, figure, name, decisive, of_parts))
        test = dict(
            claim=claim.id,
            figure=figure,
            dataset=experiment.figures.get(figure),
            measure=name,
            reading=MEASURES[name].reading,
            where=claim.where,
        )
        parts.extend(test | part | dict(reason=reasons.get(key, "")) for part in of_parts)
    return rows, parts


def _claim_row(claim: Claim, figure: str, name: str, decisive: Row, parts: Sequence[Row]) -> Row:
    """A row of ``claims.csv``, from its rows of ``claim_parts.csv`` and the decisive one."""
    return dict(
        claim=claim.id,
        figure=figure,
        statement=claim.statement,
        measure=name,
        part=decisive["part"],
        reading=MEASURES[name].reading,
        estimate=decisive["estimate"],
        ci_low=decisive["ci_low"],
        ci_high=decisive["ci_high"],
        n_seeds=min(part["n_seeds"] for part in parts),
        seeds_needed=decisive["seeds_needed"],
        verdict=decisive["verdict"],
        withdrawn=claim.withdrawn,
    )


def _judged(
    found: Mapping[Key, Sequence[Quantity]], claims: Claims
) -> dict[Key, statistics.Judged]:
    """Judge the claims with enough seeds as a family, and each other claim separately."""
    asked = {claim.id: claim.seeds for claim in claims.claims}
    parts_of = {key: [one.part for one in parts] for key, parts in found.items()}
    family = {
        key: parts
        for key, parts in parts_of.items()
        if min(len(part.values) for part in parts) >= asked[key[0]]
    }
    try:
        judged = statistics.judge(family, claims.level) if family else {}
        for key in parts_of.keys() - family.keys():
            judged |= statistics.judge({key: parts_of[key]}, claims.level)
    except ValueError as error:
        raise UserError(f"claims: {error}") from None
    return judged


def _measured(
    claim: Claim,
    figure: str,
    name: str,
    experiment: Experiment,
    tables: Mapping[str, pd.DataFrame],
) -> list[Quantity]:
    """The parts of a claim on the dataset that a figure is drawn for."""
    if experiment.claims and claim.id not in experiment.claims:
        raise NotRun(f"{experiment.name} is made for other claims")
    if figure not in experiment.figures:
        raise NotRun(f"{experiment.name} does not draw {figure}")
    dataset = experiment.figures[figure]
    data, measure = experiment.datasets[dataset], MEASURES[name]
    if claim.sources and data.source not in claim.sources:
        raise NotRun(f"made for {', '.join(claim.sources)}, not for {data.source}")
    for model in claim.models:
        if model not in data.models:
            raise NotRun(f"no model {model} on {dataset}")
    of_dataset = {}
    for table in measure.tables:
        rows = tables.get(table)
        if rows is None or not (rows["dataset"] == dataset).any():
            raise NotRun(f"no table {table} of {dataset}")
        of_dataset[table] = rows[rows["dataset"] == dataset]
    values = measure.values(data, of_dataset).sort_index()
    latent_dims = [data.main_latent_dim]
    if claim.every_latent_dim:
        shared = [data.models[model].latent_dims or data.latent_dims for model in claim.models]
        latent_dims = [z for z in data.latent_dims if all(z in trained for trained in shared)]
    return [
        quantity
        for latent_dim in latent_dims
        for quantity in quantities(
            claim,
            measure,
            {model: _by_seed(values, model, latent_dim, measure.log) for model in claim.models},
            f", z = {latent_dim}",
        )
    ]


def _by_seed(values: pd.Series, model: str, latent_dim: int, log: bool) -> pd.Series:
    """A model's values by seed, where they are finite."""
    try:
        found = values.loc[(model, latent_dim)].astype(float)
    except KeyError:
        raise NotRun(f"no values of {model} at z = {latent_dim}") from None
    if log:
        found = np.log(found.where(found > 0))
    # those of a run that diverged are not finite
    found = found[np.isfinite(found)]
    if found.empty:
        raise NotRun(f"no finite values of {model} at z = {latent_dim}")
    return found


def quantities(
    claim: Claim, measure: Measure, by_model: Mapping[str, pd.Series], at: str
) -> Iterator[Quantity]:
    """The parts of a claim at one latent dimension, from each model's values by seed."""
    minus = "/" if measure.log else "−"

    def quantity(name: str, values: pd.Series, sign: int, offset: float, runs: int = 2) -> Quantity:
        """The quantity that the claim says is above 0: sign · (values − offset)."""
        values = values.dropna()  # without seeds that one of two models lacks
        if values.empty:
            raise NotRun(f"{name}{at}: no seed has both")
        numbers = tuple((sign * (values - offset)).tolist())
        # each of the runs is rounded separately
        resolution = math.sqrt(runs) * measure.resolution
        part = statistics.Part(name + at, numbers, resolution)

        def to_measure(mean: float) -> float:
            value = sign * mean + offset
            with np.errstate(over="ignore"):
                return float(np.exp(value)) if measure.log else value

        return Quantity(part, to_measure)

    margin = math.exp(claim.margin) if measure.log else claim.margin
    clearly = f" > {margin:g}" if claim.margin else ""
    for low, high in (pair for chain in claim.order for pair in pairwise(chain)):
        yield quantity(
            f"{high} {minus} {low}{clearly}", by_model[high] - by_model[low], 1, claim.margin
        )
    for thresholds, sign, beyond in ((claim.above, 1, ">"), (claim.below, -1, "<")):
        for model, threshold in thresholds.items():
            limit = math.log(threshold) if measure.log else threshold
            yield quantity(f"{model} {beyond} {threshold:g}", by_model[model], sign, limit, runs=1)
    for first, second in claim.equal:
        tolerance = claim.tolerance * (abs(by_model[second].mean()) if claim.relative else 1)
        for sign, beyond in ((1, "> −"), (-1, "< ")):
            name = f"{first} {minus} {second} {beyond}{tolerance:.3g}"
            yield quantity(name, by_model[first] - by_model[second], sign, -sign * tolerance)
    if claim.contrast:
        a, b, c, d = claim.contrast
        name = f"({a} {minus} {b}) {minus} ({c} {minus} {d}){clearly}"
        difference = (by_model[a] - by_model[b]) - (by_model[c] - by_model[d])
        yield quantity(name, difference, 1, claim.margin, 4)


def _results(
    claim: Claim, judged: statistics.Judged, quantities: Sequence[Quantity]
) -> tuple[list[Row], Row]:
    """The columns of UNJUDGED for each part of a judged claim, and for the one that decides it.

    ``effect`` is Hedges' g of the part, its mean in standard deviations over seeds. ``p_above`` and
    ``p_below`` are one-sided p-values of the part alone, ``p_holm`` is that of the whole claim.
    """
    enough = min(examined.n for examined in judged.parts) >= claim.seeds
    # with fewer seeds than the claim asks for there is no verdict
    of_claim = dict(
        seeds_needed=judged.seeds_needed if enough else claim.seeds,
        verdict=judged.verdict if enough else Verdict.UNDECIDED,
    )
    rows = [
        UNJUDGED
        | _estimate(quantity, examined)
        | of_claim
        | dict(
            part=examined.part.name,
            n_seeds=examined.n,
            effect=None if math.isnan(examined.effect) else examined.effect,
            p_above=examined.p_above,
            p_below=examined.p_below,
            p_holm=judged.p_holm if examined.n >= claim.seeds else None,
        )
        for quantity, examined in zip(quantities, judged.parts, strict=True)
    ]
    return rows, rows[judged.parts.index(judged.weakest)]


def _estimate(quantity: Quantity, examined: statistics.Examined) -> Row:
    """A part's mean and interval in the measure's own terms; one seed has no interval."""
    estimate = dict(estimate=quantity.to_measure(examined.mean))
    if examined.n > 1:
        ends = sorted((quantity.to_measure(examined.low), quantity.to_measure(examined.high)))
        estimate |= dict(zip(("ci_low", "ci_high"), ends, strict=True))
    return estimate


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Judge the papers' claims by an experiment.")
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument(
        "--claims", type=Path, default=CLAIMS, help="file of claims (default: this checkout's)"
    )
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--output", type=Path, required=True, help="claims.csv")
    parser.add_argument("--parts", type=Path, required=True, help="claim_parts.csv")
    options = parser.parse_args(arguments)
    experiment = Experiment.from_json(options.experiment)
    claims = read_claims(options.claims, CLAIMS_SCHEMA)
    tables = {
        name: read_table(options.tables / f"{name}.csv")
        for name in tables_of(experiment)
        if name in TABLES
    }
    rows, parts = judge_claims(claims, experiment, tables)
    files.write_csv(options.output, rows)
    files.write_csv(options.parts, parts)


if __name__ == "__main__":
    command(main)
