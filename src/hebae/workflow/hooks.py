"""Wrappers of functions of Snakemake, called when it begins to make something, or a report.

They are not in the rules, because Snakemake blames an error on the last rules file that it came
through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hebae.base.lock import wait_for


def guarded(
    workflow: Any,
    prepare: Callable[[Any], None],
    plan: Callable[[], None],
    planned: Callable[[bool], None],
) -> Callable[..., None]:
    """Snakemake's ``workflow.execute``, which calls `prepare` if it is about to make something.

    Rules are read before that is known. `prepare` gets the plugin that runs the jobs. `plan` is
    called before Snakemake decides which jobs to do. `planned` is called after that, and before
    anything is made or listed; it gets whether this is a dry run. Dry runs call both too.
    ``workflow.looks_at_data`` says whether jobs are planned or run, rather than listed or reported.
    """
    execute, build = workflow.execute, workflow._build_dag
    workflow.looks_at_data = False

    def run(executor_plugin: Any, **settings: Any) -> None:
        common = executor_plugin.common_settings
        workflow.looks_at_data = True
        if workflow.is_main_process and not common.dryrun_exec:
            prepare(executor_plugin)

        def build_and_plan() -> None:
            if not workflow.is_main_process or common.touch_exec:
                return build()
            plan()
            build()
            planned(common.dryrun_exec)

        workflow._build_dag = build_and_plan
        execute(executor_plugin=executor_plugin, **settings)

    return run


def told(
    workflow: Any,
    begin: Callable[[Any], None],
    end: Callable[[BaseException | None], None],
    done: Callable[[], None] | None = None,
) -> Callable[..., None]:
    """Snakemake's ``workflow.execute`` between `begin` and `end`, which report it.

    `begin` gets Snakemake's settings of the plugin that runs the jobs, `end` the error that ended
    the run, if any. `done` is called before `end` if nothing has failed. There is no traceback
    after Ctrl-C while no job runs. Errors in reporting, for example because the terminal is gone,
    do not end a run.
    """
    execute = workflow.execute

    def run(executor_plugin: Any, **settings: Any) -> None:
        with suppress(Exception):
            begin(executor_plugin.common_settings)
        try:
            execute(executor_plugin=executor_plugin, **settings)
            if done is not None:
                done()
        except BaseException as error:
            with suppress(Exception):
                end(error)
            if isinstance(error, KeyboardInterrupt):
                sys.exit(130)
            raise
        with suppress(Exception):
            end(None)

    return run


def alone(create: Callable[..., None], lock: Callable[[], Path]) -> Callable[..., None]:
    """Snakemake's ``DAG.create_conda_envs``, which waits while another process makes environments.

    Args:
        lock: gives the file to lock, which is known once there is a DAG.
    """

    def run(dag: Any, dryrun: bool = False, **settings: Any) -> None:
        if dryrun:
            return create(dag, dryrun=True, **settings)
        with wait_for(lock(), "A conda environment"):
            create(dag, **settings)

    return run


def reporting(workflow: Any, prepare: Callable[[Any], None]) -> Callable[..., None]:
    """Snakemake's ``workflow.create_report``, which first calls `prepare` with the settings.

    It is called only if a report is made.
    """
    create_report = workflow.create_report

    def create(report_plugin: Any, report_settings: Any, **settings: Any) -> None:
        prepare(report_settings)
        create_report(report_plugin=report_plugin, report_settings=report_settings, **settings)

    return create
