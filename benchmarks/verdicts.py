"""How often claims get a verdict where there is nothing to find: ``python -m benchmarks.verdicts``.

The family has the shape of the digits': as many tests of each kind, with as many parts each, as
their published table has. Every quantity is exactly 0, so each verdict is false. Models are alike
in orders and contrasts, thresholds are the mean, and equivalences have one difference at the edge
of the tolerance. A test with several kinds of parts counts as the last of them in ``KINDS``. A
column is the share of families with a false verdict among the tests of that kind, Holm's
correction being for all. ``one noisy`` are orders and contrasts in which one model alone has the
noise, and the others have normal noise of its deviation.

A second table says how skewed the values of the digits' own thresholds are over seeds, beside
samples of known noise.

A third table is the chance of a false verdict on orders, under normal noise, if seeds are added to
those there are: each time as many as the claim that asks for the fewest asks for, up to four times.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

from hebae.base.checkout import CHECKOUT
from hebae.claims.measures import MEASURES
from hebae.claims.read import Claim
from hebae.claims.statistics import Part, Sample, judge
from hebae.claims.verdicts import FEWEST, Verdict
from hebae.publish.results import checkout_claims, read_experiment
from hebae.tables.read import read_table

CONFIG = CHECKOUT / "config/digits.yaml"
TABLES = CHECKOUT / "docs/results/digits/tables"
LEVEL = 0.05
SEEDS = (4, 6, 10)
APART = 10.0  # of the two modes, in standard deviations within one
KINDS = {  # the signs of the samples of a part
    "orders": (1, -1),
    "contrasts": (1, -1, -1, 1),
    "equivalences": (1, -1),
    "thresholds": (1,),
}
TOLERANCE = 1000.0
ORDERS = 39  # of the larger family that is judged after several looks


def kind_of(claim: Claim) -> str:
    """The kind that its tests count as."""
    if claim.above or claim.below:
        return "thresholds"
    if claim.equal:
        return "equivalences"
    return "contrasts" if claim.contrast else "orders"


@cache
def published_table(name: str) -> pd.DataFrame:
    return read_table(next(TABLES.glob(f"{name}.csv*")))


@cache
def published() -> list[tuple[Claim, str, str, int, int]]:
    """The digits' tests: claim, dataset, measure, latent dimension, number of parts."""
    claims = {claim.id: claim for claim in checkout_claims().claims}
    table = pd.read_csv(TABLES / "claim_parts.csv").query(f"n_seeds >= {FEWEST}")
    tests = table.groupby(["claim", "dataset", "measure", "latent_dim"]).size()
    return [(claims[claim], *test, parts) for (claim, *test), parts in tests.items()]


