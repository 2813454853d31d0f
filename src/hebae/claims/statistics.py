"""Judges a family of claims from values over seeds.

A claim is a conjunction of parts. Each part says that the mean over seeds of some quantity is above
0, and is tested by Student's t. A claim holds if all of its parts are above 0 (intersection–union
test, Berger 1982). It does not hold if any part is below 0. Either can happen, so the p-value of a
claim is two-ended.

The family is corrected by Holm's procedure (1979). If there is nothing to find, the chance of any
verdict is at most the level, however the claims depend on each other. If the claims are
independent, the same limits the chance of any verdict in the wrong direction (Shaffer 1980).

A mean of exactly 0 is neither above nor below, and no number of seeds decides it. A claim of
equality has two parts, one for each direction in which the tolerance must not be exceeded (two
one-sided tests, Schuirmann 1987).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from hebae.claims.verdicts import MOST, Verdict

POWER = 0.8  # the chance of a verdict with the number of seeds that is asked for


@dataclass(frozen=True)
class Part:
    """A quantity that the claim says is above 0, one value a seed.

    ``values``: one for each seed; differences between models are taken before, seed by seed.
    ``resolution``: the step in which the values come, in their unit: 1 for a number of epochs, 0 if
    there is none. It adds resolution²/12, the variance of uniform rounding, to the variance, so
    that equal counts do not seem certain.
    """

    name: str
    values: tuple[float, ...]
    resolution: float = 0.0


@dataclass(frozen=True)
class Examined:
    """What the values of one part say. p and interval are not corrected for other parts.

    ``low``, ``high``: two-sided interval of the mean. ``effect``: Hedges' g, the mean in
    standard deviations; nan below 3 seeds, where its correction for bias is 0 or undefined.
    ``p_above``, ``p_below``: one-sided p against a mean <= 0 and against one >= 0.
    """

    part: Part
    n: int
    mean: float
    low: float
    high: float
    effect: float
    p_above: float
    p_below: float


@dataclass(frozen=True)
class Judged:
    """Verdict on one claim of a family.

    ``p`` is two-ended and not corrected; ``p_holm`` is corrected. ``seeds_needed`` is the total
    number of seeds that would probably decide an undecided claim; infinite if over MOST, None if
    decided. ``weakest`` is the part that the verdict rests on: the one that is least certain to be
    above 0 or, if the claim does not hold, most certain to be below.
    """

    verdict: Verdict
    p: float
    p_holm: float
    seeds_needed: float | None
    parts: tuple[Examined, ...]
    weakest: Examined


# --- one part


def _deviation(part: Part) -> float:
    """The standard deviation of a part's values, with 1/(n − 1) and the rounding included."""
    values = np.asarray(part.values, dtype=np.float64)
    # from the first value on, so that equal values have a variance of exactly 0
    return math.sqrt((values - values[0]).var(ddof=1) + part.resolution**2 / 12)


def _check(part: Part) -> None:
    if not part.values:
        raise ValueError(f"{part.name}: no values")
    if not np.isfinite(part.values).all():
        raise ValueError(f"{part.name}: values that are not finite: {part.values}")
    if not (math.isfinite(part.resolution) and part.resolution >= 0):
        raise ValueError(f"{part.name}: resolution is {part.resolution}")
    # two seeds never agree to the last bit
    if len(part.values) > 1 and _deviation(part) == 0:
        raise ValueError(
            f"{part.name}: all {len(part.values)} values are {part.values[0]}: "
            "the same run more than once, or a count whose resolution is not given"
        )


def _bias_correction(n: int) -> float:
    """J(n − 1) of Hedges (1981), exact; it makes Hedges' g unbiased."""
    return special.poch((n - 2) / 2, 0.5) / math.sqrt((n - 1) / 2)


