"""Judges a family of claims from each model's values over seeds.

A claim is a conjunction of parts. Each part says that a sum of means over seeds is above 0:

* An order of two models, or a contrast of four, has an independent sample a model. It is tested by
  Welch's t with Satterthwaite's degrees of freedom (1946). A threshold has one sample, and then
  this is Student's t.
* An equivalence is tested on differences by seed, one part for each direction in which the
  tolerance must not be exceeded (two one-sided tests, Schuirmann 1987).
* Values without any spread are taken as they stand.
* Where a sample falls into two groups, and the answer depends on which group counts, t alone
  decides nothing. Two models are compared by ranks as well (Mann and Whitney 1947, exact); no other
  part is decided.

A claim holds if all of its parts are above 0 (intersection–union test, Berger 1982). It does not
hold if any part is below 0. Either can happen, so the p-value of a claim is two-ended.

The family is corrected by Holm's procedure (1979). If there is nothing to find, the chance of any
verdict is at most the level, however the claims depend on each other, where each test keeps its
own. docs/claims.md says where it does not, with numbers from ``python -m benchmarks.verdicts``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import mul
from statistics import fmean
from typing import TypeVar

import numpy as np
from scipy import special

from hebae.claims.verdicts import FEWEST, MOST, Verdict

Key = TypeVar("Key", bound=Hashable)

POWER = 0.8
"""The chance of a verdict with the number of seeds that is asked for."""
ROUNDING = 1e-9
"""Values that differ by less than this share of their size are equal.

Sums of float64 numbers agree to about 1e-13, and what runs do differently is far above 1e-9."""
SMALL = 1e-3
"""Sizes below this count as this. Logarithms of ratios near 1 are small, but their rounding is not;
so no difference below 1e-12 counts, as in ``SMALLEST`` of measures.py."""


@dataclass(frozen=True)
class Sample:
    """One model's values of one measure, seed by seed, and its sign in the quantity: 1 or −1.

    The values are logarithms where the measure compares by ratio.
    """

    sign: int
    values: Mapping[int, float]


@dataclass(frozen=True)
class Part:
    """The claim says that Σ sign · mean(values) − offset is above 0.

    ``paired``: the differences by seed are tested, of the seeds that all samples have; otherwise
    the samples are independent. ``resolution``: the step in which values come, 1 for a number of
    epochs. It adds resolution²/12, the variance of uniform rounding, to the variance of each
    sample, so that equal counts do not seem certain.
    """

    name: str
    samples: tuple[Sample, ...]
    offset: float = 0.0
    paired: bool = False
    resolution: float = 0.0


@dataclass(frozen=True)
class Examined:
    """What the values of one part say. p and interval are not corrected for other parts.

    ``n``: the fewest seeds of a sample; of a paired part, the seeds that all samples have.
    ``mean``: of the quantity, without the offset. ``low``, ``high``: its two-sided interval by t.
    ``effect``: Hedges' g, the mean in pooled standard deviations; nan where it is undefined.
    ``p_above``, ``p_below``: one-sided p against a mean <= 0 and against one >= 0. ``test``: "t";
    "rank" for the larger of the p of t and of ranks; "tie" for values without spread; "none" where
    the values decide nothing.
    """

    part: Part
    n: int
    mean: float
    low: float
    high: float
    effect: float
    p_above: float
    p_below: float
    test: str


@dataclass(frozen=True)
class Judged:
    """Verdict on one claim of a family.

    ``p`` is two-ended and not corrected; ``p_holm`` is corrected. ``seeds_needed`` is the number of
    seeds a model that would probably decide an undecided claim; infinite if over MOST or if no
    number does, None if decided. ``weakest`` is the part that the verdict rests on: the one that is
    least certain to be above 0 or, if the claim does not hold, most certain to be below.
    ``reason`` says which parts were not left to t, and why; empty if all were.
    """

    verdict: Verdict
    p: float
    p_holm: float
    seeds_needed: float | None
    parts: tuple[Examined, ...]
    weakest: Examined
    reason: str


# --- one part


@dataclass(frozen=True)
class _Terms:
    """A part as a sum of means of independent samples with their signs, in units of their size.

    ``rounding``: the variance that the resolution adds to each sample.
    """

    samples: Sequence[Sequence[float]]
    offset: float
    rounding: float
    unit: float

    @property
    def n(self) -> int:
        return min(map(len, self.samples))

    @property
    def mean(self) -> float:
        return sum(map(fmean, self.samples)) - self.offset

    @property
    def variances(self) -> list[float]:
        """Of one value of each sample, with 1/(n − 1) and the rounding included."""
        return [_squares(values) / (len(values) - 1) + self.rounding for values in self.samples]

    @property
    def spread(self) -> float:
        """The largest difference of two values of one sample."""
        return max(max(values) - min(values) for values in self.samples)


def _squares(values: Sequence[float]) -> float:
    """Σ(v − mean)²."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _terms(part: Part) -> _Terms:
    size = max(abs(value) for sample in part.samples for value in sample.values.values())
    unit = max(size, abs(part.offset), SMALL)
    samples = [
        {seed: sample.sign * value / unit for seed, value in sample.values.items()}
        for sample in part.samples
    ]
    if part.paired:
        shared = set.intersection(*map(set, samples))
        samples = [{seed: sum(values[seed] for values in samples) for seed in sorted(shared)}]
    return _Terms(
        samples=[list(values.values()) for values in samples],
        offset=part.offset / unit,
        rounding=(part.resolution / unit) ** 2 / 12 * (len(part.samples) if part.paired else 1),
        unit=unit,
    )


