"""The closing lines of a run: where its results are, or what failed, and what to do next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from hebae.base.errors import UserError
from hebae.base.text import counted, lasted, listed
from hebae.claims.verdicts import counts, read_findings
from hebae.report.names import report_file
from hebae.workflow.run_progress import RunProgress

LOST = "Nothing that is finished is lost"
AGAIN = f"{LOST}: the same command goes on from there."
MEND = f"{LOST}: once the cause is fixed, the same command goes on from there."
FAILURES = 20
"""Jobs that failed, of which so many are named at the end."""
FEW = 3
"""Files that are named one by one."""
CLAIMS = "claims.csv"


def where(files: Iterable[str], experiment: str) -> list[str]:
    """Where the files are that a run was asked for, a line each sort of them.

    Args:
        files: paths as Snakemake has them, relative to the project.
    """
    figures = PurePath("figures", experiment)
    tables = PurePath("results", experiment, "tables")
    drawn, tabled, others = [], [], []
    for path in map(PurePath, sorted(set(files))):
        if path.parent == figures and path.suffix != ".json":
            drawn.append(path)
        elif path.parent == tables:
            tabled.append(path)
        elif path.parent != figures:
            others.append(path)
    lines = []
    if drawn:
        number = len({path.stem for path in drawn})
        sort = listed(sorted({path.suffix.removeprefix(".") for path in drawn}))
        names = f"{number} in {figures}/ ({sort})" if number > 1 else ", ".join(map(str, drawn))
        lines.append(f"  figures   {names}")
    if tabled:
        names = ", ".join(map(str, tabled)) if len(tabled) <= FEW else f"{len(tabled)} in {tables}/"
        lines.append(f"  tables    {names}")
        if tables / CLAIMS in tabled:
            lines += verdicts(Path(tables / CLAIMS))
    for path in others[:FEW]:
        lines.append(f"  file      {path}")
    if len(others) > FEW:
        lines.append(f"            and {len(others) - FEW} more")
    return lines


def verdicts(path: Path) -> list[str]:
    """A line that says how many tests of claims came out how; none where that cannot be read."""
    try:
        findings = read_findings(path)
    except UserError:
        return []
    found = [f"{verdict} {number}" for verdict, number in counts(findings).items() if number]
    return [f"  claims    {counted(len(findings), 'verdict')}: {', '.join(found)}"]


def next_command(
    experiment: str,
    config_files: Sequence[str],
    config_args: Sequence[str],
    default: str,
    by_make: bool,
) -> str:
    """The command that makes a report of what this call has made.

    Args:
        experiment: its name.
        config_files: those of this call, in their order.
        config_args: what ``--config`` said in it.
        default: the config file that is used where none is given.
        by_make: whether make would do the same as this call.
    """
    files = [os.path.relpath(path) for path in config_files]
    report = report_file(experiment)
    if by_make and len(files) == 1 and not config_args:
        command = "make report" + f" CONFIG={shlex.quote(files[0])}" * (files != [default])
        return f"{command}    # {report}: all of this on one page"
    return f"snakemake pages, then snakemake --report {report} (the same options)"


def finished(
    progress: RunProgress, seconds: float, places: Sequence[str], following: str | None
) -> list[str]:
    """All that was asked for is there."""
    lines = [f"Done in {lasted(seconds)}: {counted(len(progress.done), 'job')}.", *places]
    return lines + [f"  next      {following}"] * bool(following)


def failed(progress: RunProgress, seconds: float) -> list[str]:
    """Some of it is not there, as jobs failed."""
    names = list(progress.failed.values())
    lines = [
        f"{len(names)} of {counted(len(progress.jobs), 'job')} failed, "
        f"{len(progress.done)} ended well, in {lasted(seconds)}:",
        *(f"  {name}" for name in names[:FAILURES]),
    ]
    if len(names) > FAILURES:
        lines.append(f"  and {len(names) - FAILURES} more")
    if missing := progress.not_made():
        lines.append(f"Not made because of that: {missing}.")
    return [*lines, MEND]


def stopped(progress: RunProgress, seconds: float, how: str) -> list[str]:
    """It was ended before all was done.

    Args:
        how: by what: "by Ctrl-C".
    """
    so_far = f"Stopped {how} after {lasted(seconds)}"
    if progress.jobs:
        so_far += f", {progress.how_far()} done"
    training = any(progress.jobs[number].stage == "train" for number in progress.running)
    continues = " A training continues from its last checkpoint." * training
    return [f"{so_far}.", f"{AGAIN}{continues}"]