def examine(part: Part, level: float = 0.05) -> Examined:
    """p, 1 − level interval and effect of one part.

    One value says nothing about the spread, so its interval is infinite and its p are 1. Raises
    ValueError that names the part, for values that are not finite, and for values that are all
    equal although the resolution is 0.
    """
    _check(part)
    values = np.asarray(part.values, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Examined(part, n, mean, -math.inf, math.inf, math.nan, 1.0, 1.0)
    deviation = _deviation(part)
    error = deviation / math.sqrt(n)
    t = mean / error
    half = -special.stdtrit(n - 1, level / 2) * error
    return Examined(
        part=part,
        n=n,
        mean=mean,
        low=float(mean - half),
        high=float(mean + half),
        effect=float(mean / deviation * _bias_correction(n)) if n > 2 else math.nan,
        p_above=float(special.stdtr(n - 1, -t)),
        p_below=float(special.stdtr(n - 1, t)),
    )


# --- how many seeds


def _power(n: int, effect: float, level: float) -> float:
    """The chance that n seeds show a mean of ``effect`` deviations at a one-sided level."""
    critical = -special.stdtrit(n - 1, level)
    return 1 - special.nctdtr(n - 1, effect * math.sqrt(n), critical)


def _needed(examined: Examined, level: float, least: int) -> float:
    """The number of seeds, at least ``least``, that shows the mean's sign with power POWER.

    It is infinite if over MOST, and for a mean of 0, whose power is the level.
    """
    # 10,000 standard deviations are certain from 3 seeds on; far above, nctdtr returns nan
    effect = min(abs(examined.mean) / _deviation(examined.part), 1e4)
    numbers = range(least, MOST + 1)
    # power grows with n: bisection
    index = bisect_left(numbers, POWER, key=lambda n: _power(n, effect, level))
    return numbers[index] if index < len(numbers) else math.inf


def _seeds_needed(parts: Sequence[Examined], level: float) -> float:
    """Seeds in all that would probably decide a claim the way its means point.

    ``level`` is that of one end of one claim. The mean and spread are taken to be those of the
    population. A few seeds hardly tell these, so the result is an order of magnitude. It is 3 after
    a single seed.
    """
    fewest = min(examined.n for examined in parts)
    if fewest == 1:
        return 3
    below = [examined for examined in parts if examined.mean < 0]
    if below:
        return min(_needed(examined, level / len(parts), fewest + 1) for examined in below)
    return max(_needed(examined, level, fewest + 1) for examined in parts)


# --- claims


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted by Holm (1979), in the order given."""
    # own code because scipy (1.17) corrects for the false discovery rate only
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()


def _ends(parts: Sequence[Examined]) -> tuple[float, float]:
    """The p-values for "the claim holds" and for "it does not hold".

    It holds if all parts are above 0: the largest p of them, uncorrected (Berger 1982). It does not
    hold if any part is below: the smallest p of them, corrected for the choice (Bonferroni).
    """
    p_holds = max(examined.p_above for examined in parts)
    p_fails = min(1.0, len(parts) * min(examined.p_below for examined in parts))
    return p_holds, p_fails


def judge(family: Mapping[str, Sequence[Part]], level: float = 0.05) -> dict[str, Judged]:
    """Verdict on every claim (name: its parts) of a family, at this level for them together.

    Claims with a single seed belong to the family and are never decided. Raises ValueError for
    claims without parts and for what ``examine`` does not take.
    """
    for name, parts in family.items():
        if not parts:
            raise ValueError(f"{name}: a claim without parts")
    claims = [tuple(examine(part, level) for part in parts) for parts in family.values()]
    ends = [_ends(parts) for parts in claims]
    p = [min(1.0, 2 * min(pair)) for pair in ends]
    judged = {}
    for name, parts, (p_holds, p_fails), own, corrected in zip(
        family, claims, ends, p, holm(p), strict=True
    ):
        verdict = Verdict.HOLDS if p_holds < p_fails else Verdict.FAILS
        if corrected > level:
            verdict = Verdict.UNDECIDED
        if verdict is Verdict.FAILS:
            weakest = min(parts, key=lambda examined: examined.p_below)
        else:
            weakest = max(parts, key=lambda examined: examined.p_above)
        needed = None
        if verdict is Verdict.UNDECIDED:
            # Bonferroni's share of the level, because Holm's depends on the seeds of the other
            # claims
            needed = _seeds_needed(parts, level / (2 * len(family)))
        judged[name] = Judged(verdict, own, corrected, needed, parts, weakest)
    return judged
