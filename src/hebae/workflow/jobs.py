"""Snakemake's jobs, as people are told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from hebae.workflow.estimate import TAKEN, TRAIN, Kind, Work, kind_of

STAGES = {
    "data": "prepare",
    "train": "train",
    "encode": "encode",
    "measure": "measure",
    "fid": "FID",
    "tables": "tables",
    "claims": "claims",
    "figures": "figures",
    "report": "report",
}
"""What the jobs of a file of rules are called; in the order of the data's way."""


class Job(NamedTuple):
    """A job that makes something."""

    number: int
    """Snakemake's."""
    rule: str
    stage: str
    work: Work


def job_of(job: Any, number: int, size: float = 1, taken: bool = False) -> Job | None:
    """A job of Snakemake's; None for one that only asks for others.

    Args:
        job: of its DAG.
        number: its number there.
        size: epochs of a training.
        taken: whether it is a training that need not be done, as it is finished.
    """
    if job.rule.shellcmd is None:
        return None
    stage = Path(job.rule.snakefile).stem
    if job.benchmark is None:
        kind = Kind(job.wildcards_dict.get("dataset", stage), job.rule.name)
    else:
        kind = kind_of(PurePath(str(job.benchmark)))
    if taken:
        kind, size = Kind(kind.group, TAKEN), 1
    size = size if kind.step == TRAIN else 1
    return Job(number, job.rule.name, STAGES.get(stage, stage), Work(kind, size))


def by_stage(jobs: Iterable[Job]) -> dict[str, int]:
    """How many jobs each stage has, the stages in the order of the data's way."""
    counts = Counter(job.stage for job in jobs)
    order = list(STAGES.values())
    known = [stage for stage in order if stage in counts]
    return {stage: counts[stage] for stage in [*known, *sorted(counts.keys() - set(known))]}


def listed_by_stage(jobs: Iterable[Job]) -> str:
    """prepare 4, train 20, figures 9."""
    return ", ".join(f"{stage} {number}" for stage, number in by_stage(jobs).items())
