"""Checks that the functions of the registry exist, in the source, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hebae.base.errors import UserError
from hebae.config.at_hand import AUTO
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS, FEATURES, FIGURES, MEASURES, drawn_by

SOURCE = Path(__file__).parents[2]


def check_implemented(experiment: Experiment) -> None:
    """Report a missing function now rather than in a job of this experiment.

    Raises:
        UserError: for an entry of the registry whose module or function does not exist.
    """
    for what, function in entries_of(experiment):
        module, _, name = function.partition(":")
        path = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
        if not path.is_file():
            missing = f"there is no {path.relative_to(SOURCE)}"
        elif name not in _names(path):
            missing = f"{path.relative_to(SOURCE)} has no {name}"
        else:
            continue
        raise UserError(f"hebae/config/registry.py: {what} is {function}, and {missing}")


def entries_of(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """The registry entries that an experiment uses: in words, and as ``module:function``."""
    for figure in FIGURES:  # each has a rule, whether the experiment draws it or not
        yield f"figure {figure!r}", drawn_by(figure)
    for name, measure in MEASURES.items():
        if measure.rows is not None:
            yield f"measure {name!r}", measure.rows
    for data in experiment.datasets.values():
        yield f"dataset {data.source!r}", DATASETS[data.source].function
        if data.fid is not None:
            names = FEATURES if data.fid.features == AUTO else [data.fid.features]
            for name in names:
                yield f"features {name!r}", FEATURES[name].function
        for run in experiment.main_runs(data.name):
            objective, network, reconstruction, divergence = run.entries
            yield f"objective {run.objective!r}", objective.function
            yield f"network {run.network!r}", network.function
            yield f"reconstruction {run.reconstruction!r}", reconstruction.function
            if divergence is not None:
                name = run.parameters["divergence"]["name"]
                yield f"divergence {name!r}", divergence.function
                if divergence.adversary is not None:
                    yield f"the adversary of {name!r}", divergence.adversary


@cache
def _names(path: Path) -> frozenset[str]:
    """What a module defines or imports at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names.update((alias.asname or alias.name) for alias in node.names)
            case ast.Assign():
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return frozenset(names)
