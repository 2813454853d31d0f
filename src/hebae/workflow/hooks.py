"""What is called where Snakemake begins to make something, or a report.

These functions do not stand beside the rules: Snakemake blames the last rules file that an error
came through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def guarded(workflow: Any, prepare: Callable[[], None]) -> Callable[..., None]:
    """Snakemake's ``workflow.execute``, which then calls `prepare` where it will make something.

    It is the first place that knows whether it will: rules are read before.
    """
    execute = workflow.execute

    def run(executor_plugin: Any, **settings: Any) -> None:
        if workflow.is_main_process and not executor_plugin.common_settings.dryrun_exec:
            prepare()
        execute(executor_plugin=executor_plugin, **settings)

    return run


def planned(
    workflow: Any, check_executor: Callable[[Any], None], check_jobs: Callable[[], None]
) -> Callable[..., None]:
    """Snakemake's ``workflow.execute``, which then checks what runs the jobs, and the jobs.

    The first check is given the executor's plugin, the second called when the jobs are known; in
    dry runs too, and neither where files are only dated anew nor within jobs.
    """
    execute, build = workflow.execute, workflow._build_dag

    def run(executor_plugin: Any, **settings: Any) -> None:
        def build_and_check() -> None:
            build()
            check_jobs()

        if workflow.is_main_process and not executor_plugin.common_settings.touch_exec:
            check_executor(executor_plugin)
            workflow._build_dag = build_and_check
        execute(executor_plugin=executor_plugin, **settings)

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
