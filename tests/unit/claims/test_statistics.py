"""Verdicts on claims: against scipy's tests, worked examples, and rates on planted data.

The rates are of draws with fixed seeds; a share of N draws may be 2.6 binomial standard errors
off the rate it is of, 99 % two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from hebae.claims.judge import quantities
from hebae.claims.measures import MEASURES
from hebae.claims.read import Claim
from hebae.claims.statistics import (
    POWER,
    Judged,
    Part,
    examine,
    holm,
    judge,
)
from hebae.claims.verdicts import MOST, Verdict

LEVEL = 0.05


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def part(values: Iterable[float], name: str = "part", **rest: object) -> Part:
    return Part(name, tuple(map(float, values)), **rest)


def shaped(n: int, mean: float, deviation: float) -> np.ndarray:
    """n values with just this mean and standard deviation, evenly spaced."""
    values = np.linspace(-1, 1, n)
    return mean + deviation * values / values.std(ddof=1)


def only(*parts: Part) -> Judged:
    """The verdict on a claim that is all of its family."""
    return judge({"claim": parts})["claim"]


def error_of(rate: float, draws: int) -> float:
    return 2.6 * math.sqrt(rate * (1 - rate) / draws)


def share(verdicts: Iterable[str], *counted: str) -> float:
    return float(np.mean([verdict in counted for verdict in verdicts]))


# --- one part, Student's t


@pytest.mark.parametrize("n", [2, 3, 7, 40])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_t_agrees_with_scipy(n, level):
    values = rng(n).normal(0.3, 2, n)
    examined = examine(part(values), level)
    for alternative, p in (("greater", examined.p_above), ("less", examined.p_below)):
        assert p == pytest.approx(stats.ttest_1samp(values, 0, alternative=alternative).pvalue)
    expected = stats.ttest_1samp(values, 0).confidence_interval(1 - level)
    assert_allclose((examined.low, examined.high), expected)
    assert (examined.n, examined.mean) == (n, pytest.approx(values.mean()))


def test_effect_of_a_worked_example():
    """1 … 5: mean 3, s² = 5/2, J(4) = Γ(2)/(√2 Γ(3/2)) = √(2/π); so g = 3 √(2/5) √(2/π)."""
    expected = 3 * math.sqrt(2 / 5) * math.sqrt(2 / math.pi)
    assert examine(part([1, 2, 3, 4, 5])).effect == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [3, 4, 10, 100])
def test_effect_is_unbiased(n):
    """t = √n mean/s is noncentral t, of which scipy has the mean; Hedges' is that of √n δ."""
    values = shaped(n, 1, 1)
    correction = examine(part(values)).effect
    assert correction * stats.nct.mean(n - 1, math.sqrt(n) * 0.7) == pytest.approx(
        math.sqrt(n) * 0.7
    )


@pytest.mark.parametrize("n", [1, 2])
def test_effect_is_not_to_be_had_from_two_seeds(n):
    assert math.isnan(examine(part(range(1, n + 1))).effect)


def test_resolution_adds_the_variance_of_rounding():
    """Values 1, 2, 3: s² = 1, and 1/12 of the square of a step of 2."""
    examined = examine(part([1, 2, 3], resolution=2))
    t = 2 / math.sqrt((1 + 1 / 3) / 3)
    assert examined.p_above == pytest.approx(stats.t.sf(t, 2))
    half = stats.t.ppf(0.975, 2) * 2 / t
    assert_allclose((examined.low, examined.high), (2 - half, 2 + half))
    # J(2) = Γ(1)/Γ(1/2)
    assert examined.effect == pytest.approx(2 / math.sqrt(4 / 3) / math.sqrt(math.pi))


