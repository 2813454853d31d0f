"""A folder of results: made by one process at a time, and never by halves of two configs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from hebae.base.errors import UserError
from hebae.base.lock import Held, hold
from hebae.config.run import Run, described, differences


def claim(experiment: str, results: Path) -> TextIO:
    """Take an experiment's results for this process.

    Raises:
        UserError: where another process is at them.
    """
    try:
        return hold(results / ".lock")
    except Held as holder:
        raise UserError(
            f"{experiment} is being made by another Snakemake ({holder}); "
            "wait until it ends, or end it there with Ctrl-C"
        ) from None


def remove_stale_locks(locks: Path, claimed: Iterable[Path]) -> int:
    """Remove what a killed Snakemake left locked below folders that this process has claimed.

    Args:
        locks: Snakemake's folder of them, each a list of files; they name no process.
        claimed: folders, relative as Snakemake writes them.

    Returns:
        How many there were.
    """
    prefixes = tuple(f"{folder}{os.sep}" for folder in claimed)
    removed = 0
    for path in sorted(locks.glob("*.lock")):
        try:
            stale = any(
                line.startswith(prefixes) for line in path.read_text(encoding="utf-8").splitlines()
            )
            if stale:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another Snakemake, of another experiment, ended
    return removed


def check_writable(folder: Path) -> None:
    """Find out before hours of training whether results can be written at all.

    Raises:
        UserError: where `folder` or what it will be made in cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"cannot write below {folder}: {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise UserError(f"cannot write below {folder}: {there} is read-only for this user")


def check_same_config(results: Path, runs: Iterable[Run], sources: Mapping[str, str]) -> None:
    """See that training would replace no finished run of another config under the same name.

    Args:
        results: the experiment's.
        runs: what the config asks for.
        sources: the images, as the registry names them, of each of its datasets.

    Raises:
        UserError: where it would, with the first such run and what differs.
    """
    images = {dataset: _prepared_source(results / "data" / dataset) for dataset in sources}
    replaced = []
    for run in runs:
        path = results / "runs" / run.path / "run.json"
        try:
            there = described(json.loads(path.read_bytes()))
            there |= {"source": images[run.dataset] or sources[run.dataset]}
            here = json.loads(run.to_json()) | {"source": sources[run.dataset]}
            differing = differences(there, here)
        except (OSError, ValueError, UserError):
            continue  # not there, or nothing that would be lost
        if differing:
            replaced.append((run, differing))
    if replaced:
        run, differing = replaced[0]
        words = "; ".join(f"{key} {was} there, {says} here" for key, was, says in differing[:3])
        raise UserError(
            f"{results} has {len(replaced)} trained run{'s' * (len(replaced) > 1)} of another "
            f"config: {run.path} ({words}); give this one's `experiment:` "
            "another name, or train them anew with --config replace=True"
        )


def _prepared_source(folder: Path) -> str | None:
    """Of which images a dataset was prepared; None where it was not."""
    try:
        return json.loads((folder / "dataset.json").read_bytes())["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def date_now(folders: Iterable[Path]) -> int:
    """Date what is dated in the future now, and say how many files that were.

    Snakemake takes what is made from such a file for older than it, and deletes it: hours of
    training, where a clock has been set back.
    """
    now = time.time()
    dated = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                # another's file, or one that is gone by now
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime > now and not path.is_symlink():
                        os.utime(path, (now, now))
                        dated += 1
    return dated


def sweep(checkpoints: Path, runs: Path, noted: Iterable[Path]) -> None:
    """Forget trainings that have ended, as the workflow's end allows.

    Args:
        checkpoints: folder of all checkpoints, :mod:`hebae.training.checkpoint`.
        runs: folder of all runs.
        noted: folders of the runs whose outputs the workflow knows to be whole. It would delete
            those of others, and train them again.
    """
    noted = set(noted)
    kept = [*checkpoints.rglob("*.finished"), *checkpoints.rglob("*.pt")]
    for folder in {path.parent for path in kept if not path.parent.name.endswith(".finished")}:
        run = runs / folder.relative_to(checkpoints)
        if run not in noted or not (run / "run.json").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents:
            if not parent.is_relative_to(checkpoints) or any(parent.iterdir()):
                break
            parent.rmdir()
