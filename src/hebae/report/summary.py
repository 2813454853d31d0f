"""The verdicts of an experiment in one sentence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from hebae.base.text import counted, listed
from hebae.claims.verdicts import MOST, Finding, Verdict, counts
from hebae.config.registry import FIGURES

DECIDED = Verdict.HOLDS, Verdict.FAILS
NOT_JUDGED = Verdict.NOT_RUN, Verdict.WITHDRAWN
VERBS = {
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.FAILS: ("does not hold", "do not hold"),
    Verdict.UNDECIDED: ("is undecided", "are undecided"),
    Verdict.NOT_RUN: ("was not run here", "were not run here"),
    Verdict.WITHDRAWN: ("is withdrawn", "are withdrawn"),
}
"""A verdict of one test, and of several."""


def summary_sentence(findings: Sequence[Finding]) -> str:
    """How many tests have which verdict.

    Where most of the judged tests are undecided, the sentence begins with them, says how many seeds
    they have and need, and names the figures of the decided tests.
    """
    if not findings:
        return "No claim was judged."
    found = counts(findings)
    if found[Verdict.NOT_RUN] == len(findings):
        return "No test was run here."
    mostly_undecided = found[Verdict.UNDECIDED] > sum(found[verdict] for verdict in DECIDED)
    clauses = [(*DECIDED, Verdict.UNDECIDED), NOT_JUDGED]
    if mostly_undecided:
        clauses = [(Verdict.UNDECIDED,), DECIDED, NOT_JUDGED]
    texts = [
        listed(f"{n:,} {VERBS[verdict][n != 1]}" for verdict in clause if (n := found[verdict]))
        for clause in clauses
    ]
    if mostly_undecided:
        texts[0] += f" because {_seeds(findings)}"
        texts[1] += f" ({_figures(findings)})" * bool(texts[1])
    sentence = "; ".join(filter(None, texts)) + "."
    # 3 hold and … becomes 3 of 51 tests hold and …
    return sentence.replace(" ", f" of {counted(len(findings), 'test')} ", 1)


def _seeds(findings: Sequence[Finding]) -> str:
    """How many seeds the undecided tests have and need: they have 3 seeds and need at least 5."""
    groups: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.shown is Verdict.UNDECIDED:
            groups[0 if finding.too_few else finding.n_seeds].append(finding)
    if len(groups) == 1:
        (group,) = groups.values()
        return _have_and_need("it" if len(group) == 1 else "they", group)
    texts = [_have_and_need(f"{len(group):,}", group) for _, group in sorted(groups.items())]
    return f"they have too few seeds: {', '.join(texts[:-1])}, and {texts[-1]}"


def _have_and_need(who: str, group: Sequence[Finding]) -> str:
    """What a group of tests has and needs; all have too few seeds, or all have equally many."""
    have, need = ("has", "needs") if len(group) == 1 else ("have", "need")
    numbers = sorted({finding.n_seeds for finding in group})
    seeds = "only one seed" if numbers == [1] else f"{' or '.join(map(str, numbers))} seeds"
    least = min(finding.seeds_needed for finding in group)
    needed = f"more than {MOST}" if math.isinf(least) else f"at least {least:g}"
    probably = "" if group[0].too_few else "probably "
    return f"{who} {have} {seeds} and {probably}{need} {needed}"


def _figures(findings: Sequence[Finding]) -> str:
    """The figures of the decided tests."""
    figures = dict.fromkeys(one.figure for one in findings if one.shown in DECIDED)
    return listed(FIGURES[figure].title if figure in FIGURES else figure for figure in figures)