def test_three_equal_counts_are_strong_evidence_but_no_certainty():
    """Standard error √(1/12/3) = 1/6."""
    examined = examine(part([4, 4, 4], resolution=1))
    assert examined.p_above == pytest.approx(stats.t.sf(24, 2))
    assert 0 < examined.p_above < 0.001 < 0.999 < examined.p_below < 1
    assert examined.low == pytest.approx(4 - stats.t.ppf(0.975, 2) / 6)
    assert only(part([4, 4, 4], resolution=1)).verdict == Verdict.HOLDS
    assert only(part([-4, -4, -4], resolution=1)).verdict == Verdict.FAILS
    assert only(part([0, 0, 0], resolution=1)).verdict == Verdict.UNDECIDED


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 9), exponent=st.floats(-9, 9))
@settings(deadline=None, max_examples=20)
def test_units_change_nothing_and_the_sign_swaps_the_ends(seed, n, exponent):
    values = rng(seed).normal(0.5, 1, n)
    one = examine(part(values))
    for factor in (10**exponent, -(10**exponent)):
        other = examine(part(values * factor))
        ends = (other.p_above, other.p_below)
        assert_allclose(ends if factor > 0 else ends[::-1], (one.p_above, one.p_below))
        limits = sorted(np.array((one.low, one.high)) * factor)
        assert_allclose((other.low, other.high), limits)
        assert other.effect == pytest.approx(math.copysign(1, factor) * one.effect)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no values"),
        ([1, math.nan, 2], "not finite"),
        ([math.inf], "not finite"),
        ([0.1, 0.1, 0.1], "all 3 values are 0.1: the same run"),
        ([0, 0], "the same run"),
    ],
)
def test_values_that_cannot_be_are_errors_that_name_the_part(values, message):
    with pytest.raises(ValueError, match=rf"^accuracy: .*{message}"):
        examine(part(values, "accuracy"))
    with pytest.raises(ValueError, match=r"^accuracy: "):
        only(part([1, 2, 4]), part(values, "accuracy"))


@pytest.mark.parametrize("resolution", [-1, math.nan])
def test_a_resolution_that_cannot_be_is_an_error_that_names_the_part(resolution):
    with pytest.raises(ValueError, match=r"^accuracy: "):
        examine(part([1, 2, 4], "accuracy", resolution=resolution))


# --- Holm


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # the example of Wikipedia's "Holm–Bonferroni method": at .05 the 1st and the 4th
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # Benjamini & Hochberg 1995, §3.2 (15 hypotheses on heart attacks): at .05 three
        (
            [
                *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
                *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
            ],
            # times 15, 14, …; 9 · .0298 and 8 · .0344 are below 10 · .0278
            [0.0015, 0.0056, 0.0247, 0.1140, 0.2211, 0.278, 0.278, 0.278, 0.3213, *[1] * 6],
        ),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_of_worked_examples(p, expected):
    assert_allclose(holm(p), expected, rtol=1e-12)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p):
    adjusted = holm(p)
    order = np.argsort(p)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    for one, other in zip(p, adjusted, strict=True):
        assert one <= other <= min(1, len(p) * one) + 1e-12
    assert holm(p[::-1]) == adjusted[::-1]


def test_a_family_is_adjusted_by_holm():
    """Of p = .012, .03, .04: with three claims none, by itself each."""
    families = {}
    for name, p in (("a", 0.04), ("b", 0.012), ("c", 0.03)):
        t = stats.t.isf(p / 2, 4)
        families[name] = [part(shaped(5, t, math.sqrt(5)), name)]
    judged = judge(families)
    assert list(judged) == ["a", "b", "c"]
    assert_allclose([one.p for one in judged.values()], [0.04, 0.012, 0.03])
    assert_allclose([one.p_holm for one in judged.values()], [0.06, 0.036, 0.06])
    verdicts = [one.verdict for one in judged.values()]
    assert verdicts == [Verdict.UNDECIDED, Verdict.HOLDS, Verdict.UNDECIDED]
    assert all(only(*parts).verdict == Verdict.HOLDS for parts in families.values())
    assert judge({}) == {}


# --- claims


