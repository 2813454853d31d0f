"""Which runs of a sweep are trained together (:mod:`hebae.training.stack`).

The workflow plans, and a training looks its own up (:mod:`hebae.training.plan`).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable

from hebae.config.run import Run


def packs(runs: Iterable[Run], size: int, waiting: Collection[str]) -> list[list[Run]]:
    """Runs that may share a stack of parameters, so many at a time, in their order.

    They differ in weight, seed and the label of the model alone, and their networks are of a kind
    that can be stacked. A divergence with an adversary has an optimiser of its own, and a run on a
    subset images of its own: those are in none. Packs do not depend on what is trained already,
    so that an interrupted one is the same when it is continued; of each, those runs are left whose
    paths are waiting to be trained.
    """
    alike = defaultdict(list)
    for run in runs:
        objective, network, _, divergence = run.entries
        adversary = divergence is not None and divergence.adversary is not None
        if network.packs and not adversary and run.n_train is None:
            lam = run.lam if objective.takes_lam else 0.0
            key = dataclasses.replace(run, model="", lam=lam, seed=0)
            alike[key.to_json()].append(run)
    whole = (
        group[start : start + size]
        for group in alike.values()
        for start in range(0, len(group), size)
    )
    left = ([run for run in pack if run.path in waiting] for pack in whole)
    return [pack for pack in left if len(pack) > 1]