def examine(part: Part, level: float = 0.05) -> Examined:
    """Test, 1 − level interval and effect of one part."""
    return _examine(part, level)[0]


def _examine(part: Part, level: float) -> tuple[Examined, str]:
    """A part examined, and why it was not left to t (empty if it was)."""
    nothing = Examined(part, 0, math.nan, -math.inf, math.inf, math.nan, 1.0, 1.0, "none")
    values = [value for sample in part.samples for value in sample.values.values()]
    fewest = min(len(sample.values) for sample in part.samples)
    if fewest == 0:
        return nothing, "a model has no values"
    if not all(map(math.isfinite, (part.offset, *values))):
        return replace(nothing, n=fewest), "a value is not finite"
    terms = _terms(part)
    if terms.n == 0:
        return nothing, "no seed has all values"
    found = replace(nothing, n=terms.n, mean=terms.mean * terms.unit)
    if terms.n == 1:
        return found, "one seed decides nothing"
    tie = terms.spread <= ROUNDING and terms.rounding <= ROUNDING**2
    found = _as_it_stands(found, terms) if tie else _by_t(found, terms, level)
    if terms.n < FEWEST:
        return _undecided(found), f"fewer than {FEWEST} seeds decide nothing"
    if tie:
        return found, "without spread over seeds, the values are taken as they stand"
    if _groups_matter(terms):
        if len(terms.samples) == 2:
            return _by_ranks(found, terms), "values fall into two groups, so ranks are tested too"
        return _undecided(found), "values fall into two groups that disagree"
    return found, ""


def _undecided(found: Examined) -> Examined:
    return replace(found, p_above=1.0, p_below=1.0, test="none")


def _as_it_stands(found: Examined, terms: _Terms) -> Examined:
    above = terms.mean > ROUNDING  # exactly equal is not above
    return replace(
        found,
        low=found.mean,
        high=found.mean,
        p_above=float(not above),
        p_below=float(above),
        test="tie",
    )


def _by_t(found: Examined, terms: _Terms, level: float) -> Examined:
    """Welch's t; of one sample this is Student's."""
    mean, variances = terms.mean, terms.variances
    freedoms = [len(values) - 1 for values in terms.samples]
    squares = [variance / (own + 1) for variance, own in zip(variances, freedoms, strict=True)]
    error = math.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(
        square**2 / own for square, own in zip(squares, freedoms, strict=True)
    )
    half = -float(special.stdtrit(freedom, level / 2)) * error
    pooled = math.sqrt(sum(map(mul, freedoms, variances)) / sum(freedoms))
    return replace(
        found,
        low=(mean - half) * terms.unit,
        high=(mean + half) * terms.unit,
        effect=mean / pooled * _bias_correction(sum(freedoms)),
        p_above=float(special.stdtr(freedom, -mean / error)),
        p_below=float(special.stdtr(freedom, mean / error)),
        test="t",
    )


