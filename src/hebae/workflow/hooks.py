"""What is called where Snakemake begins to make something, or a report.

These functions do not stand beside the rules: Snakemake blames the last rules file that an error
came through.
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
    """Snakemake's ``workflow.execute``, which then calls `prepare` where it will make something.

    It is the first place that knows whether it will: rules are read before. `prepare` is given the
    plugin that runs the jobs. In dry runs too, `plan` is called before Snakemake finds out which
    jobs there are to be done, and `planned`, with whether it is a dry run, after it and before
    anything is made or listed.
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
    """Snakemake's ``workflow.execute`` between `begin` and `end`, which tell of it.

    `begin` is given what Snakemake says of the plugin that runs the jobs, `end` what ended it.
    `done` is a part of it: what is called, before `end`, where nothing has failed.
    After Ctrl-C while no job runs there is no traceback. What goes wrong in telling, as where the
    terminal has gone, ends nothing.
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
    """Snakemake's ``DAG.create_conda_envs``, which then waits while another process is at it.

    Args:
        lock: which file to lock; there is none before a DAG is.
    """

    def run(dag: Any, dryrun: bool = False, **settings: Any) -> None:
        if dryrun:
            return create(dag, dryrun=True, **settings)
        with wait_for(lock(), "A conda environment"):
            create(dag, **settings)

    return run


def reporting(workflow: Any, prepare: Callable[[Any], None]) -> Callable[..., None]:
    """Snakemake's ``workflow.create_report``, which calls `prepare` with the settings before.

    It is called where a report is made and nowhere else.
    """
    create_report = workflow.create_report

    def create(report_plugin: Any, report_settings: Any, **settings: Any) -> None:
        prepare(report_settings)
        create_report(report_plugin=report_plugin, report_settings=report_settings, **settings)

    return create