def test_planted_effects_are_found():
    draw = rng(1)

    def drawn(*means: float) -> list[Part]:
        return [part(draw.normal(mean, 1, 10), f"{i}: {mean}") for i, mean in enumerate(means)]

    judged = judge(
        {
            "above": drawn(4),
            "below": drawn(-4),
            "all above": drawn(4, 5, 6),
            "one of three below": drawn(4, -5, 6),
            "all below": drawn(-4, -5, -6),
            "none": drawn(0),
            "one of two neither": drawn(6, 0),
        }
    )
    assert {name: one.verdict for name, one in judged.items()} == {
        "above": Verdict.HOLDS,
        "below": Verdict.FAILS,
        "all above": Verdict.HOLDS,
        "one of three below": Verdict.FAILS,
        "all below": Verdict.FAILS,
        "none": Verdict.UNDECIDED,
        "one of two neither": Verdict.UNDECIDED,
    }
    assert judged["one of three below"].weakest.part.name == "1: -5"
    assert judged["one of two neither"].weakest.part.name == "1: 0"
    assert all(
        one.seeds_needed is None for one in judged.values() if one.verdict != Verdict.UNDECIDED
    )


def test_p_of_a_conjunction():
    draws = rng(3).normal([[0.9], [0.7], [0.8]], 1, (3, 6))
    for sign in (1, -1):
        values = sign * draws
        above = stats.ttest_1samp(values, 0, axis=1, alternative="greater").pvalue
        below = stats.ttest_1samp(values, 0, axis=1, alternative="less").pvalue
        judged = only(*(part(row) for row in values))
        assert judged.p == pytest.approx(2 * min(above.max(), 3 * below.min(), 0.5))
        assert judged.p < 1
        assert [examined.p_above for examined in judged.parts] == pytest.approx(above.tolist())


def test_the_weakest_part_is_what_the_verdict_rests_on():
    strong, weak = part(shaped(8, 9, 1), "strong"), part(shaped(8, 2, 1), "weak")
    assert only(strong, weak, strong).weakest.part is weak
    least, most = part(shaped(8, -2, 1), "least"), part(shaped(8, -9, 1), "most")
    assert only(least, strong, most).weakest.part is most
    open_ = part(shaped(8, 0.1, 1), "open")
    assert only(strong, open_, weak).weakest.part is open_


def test_a_claim_without_parts_is_an_error():
    with pytest.raises(ValueError, match=r"^empty: a claim without parts"):
        judge({"empty": [], "other": [part([1, 2])]})


@pytest.mark.parametrize("value", [0, 1e-300, 1, -1, 1e300, -1e300])
def test_one_seed_never_decides_but_belongs_to_the_family(value):
    single = part([value], resolution=1)
    examined = examine(single)
    assert (examined.low, examined.high) == (-math.inf, math.inf)
    assert (examined.p_above, examined.p_below, examined.mean) == (1, 1, value)
    clear = part(shaped(5, 9, 1))
    judged = judge({"single": [single], "with a clear part": [clear, single], "clear": [clear]})
    for name in ("single", "with a clear part"):
        assert (judged[name].verdict, judged[name].p, judged[name].seeds_needed) == (
            Verdict.UNDECIDED,
            1,
            3,
        )
    assert judged["clear"].verdict == Verdict.HOLDS
    assert judged["clear"].p_holm == pytest.approx(3 * judged["clear"].p)


def test_a_part_below_outweighs_one_with_a_single_seed():
    assert only(part([1]), part(shaped(5, -9, 1))).verdict == Verdict.FAILS


# --- equivalence: the parts that judge.py makes of it


def equivalence(differences: Iterable[float], tolerance: float) -> list[Part]:
    """The parts of a claim that two models are equal, from their differences seed by seed."""
    claim = Claim(
        id="a", statement="s", where="w", figures=(), measures=(), sources=(),
        every_latent_dim=False, seeds=3, equal=(("A", "B"),), tolerance=tolerance,
    )  # fmt: skip
    first = pd.Series(list(differences), dtype=float)
    found = quantities(claim, MEASURES["elbo"], {"A": first, "B": 0 * first}, "")
    return [one.part for one in found]