def _bias_correction(freedom: int) -> float:
    """J of Hedges (1981), exact; it makes Hedges' g unbiased where variances are equal."""
    if freedom < 2:
        return math.nan  # of two values it is 0 or undefined
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(
        freedom / 2
    )


# --- two groups


def _groups(values: Sequence[float], rounding: float) -> tuple[float, ...]:
    """The means of the two groups that a sample of four or more falls into; empty if it does not.

    It is cut at its largest gap. That makes two groups where the gap is more than
    1.6 + 10.5/(n − 3) standard deviations within them: one in twenty normal samples has such a gap.
    Several gaps may be the largest; then these are the means of each such cut.
    """
    values, n = sorted(values), len(values)
    gaps = [high - low for low, high in pairwise(values)]
    means: list[float] = []
    for cut, gap in enumerate(gaps, 1):
        groups = values[:cut], values[cut:]
        within = sum(map(_squares, groups)) / (n - 2) + rounding
        largest = gap >= max(gaps) - ROUNDING
        if largest and gap > (1.6 + 10.5 / (n - 3)) * math.sqrt(within):
            means += map(fmean, groups)
    return tuple(means)


def _groups_matter(terms: _Terms) -> bool:
    """Whether samples fall into groups, and the sign of the quantity depends on which are taken."""
    groups = [_groups(values, terms.rounding) for values in terms.samples]
    if not any(groups):
        return False
    means = [own or (fmean(values),) for own, values in zip(groups, terms.samples, strict=True)]
    low, high = sum(map(min, means)), sum(map(max, means))
    return low - ROUNDING <= terms.offset <= high + ROUNDING


def _by_ranks(found: Examined, terms: _Terms) -> Examined:
    """The larger p of two tests, t and ranks: so no verdict contradicts the interval."""
    first = [value - terms.offset for value in terms.samples[0]]
    second = [-value for value in terms.samples[1]]
    return replace(
        found,
        p_above=max(found.p_above, _p_of_ranks(first, second)),
        p_below=max(found.p_below, _p_of_ranks(second, first)),
        test="rank",
    )


def _p_of_ranks(high: Sequence[float], low: Sequence[float]) -> float:
    """Exact one-sided p for values of ``high`` to be higher (Mann–Whitney).

    Equal values are ranked against it, so p is never too small.
    """
    from scipy import stats  # here: it takes longer to import than most experiments to judge

    values = sorted({*high, *low})
    steps = accumulate((after - value > ROUNDING for value, after in pairwise(values)), initial=0)
    level = dict(zip(values, steps, strict=True))
    order = sorted([(level[value], 0) for value in high] + [(level[value], 1) for value in low])
    ranks = [[rank for rank, (_, which) in enumerate(order) if which == one] for one in (0, 1)]
    return float(stats.mannwhitneyu(*ranks, alternative="greater", method="exact").pvalue)


# --- how many seeds


def _power(n: int, effect: float, samples: float, level: float) -> float:
    """The chance that t shows a mean of ``effect`` deviations of the quantity, one-sided.

    Each of the samples has n seeds. There are ``samples`` · (n − 1) degrees of freedom.
    """
    freedom = samples * (n - 1)
    critical = -special.stdtrit(freedom, level)
    return 1 - special.nctdtr(freedom, effect * math.sqrt(n), critical)


