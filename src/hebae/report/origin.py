"""What a report and its runs were made with: commit, packages, machine."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path

from hebae.base import checkout
from hebae.base.checkout import DIRTY
from hebae.base.text import counted, duration, listed
from hebae.claims.verdicts import read_rows

PACKAGES = ("torch", "snakemake")
COLUMNS = ("commit", "python", "torch", "numpy", "device", "precision", "training_seconds")


def commit_text(commit: str | None, note: str | None = None) -> str:
    """A commit in words; records of earlier versions have no note."""
    if not commit:
        return f"unknown: {note or 'not a git checkout'}"
    changed = " with changes that are not committed" if commit.endswith(DIRTY) else ""
    return commit.removesuffix(DIRTY) + changed


def version(package: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, or its architecture where the system gives no name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.processor() or platform.machine())


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> str:
    """The machine's memory."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return "unknown memory"
    return f"{total / 2**30:.0f} GiB of memory"


def made_with() -> dict[str, str]:
    """What the report is made with, as names and values."""
    packages = (f"{name} {version(name)}" for name in PACKAGES)
    now = datetime.now().astimezone()
    return {
        "made": f"{now.day} {now:%B %Y, %H:%M %Z}",
        "commit": commit_text(*checkout.commit()),
        "requirements.lock": f"SHA-256 {checkout.lock_sha256() or 'unknown: there is none'}",
        "versions": listed([f"Python {platform.python_version()}", *packages]),
        "machine": f"{processor()}, {counted(cores(), 'core')}, {memory()}, {platform.system()}",
    }


def trained_with(runs: Path) -> dict[str, str]:
    """What the runs were trained with, as names and values; where runs differ, how many have which.

    Args:
        runs: the table ``runs.csv``, which may be missing.

    Raises:
        UserError: for a file that is not that table.
    """
    rows = read_rows(runs, COLUMNS) if runs.exists() else []
    if not rows:
        return {"runs": "none"}
    time = duration(training_seconds(rows))
    kept = [row["kept"] for row in rows if row.get("kept")]
    otherwise = {
        "kept as found": f"{counted(len(kept), 'run')} that the config would train otherwise: "
        + tally(kept)
    }
    return {
        "runs": f"{len(rows):,}, with {time} of training in total",
        "trained at": tally(commit_text(row["commit"], row.get("commit_note")) for row in rows),
        "trained with": tally(versions_text(row) for row in rows),
        "trained on": tally(f"{row['device']} in {row['precision']}" for row in rows),
        **(otherwise if kept else {}),
    }


def training_seconds(rows: Iterable[Mapping[str, str]]) -> float:
    """The seconds of training of all runs together."""
    return sum(float(row["training_seconds"] or 0) for row in rows)


def versions_text(row: Mapping[str, str]) -> str:
    """Python 3.11.9, torch 2.15.0 and numpy 2.4.6."""
    return listed(
        f"{name} {row[column]}"
        for name, column in (("Python", "python"), ("torch", "torch"), ("numpy", "numpy"))
    )


def tally(texts: Iterable[str]) -> str:
    """One text where all are equal; otherwise each with its number, the most frequent first."""
    numbers = Counter(texts)
    if len(numbers) == 1:
        return next(iter(numbers))
    return "; ".join(f"{text} ({number:,})" for text, number in numbers.most_common())