@cache
def family() -> dict[str, tuple[int, ...]]:
    """For each kind, the number of parts of each test; the two parts of an equality are one."""
    parts: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for claim, _, _, _, number in published():
        kind = kind_of(claim)
        parts[kind].append(number // 2 if kind == "equivalences" else number)
    return {kind: tuple(numbers) for kind, numbers in parts.items()}


def size() -> int:
    """The number of tests of the family."""
    return sum(map(len, family().values()))


def noise(name: str, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of mean 0: normal, laplace, gamma (of shape 4), lognormal (of N(0, 1)), modes:SHARE."""
    if name.startswith("modes:"):
        rare = float(name.partition(":")[2])
        return random.normal(size=shape) + APART * ((random.random(shape) < rare) - rare)
    if name == "laplace":
        return random.laplace(size=shape)
    if name == "gamma":
        return random.gamma(4, size=shape) - 4
    if name == "lognormal":
        return random.lognormal(size=shape) - np.exp(0.5)
    return random.normal(size=shape)


NOISES = ("normal", "laplace", "gamma", "lognormal", "modes:0.5", "modes:0.3", "modes:0.1")


def deviation(name: str) -> float:
    if name.startswith("modes:"):
        rare = float(name.partition(":")[2])
        return float(np.sqrt(1 + APART**2 * rare * (1 - rare)))
    others = {"laplace": 2**0.5, "gamma": 2.0, "lognormal": float(np.sqrt((np.e - 1) * np.e))}
    return others.get(name, 1.0)


def may_be_decided(values: np.ndarray, signs: Sequence[int], paired: bool) -> np.ndarray:
    """Which of values (draws, parts, samples, seeds) have a part that t decides at LEVEL / size().

    No other test of a family decides what t does not, so the rest needs no judging.
    """
    signed = values * np.array(signs)[:, None]
    if paired:
        signed = signed.sum(axis=2, keepdims=True)
    n = signed.shape[-1]
    squares = signed.var(axis=-1, ddof=1) / n
    freedom = squares.sum(axis=-1) ** 2 / (squares**2 / (n - 1)).sum(axis=-1)
    t = signed.mean(axis=-1).sum(axis=-1) / np.sqrt(squares.sum(axis=-1))
    return (2 * special.stdtr(freedom, -np.abs(t)) <= LEVEL / size()).any(axis=1)


def parts_of(kind: str, values: np.ndarray) -> Iterator[Part]:
    """The parts of a claim, from values (parts, samples, seeds)."""
    for i, of_part in enumerate(values):
        samples = tuple(
            Sample(sign, dict(enumerate(own.tolist())))
            for sign, own in zip(KINDS[kind], of_part, strict=True)
        )
        if kind == "equivalences":
            # the difference is TOLERANCE below 0 on average: at the edge of this part
            yield Part(f"{i} lower", samples, paired=True)
            other = tuple(Sample(-one.sign, one.values) for one in samples)
            yield Part(f"{i} upper", other, -2 * TOLERANCE, paired=True)
        else:
            yield Part(str(i), samples)


def false_verdicts(
    kind: str, name: str, n: int, draws: int, random: np.random.Generator, one_noisy: bool = False
) -> np.ndarray:
    """In which of so many families a claim of this kind has a verdict."""
    wrong = np.zeros(draws, bool)
    for parts in family()[kind]:
        shape = draws, parts, len(KINDS[kind]), n
        values = noise(name, random, shape)
        if one_noisy:
            values[:, :, 1:] = deviation(name) * random.normal(size=values[:, :, 1:].shape)
        if kind == "equivalences":
            # by seed the two are alike: correlation of about .96, as with a shared start
            values = 0.2 * values + random.normal(size=(draws, parts, 1, n))
        for draw in np.flatnonzero(may_be_decided(values, KINDS[kind], kind == "equivalences")):
            alone = {0: list(parts_of(kind, values[draw]))}
            wrong[draw] |= judge(alone, LEVEL, size() - 1)[0].verdict is not Verdict.UNDECIDED
    return wrong


def errors(name: str, n: int, draws: int, random: np.random.Generator) -> dict[str, float]:
    """The share of families with a false verdict, by kind."""
    wrong = {kind: false_verdicts(kind, name, n, draws, random) for kind in KINDS}
    columns = {
        "orders, contrasts": wrong["orders"] | wrong["contrasts"],
        "one noisy": false_verdicts("orders", name, n, draws, random, one_noisy=True)
        | false_verdicts("contrasts", name, n, draws, random, one_noisy=True),
        "equivalences": wrong["equivalences"],
        "thresholds": wrong["thresholds"],
    }
    return {column: float(found.mean()) for column, found in columns.items()}


def after_looks(
    name: str, n: int, looks: int, draws: int, random: np.random.Generator, claims: int = 1
) -> list[float]:
    """The share of false verdicts on orders, after no, one, … looks that added what was asked."""
    found = np.zeros(looks + 1)
    for _ in range(draws):
        values: list[np.ndarray] = [np.empty((claims, 2, 0))]
        asked = float(n)
        for look in range(looks + 1):
            there = sum(added.shape[-1] for added in values)
            values.append(noise(name, random, (claims, 2, int(asked) - there)))
            every = np.concatenate(values, axis=-1)
            judged = judge({i: list(parts_of("orders", one[None])) for i, one in enumerate(every)})
            if any(one.verdict is not Verdict.UNDECIDED for one in judged.values()):
                found[look:] += 1
                break
            asked = min(one.seeds_needed or np.inf for one in judged.values())
            if not np.isfinite(asked):
                break
    return (found / draws).tolist()


def skewness_of_thresholds() -> np.ndarray:
    """The skewness over seeds of each model of each of the digits' thresholds.

    It is that of logarithms where the measure compares by ratio. Values without spread have none.
    """
    datasets = read_experiment(CONFIG).datasets
    found = []
    for claim, dataset, name, latent_dim, _ in published():
        if kind_of(claim) != "thresholds":
            continue
        measure = MEASURES[name]
        tables = {name: published_table(name) for name in measure.tables}
        own = {name: rows[rows["dataset"] == dataset] for name, rows in tables.items()}
        values = measure.values(datasets[dataset], own).sort_index()
        for model in claim.models:
            by_seed = values.loc[(model, latent_dim)].to_numpy(float)
            found.append(stats.skew(np.log(by_seed) if measure.log else by_seed))
    return np.array(found)


def size_of_skewness(skewness: np.ndarray) -> dict[str, float]:
    """The mean of skewness and of its size, over samples that have one."""
    there = skewness[np.isfinite(skewness)]
    return {"samples": there.size, "mean": there.mean(), "mean size": np.abs(there).mean()}


def table(columns: Sequence[str], rows: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield f"| {' | '.join(('', *columns))} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row, cells in rows.items():
        shown = [
            f"{value:.3f}" if isinstance(value := cells[column], float) else str(value)
            for column in columns
        ]
        yield f"| {' | '.join((row, *shown))} |"


def print_table(rows: Mapping[str, Mapping[str, float]]) -> None:
    print(*table(list(next(iter(rows.values()))), rows), sep="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=4000, help="families a row (default 4000)")
    parser.add_argument(
        "--table", choices=("error", "skewness", "looks"), help="print one table only"
    )
    options = parser.parse_args(arguments)
    if options.table in (None, "error"):
        random = np.random.default_rng(0)
        rows = {
            f"{name}, {n} seeds": errors(name, n, options.draws, random)
            for name in NOISES
            for n in SEEDS
        }
        print_table(rows)
    if options.table in (None, "skewness"):
        random = np.random.default_rng(0)
        rows = {"thresholds of the digits": size_of_skewness(skewness_of_thresholds())}
        for name in ("normal", "gamma", "lognormal"):
            samples = noise(name, random, (options.draws, max(SEEDS)))
            rows[f"{name}, {max(SEEDS)} seeds"] = size_of_skewness(stats.skew(samples, axis=1))
        print_table(rows)
    if options.table in (None, "looks"):
        random = np.random.default_rng(0)
        looks = {}
        for claims, draws in ((1, options.draws // 4), (ORDERS, options.draws // 40)):
            for n in SEEDS:
                shares = after_looks("normal", n, 4, draws, random, claims)
                name = f"{claims} order{'s' * (claims > 1)}, from {n} seeds"
                looks[name] = dict(zip(map(str, range(5)), shares, strict=True))
        print_table(looks)


if __name__ == "__main__":
    main()
