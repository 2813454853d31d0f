"""The name of the report of a config: ``python -m hebae.report.file config/demo.yaml``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hebae.base.errors import command
from hebae.report.names import report_file
from hebae.training.status import named_in


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print the name of the report of a config.")
    parser.add_argument("config", type=Path, help="an experiment's config file")
    print(report_file(named_in(parser.parse_args(arguments).config)))


if __name__ == "__main__":
    command(main)
