"""How often claims get a verdict where there is nothing to find: ``python -m benchmarks.verdicts``.

The family has the shape that the digits' had at first: 39 tests. Every quantity is exactly 0, so
each verdict is false. Models are alike in orders and contrasts, thresholds are the mean, and
equivalences have one difference at the edge of the tolerance. A column is the share of families
with a false verdict among the claims of that kind, Holm's correction being for all 39. ``one
noisy`` are orders and contrasts in which one model alone has the noise, and the others have normal
noise of its deviation.

A second table is the chance of a false verdict on orders, under normal noise, if seeds are added to
those there are: each time as many as the claim that asks for the fewest asks for, up to four times.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy import special

from hebae.claims.statistics import Part, Sample, judge
from hebae.claims.verdicts import Verdict

LEVEL = 0.05
SEEDS = (4, 6, 10)
APART = 10.0  # of the two modes, in standard deviations within one
SIGNS = {
    "orders": (1, -1),
    "contrasts": (1, -1, -1, 1),
    "thresholds": (1,),
    "equivalences": (1, -1),
}
PARTS = {
    "orders": (*[1] * 3, *[2] * 8, *[3] * 6, *[4] * 2, *[6] * 3),
    "contrasts": (1,) * 4,
    "thresholds": (*[1] * 3, *[3] * 2),
    "equivalences": (1,) * 8,
}
"""The number of parts of each claim; equivalences have another, which is clear."""
CLAIMS = sum(map(len, PARTS.values()))
TOLERANCE = 1000.0


def noise(name: str, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of mean 0: normal, laplace, lognormal (of a standard normal), or modes:SHARE."""
    if name.startswith("modes:"):
        rare = float(name.partition(":")[2])
        return random.normal(size=shape) + APART * ((random.random(shape) < rare) - rare)
    if name == "laplace":
        return random.laplace(size=shape)
    if name == "lognormal":
        return random.lognormal(size=shape) - np.exp(0.5)
    return random.normal(size=shape)


NOISES = ("normal", "laplace", "lognormal", "modes:0.5", "modes:0.3", "modes:0.1")


def deviation(name: str) -> float:
    if name.startswith("modes:"):
        rare = float(name.partition(":")[2])
        return float(np.sqrt(1 + APART**2 * rare * (1 - rare)))
    return {"laplace": 2**0.5, "lognormal": float(np.sqrt((np.e - 1) * np.e))}.get(name, 1.0)


def may_be_decided(values: np.ndarray, signs: Sequence[int], paired: bool) -> np.ndarray:
    """Which of values (draws, parts, samples, seeds) have a part that t decides at LEVEL / CLAIMS.

    No other test of a family decides what t does not, so the rest needs no judging.
    """
    signed = values * np.array(signs)[:, None]
    if paired:
        signed = signed.sum(axis=2, keepdims=True)
    n = signed.shape[-1]
    squares = signed.var(axis=-1, ddof=1) / n
    freedom = squares.sum(axis=-1) ** 2 / (squares**2 / (n - 1)).sum(axis=-1)
    t = signed.mean(axis=-1).sum(axis=-1) / np.sqrt(squares.sum(axis=-1))
    return (2 * special.stdtr(freedom, -np.abs(t)) <= LEVEL / CLAIMS).any(axis=1)


def parts_of(kind: str, values: np.ndarray) -> Iterator[Part]:
    """The parts of a claim, from values (parts, samples, seeds)."""
    for i, of_part in enumerate(values):
        samples = tuple(
            Sample(sign, dict(enumerate(own.tolist())))
            for sign, own in zip(SIGNS[kind], of_part, strict=True)
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
    for parts in PARTS[kind]:
        shape = draws, parts, len(SIGNS[kind]), n
        values = noise(name, random, shape)
        if one_noisy:
            values[:, :, 1:] = deviation(name) * random.normal(size=values[:, :, 1:].shape)
        if kind == "equivalences":
            # by seed the two are alike: correlation of about .96, as with a shared start
            values = 0.2 * values + random.normal(size=(draws, parts, 1, n))
        for draw in np.flatnonzero(may_be_decided(values, SIGNS[kind], kind == "equivalences")):
            # claims of one seed are never decided and stand for the rest of the family
            family: dict[int, list[Part]] = {
                i: [Part("", (Sample(1, {0: 1.0}),))] for i in range(1, CLAIMS)
            }
            family[0] = list(parts_of(kind, values[draw]))
            wrong[draw] |= judge(family, LEVEL)[0].verdict is not Verdict.UNDECIDED
    return wrong


def errors(name: str, n: int, draws: int, random: np.random.Generator) -> dict[str, float]:
    """The share of families with a false verdict, by kind."""
    wrong = {kind: false_verdicts(kind, name, n, draws, random) for kind in PARTS}
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


def table(columns: Sequence[str], rows: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield f"| {' | '.join(('', *columns))} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row, cells in rows.items():
        yield f"| {row} | " + " | ".join(f"{cells[column]:.3f}" for column in columns) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=4000, help="families a row (default 4000)")
    parser.add_argument("--table", choices=("error", "looks"), help="print one table only")
    options = parser.parse_args(arguments)
    if options.table != "looks":
        random = np.random.default_rng(0)
        rows = {
            f"{name}, {n} seeds": errors(name, n, options.draws, random)
            for name in NOISES
            for n in SEEDS
        }
        print(*table(list(next(iter(rows.values()))), rows), sep="\n")
    if options.table != "error":
        random = np.random.default_rng(0)
        looks = {}
        for claims, draws in ((1, options.draws // 4), (CLAIMS, options.draws // 40)):
            for n in SEEDS:
                shares = after_looks("normal", n, 4, draws, random, claims)
                name = f"{claims} order{'s' * (claims > 1)}, from {n} seeds"
                looks[name] = dict(zip(map(str, range(5)), shares, strict=True))
        print(*table(list(map(str, range(5))), looks), sep="\n")


if __name__ == "__main__":
    main()
