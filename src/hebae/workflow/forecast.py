"""The plan of a run for a person: what would be done, what is kept, how long it may take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hebae.base.text import counted
from hebae.workflow.estimate import TAKEN, Estimate, roughly
from hebae.workflow.jobs import Job, by_stage

VARIABLE = "HEBAE_PLAN"
"""If it is set, a dry run prints its plan instead of Snakemake's listing."""


def plan_lines(
    experiment: str,
    config: str,
    todo: Sequence[Job],
    there: Iterable[Job],
    said: Sequence[str],
    estimate: Estimate,
    cores: int | None,
) -> list[str]:
    """The plan of a run.

    Args:
        config: the config files, as on a command line.
        todo: jobs that would be done.
        there: jobs whose files are there and are kept.
        said: sentences about trainings.
        cores: how many jobs run at once; None if unknown.
    """
    there = list(there)
    kept, needed = by_stage(there), by_stage(todo)
    lines = [f"Plan of {experiment} ({config})", ""]
    lines.append(f"  {'':<9}{'to do':>7}{'kept':>7}   time")
    for stage in by_stage([*todo, *there]):
        of_stage = [job for job in todo if job.stage == stage]
        lines.append(
            f"  {stage:<9}{needed.get(stage, 0) or '–':>7}{kept.get(stage, 0) or '–':>7}"
            f"   {_time(of_stage, estimate)}".rstrip()
        )
    lines += ["", *said] if said else [""]
    if not todo:
        return [*lines, "Nothing to be done: everything is there."]
    return [*lines, total(todo, estimate, cores)]


def total(todo: Sequence[Job], estimate: Estimate, cores: int | None) -> str:
    """A line that says how long all of it may take."""
    seconds, unknown = estimate.forecast(job.work for job in todo)
    jobs = counted(len(todo), "job")
    if unknown == len(todo):
        return f"{jobs}; no estimate, because no such jobs have run here yet."
    parallel = max(1, min(cores or 1, len(todo)))
    took = roughly(seconds / parallel)
    at_once = f"{counted(cores, 'core')}" if cores else "one job at a time"
    if unknown:
        return (
            f"{jobs}; {took} with {at_once} for {len(todo) - unknown} of them, judging from "
            "earlier runs. The other jobs have not run here yet."
        )
    return f"{jobs}; {took} with {at_once}, judging from earlier runs."


def trainings(todo: Iterable[Job], replaced: Sequence[str]) -> list[str]:
    """Sentences about what is trained, and why.

    Args:
        replaced: for each finished training that is trained again, what differs, in words.
    """
    anew = sum(job.stage == "train" and job.work.kind.step != TAKEN for job in todo) - len(replaced)
    lines = []
    if anew > 0:
        lines.append(f"{counted(anew, 'training')} to run, not finished yet.")
    if replaced:
        reasons = "; ".join(dict.fromkeys(filter(None, replaced)))
        because = f" ({reasons})" if reasons else ""
        lines.append(
            f"{counted(len(replaced), 'finished training')} to be trained again, because of "
            f"replace=True{because}."
        )
    return lines


def _time(todo: Sequence[Job], estimate: Estimate) -> str:
    """The time of the jobs of a stage, one after the other; empty if there are no jobs."""
    if not todo:
        return ""
    seconds, unknown = estimate.forecast(job.work for job in todo)
    if unknown == len(todo):
        return "unknown"
    return roughly(seconds) + " or more" * (unknown > 0)
