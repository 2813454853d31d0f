"""Which runs of a sweep are trained together (:mod:`hebae.training.stack`).

The workflow plans: a file with the packs there are. A training looks its own up.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from hebae.base import files
from hebae.config.run import Run


def plan(runs: Iterable[Run], size: int) -> list[list[Run]]:
    """Runs that may share a stack of parameters, so many at a time, in their order.

    They differ in weight, seed and the label of the model alone, and their networks are of a kind
    that can be stacked. A divergence with an adversary has an optimiser of its own, and a run on a
    subset images of its own: those are in none. Packs do not depend on what is trained already,
    so that an interrupted one is the same when it is continued.
    """
    alike = defaultdict(list)
    for run in runs:
        objective, network, _, divergence = run.entries
        adversary = divergence is not None and divergence.adversary is not None
        if network.packs and not adversary and run.n_train is None:
            lam = run.lam if objective.takes_lam else 0.0
            key = dataclasses.replace(run, model="", lam=lam, seed=0)
            alike[key.to_json()].append(run)
    return [
        group[start : start + size]
        for group in alike.values()
        for start in range(0, len(group), size)
    ]


def write(path: Path, packs: Iterable[Iterable[Run]], waiting: Collection[str]) -> None:
    """Write the packs, of which those runs are left whose paths are waiting to be trained."""
    left = [[run.to_json() for run in pack if run.path in waiting] for pack in packs]
    files.write_json(path, [pack for pack in left if len(pack) > 1])


def companions(path: Path, run: Run) -> list[Run]:
    """The pack of a run, with it; the run alone where it is in none or there is no file."""
    try:
        packs = json.loads(path.read_bytes())
    except FileNotFoundError:
        packs = []
    own = run.to_json()
    return [Run.from_json(text) for text in next((p for p in packs if own in p), [own])]