def test_equivalence_is_two_one_sided_tests():
    differences = rng(5).normal(0.1, 0.3, 8)
    parts = equivalence(differences, 0.5)
    above = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
    assert_allclose([examine(one).p_above for one in parts], [above, below])
    assert only(*parts).p == pytest.approx(2 * max(above, below))
    assert [one.name for one in parts] == ["A − B > −0.5", "A − B < 0.5"]


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (0, Verdict.HOLDS),
        (0.5, Verdict.HOLDS),
        (-0.5, Verdict.HOLDS),
        (2, Verdict.FAILS),
        (-2, Verdict.FAILS),
        (1, Verdict.UNDECIDED),
    ],
)
def test_equivalence_of_planted_differences(difference, verdict):
    differences = difference + shaped(10, 0, 0.2)
    parts = equivalence(differences, 1)
    assert only(*parts).verdict == verdict


# --- rates of false verdicts


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_null_claim_is_decided_at_the_level(n):
    draws = rng(n).normal(size=(1000, n))
    verdicts = [only(part(values)).verdict for values in draws]
    assert share(verdicts, Verdict.HOLDS, Verdict.FAILS) == pytest.approx(
        LEVEL, abs=error_of(LEVEL, 1000)
    )
    for end in (Verdict.HOLDS, Verdict.FAILS):
        assert share(verdicts, end) == pytest.approx(0.025, abs=error_of(0.025, 1000))


@pytest.mark.parametrize("shared", [0, 0.7])
def test_a_family_of_null_claims_is_decided_at_the_level(shared):
    """Twelve claims, by themselves or on runs they have in common; without Holm it is .46."""
    draw = rng(12)
    wrong = []
    for _ in range(500):
        own, common = draw.normal(size=(12, 5)), draw.normal(size=5)
        values = math.sqrt(1 - shared) * own + math.sqrt(shared) * common
        judged = judge({str(i): [part(row)] for i, row in enumerate(values)})
        wrong.append(any(one.verdict != Verdict.UNDECIDED for one in judged.values()))
    assert np.mean(wrong) <= LEVEL + error_of(LEVEL, 500)


def test_conjunctions_are_wrong_no_more_often_than_single_parts():
    """One part of mean 0 among clear ones: 2.5 % hold. All of mean 0: at most 2.5 % do not."""
    draws = rng(4).normal(size=(1000, 4, 5))
    one = [only(*map(part, values + np.array([[9], [9], [9], [0]]))).verdict for values in draws]
    assert share(one, Verdict.HOLDS) == pytest.approx(0.025, abs=error_of(0.025, 1000))
    every = [only(*map(part, values)).verdict for values in draws]
    assert share(every, Verdict.FAILS) <= 0.025 + error_of(0.025, 1000)
    assert share(every, Verdict.HOLDS) == 0


@pytest.mark.parametrize("edge", [10, -10])
def test_a_difference_at_the_tolerance_is_taken_for_equivalent_in_a_twentieth_at_most(edge):
    """It does so in a fortieth of the cases, because p is two-ended."""
    draws = rng(6).normal(edge, 1, (1000, 5))
    verdicts = [only(*equivalence(row, 10)).verdict for row in draws]
    assert share(verdicts, Verdict.HOLDS) <= LEVEL
    assert share(verdicts, Verdict.HOLDS) == pytest.approx(0.025, abs=error_of(0.025, 1000))


@pytest.mark.parametrize("deviation", [0.3, 1])
@pytest.mark.parametrize("n", [3, 5])
def test_null_counts_are_decided_no_more_often(n, deviation):
    draws = np.round(rng(n).normal(0, deviation, (1000, n)))
    verdicts = [only(part(row, resolution=1)).verdict for row in draws]
    assert share(verdicts, Verdict.HOLDS, Verdict.FAILS) <= LEVEL + error_of(LEVEL, 1000)


# --- seeds wanted


def decided(draws: np.ndarray, level: float, alternative: str) -> np.ndarray:
    """Whether t decides at the one-sided level: of draws (..., n)."""
    return stats.ttest_1samp(draws, 0, axis=-1, alternative=alternative).pvalue <= level


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 199), (0.5, 34), (-0.8, 15)])
def test_wanted_of_cohens_small_medium_and_large_effect(effect, expected):
    """One-sample t, .05 two-sided, power .8: the numbers of G*Power (Faul et al. 2007)."""
    assert only(part(shaped(4, effect, 1))).seeds_needed == expected


