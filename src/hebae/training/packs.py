"""Which runs of a sweep are trained together (:mod:`hebae.training.stack`).

The workflow plans packs, and a training looks up its own (:mod:`hebae.training.plan`).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable

from hebae.config.run import Run


def packs(runs: Iterable[Run], size: int, waiting: Collection[str]) -> list[list[Run]]:
    """Packs of runs that may share a stack of parameters, each up to a number of runs, in order.

    The runs of a pack differ only in weight, seed and the label of the model, and their networks
    can be stacked. Two kinds of runs are in no pack: those with an adversary, which has its own
    optimiser, and those on a subset, which has its own images. Packs do not depend on what is
    trained already, so an interrupted pack is the same when it continues. From each pack, the runs
    are returned whose paths are waiting to be trained.
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
