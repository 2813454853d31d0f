"""What the report has beside the figures: its pages, and the facts that its captions state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def reporting(workflow: Any, prepare: Callable[[Any], None]) -> Callable[..., None]:
    """Snakemake's ``workflow.create_report``, which calls `prepare` with the settings before.

    It is called where a report is made and nowhere else.
    """
    create_report = workflow.create_report

    def create(report_plugin: Any, report_settings: Any, **settings: Any) -> None:
        prepare(report_settings)
        create_report(report_plugin=report_plugin, report_settings=report_settings, **settings)

    return create