def _needed(found: Examined, level: float, least: int) -> float:
    """Seeds a model, at least ``least``, that show the mean's sign with power POWER.

    It is infinite if over MOST, where the values are not finite, and where groups that disagree
    leave nothing to test.
    """
    terms = _terms(found.part)
    variances = np.array(terms.variances)
    # 10,000 standard deviations are certain from 4 seeds on; far above, nctdtr returns nan
    effect = min(abs(terms.mean) / math.sqrt(variances.sum()), 1e4)
    samples = variances.sum() ** 2 / (variances**2).sum()  # Satterthwaite's, at equal n
    if found.test == "rank":
        # fewer cannot reach the level, as complete separation has this p
        while 1 / math.comb(2 * least, least) > level:
            least += 1
    numbers = range(least, MOST + 1)
    # power grows with n: bisection
    index = bisect_left(numbers, POWER, key=lambda n: _power(n, effect, samples, level))
    return numbers[index] if index < len(numbers) else math.inf


def _seeds_needed(parts: Sequence[Examined], level: float) -> float:
    """Seeds a model that would probably decide a claim the way its means point.

    ``level`` is that of one end of one claim. The mean and spread are taken to be those of the
    population. A few seeds hardly tell these, so the result is an order of magnitude.
    """
    fewest = min(found.n for found in parts)
    if fewest < FEWEST:
        return FEWEST
    tested = [found for found in parts if found.test in ("t", "rank")]
    below = [found for found in tested if found.mean < 0]
    if below:
        return min(_needed(found, level / len(parts), fewest + 1) for found in below)
    if any(found.test == "none" for found in parts):
        return math.inf
    return max(_needed(found, level, fewest + 1) for found in tested)


# --- claims


def holm(p: Sequence[float], waiting: int = 0) -> list[float]:
    """p adjusted by Holm (1979), in the order given.

    ``waiting`` tests more belong to the family and have no p yet; they count as p = 1. Whatever
    p they get, or if they leave, no adjusted p rises: Holm's procedure is monotone in every p.
    """
    # own code because scipy (1.17) corrects for the false discovery rate only
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    steps = p[order] * (waiting + np.arange(len(p), 0, -1))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()


def _ends(parts: Sequence[Examined]) -> tuple[float, float]:
    """The p-values for "the claim holds" and for "it does not hold".

    It holds if all parts are above 0: the largest p of them, uncorrected (Berger 1982). It does not
    hold if any part is below: the smallest p of them, corrected for the choice (Bonferroni).
    """
    p_holds = max(found.p_above for found in parts)
    p_fails = min(1.0, len(parts) * min(found.p_below for found in parts))
    return p_holds, p_fails


def judge(
    family: Mapping[Key, Sequence[Part]], level: float = 0.05, waiting: int = 0
) -> dict[Key, Judged]:
    """Verdict on every claim (name: its parts) of a family, at this level for them together.

    ``waiting`` claims more belong to the family and have no values yet (:func:`holm`). Claims whose
    values decide nothing belong to it too. They are undecided, and ``reason`` says why. Raises
    ValueError for a claim without parts and for a part without samples.
    """
    for name, parts in family.items():
        if not parts or not all(part.samples for part in parts):
            raise ValueError(f"{name}: a claim without parts, or a part without samples")
    found = [[_examine(part, level) for part in parts] for parts in family.values()]
    ends = [_ends([examined for examined, _ in parts]) for parts in found]
    p = [min(1.0, 2 * min(pair)) for pair in ends]
    judged = {}
    for name, examined_why, (p_holds, p_fails), own, corrected in zip(
        family, found, ends, p, holm(p, waiting), strict=True
    ):
        parts = tuple(examined for examined, _ in examined_why)
        verdict = Verdict.HOLDS if p_holds < p_fails else Verdict.FAILS
        if corrected > level:
            verdict = Verdict.UNDECIDED
        if verdict is Verdict.FAILS:
            weakest = min(parts, key=lambda one: one.p_below)
        else:
            weakest = max(parts, key=lambda one: one.p_above)
        needed = None
        if verdict is Verdict.UNDECIDED:
            # Bonferroni's share of the level, because Holm's depends on the seeds of the other
            # claims
            needed = _seeds_needed(parts, level / (2 * (len(family) + waiting)))
        reason = "; ".join(f"{one.part.name}: {why}" for one, why in examined_why if why)
        judged[name] = Judged(verdict, own, corrected, needed, parts, weakest, reason)
    return judged
