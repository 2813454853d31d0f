"""Where a result comes from: the checkout, its lock, and the files a figure was drawn from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from hebae.base import files
from hebae.base.checkout import commit, config_files, lock_sha256
from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES, distortions_of
from hebae.data.notes import notes_of

DRAWN_WITH = ("matplotlib", "numpy", "pandas", "seaborn")
COLUMNS = ("device", "precision", "torch", "kept")  # of the table of runs


def config_sha256(experiment: Experiment) -> str:
    """SHA-256 of an experiment, whatever the layout and comments of its config."""
    return hashlib.sha256(experiment.to_json().encode()).hexdigest()


def figure_inputs(figure: str, experiment: Experiment) -> list[str]:
    """The files that a figure is drawn from, below ``results/<experiment>``."""
    entry = FIGURES[figure]
    inputs = [f"tables/{table}.csv" for table in entry.tables]
    if entry.needs_distortions:
        inputs.append(distortions_of(experiment.figures[figure]))
    if entry.needs_images:
        runs = experiment.main_runs(experiment.figures[figure])
        inputs += [f"runs/{run.path}/images.npz" for run in runs]
    return inputs


def of_figure(
    figure: str,
    experiment: Experiment,
    results: Path,
    outputs: Collection[Path],
    runs: pd.DataFrame,
) -> dict[str, Any]:
    """What stands beside a figure: what made it, from what, on what.

    Args:
        results: folder ``results/<experiment>``.
        outputs: the figure's files.
        runs: the table of that name.
    """
    dataset = experiment.figures[figure]
    data = experiment.datasets[dataset]
    manifest = [f"data/{dataset}/dataset.json"]
    if not (results / manifest[0]).is_file():
        manifest = []  # data/ may be deleted once runs are finished
    of_dataset = runs[runs["dataset"] == dataset]
    return {
        "figure": figure,
        "experiment": experiment.name,
        "dataset": dataset,
        "dataset_notes": [
            note.text for note in notes_of(results / "data" / dataset / "dataset.json")
        ],
        "seeds": list(data.seeds),
        "weight_seeds": list(data.weight_seeds),
        **commit().fields(),
        "config_files": config_files(),
        "config_sha256": config_sha256(experiment),
        "lock_sha256": lock_sha256(),
        "inputs": {
            name: files.sha256(results / name)
            for name in (*figure_inputs(figure, experiment), *manifest)
        },
        "outputs": {path.name: files.sha256(path) for path in outputs},
        "trained": {
            "runs": len(of_dataset),
            **{
                name: _distinct(of_dataset, name)
                for name in ("commit", "commit_note", *COLUMNS)
                # the table of earlier versions lacks some
                if name in of_dataset
            },
        },
        "drawn": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in DRAWN_WITH},
        },
    }


def _distinct(table: Mapping[str, pd.Series], column: str) -> list[str]:
    return sorted(table[column].dropna().astype(str).unique().tolist())