def test_wanted_seeds_have_the_power():
    """The pilot's mean and spread are planted as the true ones: .8 from wanted on, not before."""
    for family, n, effect in ((1, 3, 1.5), (1, 4, 0.5), (6, 5, -0.4), (12, 3, 1.5), (30, 3, 3)):
        others = {str(i): [part([1])] for i in range(1, family)}
        judged = judge({"claim": [part(shaped(n, 3 * effect, 3))]} | others)["claim"]
        level, alternative = LEVEL / 2 / family, "less" if effect < 0 else "greater"
        for seeds, sign in ((judged.seeds_needed, 1), (judged.seeds_needed - 1, -1)):
            draws = rng(seeds).normal(effect, 1, (4000, seeds))
            power = decided(draws, level, alternative).mean()
            assert sign * (power - POWER) >= -error_of(POWER, 4000)


def test_wanted_seeds_decide_when_they_are_there():
    """As above for one claim, by judge itself."""
    pilot = only(part(shaped(4, 0.8, 1)))
    assert pilot.verdict == Verdict.UNDECIDED
    draws = rng(1).normal(0.8, 1, (1000, pilot.seeds_needed))
    power = share((only(part(row)).verdict for row in draws), Verdict.HOLDS)
    assert power == pytest.approx(0.82, abs=0.02 + error_of(POWER, 1000))


def test_wanted_of_a_conjunction():
    easy, hard = part(shaped(4, 1, 1)), part(shaped(4, 0.5, 1))
    below, far_below = part(shaped(4, -0.5, 1)), part(shaped(4, -0.7, 1))
    assert only(easy).seeds_needed < only(hard).seeds_needed
    # what the part that is hardest to be shown above 0 needs
    assert only(easy, hard, easy).seeds_needed == only(hard).seeds_needed
    # what the part that is easiest to be shown below 0 needs, the level shared among the parts
    assert (
        only(hard, below, far_below).seeds_needed
        == judge({"claim": [far_below], "b": [part([1])], "c": [part([1])]})["claim"].seeds_needed
    )
    # a part with a mean of 0 keeps a claim from being shown to hold
    assert only(easy, part(shaped(4, 0, 1))).seeds_needed == math.inf


@pytest.mark.parametrize("n", [2, 3])
def test_wanted_is_more_than_there_is_and_falls_with_the_effect(n):
    others = {str(i): [part([1])] for i in range(30)}
    wanted = []
    for effect in (0, 1e-6, 0.05, 0.4, 0.9, 3, 6):
        claim = {"claim": [part(shaped(n, effect, 1))]}
        judged = judge(claim | others)["claim"]
        assert judged.verdict == Verdict.UNDECIDED
        wanted.append(judged.seeds_needed)
    assert wanted[:3] == [math.inf, math.inf, math.inf]
    assert wanted[3:] == sorted(wanted[3:], reverse=True)
    assert n < wanted[-1] < wanted[3] <= MOST


def test_wanted_counts_the_resolution():
    assert (
        only(part([0, 1, 0, 1], resolution=2)).seeds_needed > only(part([0, 1, 0, 1])).seeds_needed
    )


def test_seeds_needed_are_said_of_the_undecided_alone():
    family = {
        "holds": part(shaped(5, 9, 1)),
        "does not hold": part(shaped(5, -9, 1)),
        "one seed": part([5]),
        "hardly anything": part(shaped(5, 0.01, 1)),
    }
    judged = judge({name: [one] for name, one in family.items()})
    assert {name: (one.verdict, one.seeds_needed) for name, one in judged.items()} == {
        "holds": (Verdict.HOLDS, None),
        "does not hold": (Verdict.FAILS, None),
        "one seed": (Verdict.UNDECIDED, 3),
        "hardly anything": (Verdict.UNDECIDED, math.inf),
    }
