"""Snakemake's jobs in the form in which they are reported."""

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
"""The stage of the jobs in a file of rules, in the order of the workflow."""


class Job(NamedTuple):
    """A job that makes something."""

    number: int
    """Snakemake's number of it."""
    rule: str
    stage: str
    work: Work


def job_of(job: Any, number: int, size: float = 1, taken: bool = False) -> Job | None:
    """Make a job from one of Snakemake's; None if it only asks for other jobs.

    Args:
        job: a job of Snakemake's DAG.
        number: its number there.
        size: epochs of a training.
        taken: whether it is a training that is finished already.
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
    """The number of jobs in each stage, in the order of the workflow."""
    counts = Counter(job.stage for job in jobs)
    order = list(STAGES.values())
    known = [stage for stage in order if stage in counts]
    return {stage: counts[stage] for stage in [*known, *sorted(counts.keys() - set(known))]}


def listed_by_stage(jobs: Iterable[Job]) -> str:
    """Jobs by stage, in words: prepare 4, train 20, figures 9."""
    return ", ".join(f"{stage} {number}" for stage, number in by_stage(jobs).items())
