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


def planning(workflow: Any, check: Callable[[], None]) -> None:
    """Have `check` called once it is known which jobs are to be run, in dry runs too.

    ``workflow.looks_at_data`` says whether jobs are planned to be run, rather than listed or
    reported.
    """
    execute, build = workflow.execute, workflow._build_dag

    def run(*arguments: Any, **settings: Any) -> None:
        workflow.looks_at_data = True
        execute(*arguments, **settings)

    def build_and_check() -> None:
        build()
        if workflow.looks_at_data and workflow.is_main_process:
            check()

    workflow.execute, workflow._build_dag = run, build_and_check


def reporting(workflow: Any, prepare: Callable[[Any], None]) -> Callable[..., None]:
    """Snakemake's ``workflow.create_report``, which calls `prepare` with the settings before.

    It is called where a report is made and nowhere else.
    """
    create_report = workflow.create_report

    def create(report_plugin: Any, report_settings: Any, **settings: Any) -> None:
        prepare(report_settings)
        create_report(report_plugin=report_plugin, report_settings=report_settings, **settings)

    return create
