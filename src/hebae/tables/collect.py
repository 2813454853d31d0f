"""Collect the rows of all runs into one table: ``python -m hebae.tables.collect --help``.

The runs are derived from the experiment. Thousands of them would not fit on a command line.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.experiment import Experiment
from hebae.config.registry import MEASURES
from hebae.config.run import Run

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """Where the rows of a table come from."""

    runs: Callable[[Experiment], Iterable[Run]]
    source: str
    """File below each run's folder."""
    rows: Callable[[list[Row]], list[Row]] = lambda rows: rows
    read: Callable[[str], list[Row]] = lambda text: list(csv.DictReader(io.StringIO(text)))


def final_test_row(history: list[Row]) -> list[Row]:
    """The last epoch on the test split, without the columns that name it."""
    row = [row for row in history if row["split"] == "test"][-1]
    return [{key: row[key] for key in row if key not in ("epoch", "split", "seconds")}]


def every_run(experiment: Experiment) -> list[Run]:
    """Every run of an experiment once, including runs on subsets of the images."""
    runs = (*experiment.runs(), *experiment.diagnostics_runs())
    return list({run.path: run for run in runs}.values())


def provenance_row(text: str) -> list[Row]:
    """The row of the table ``runs``: what a run's record says besides its description."""
    record = json.loads(text)
    versions = record["versions"]
    own = (
        "n_train",
        "commit",
        "commit_note",
        "device",
        "machine",
        "threads",
        "precision",
        "packed",
    )
    last = ("training_seconds", "peak_memory_bytes", "parameters")
    sums = ("weights_sha256", "dataset_checksum")
    return [
        Run.from_record(record).identity
        | {name: record.get(name) for name in own}
        | {name: versions.get(name) for name in ("python", "torch", "numpy")}
        | {name: record.get(name) for name in (*last, *sums)}
        # in a run that was kept: what differs from what was asked for
        | {"kept": "; ".join((record.get("kept") or {}).get("differs", ()))}
    ]


TABLES = {
    "elbo_by_epoch": Table(Experiment.default_runs, "history.csv"),
    "elbo_by_weight": Table(Experiment.runs, "history.csv", final_test_row),
    **{
        name: Table(getattr(Experiment, measure.runs), f"{name}.csv")
        for name, measure in MEASURES.items()
    },
    "runs": Table(every_run, "run.json", read=provenance_row),
}


def tables_of(experiment: Experiment) -> dict[str, Table]:
    """The tables that have rows in an experiment."""
    return {name: table for name, table in TABLES.items() if any(table.runs(experiment))}


def collect(table: Table, experiment: Experiment, runs: Path) -> Iterator[Row]:
    """The rows of a table, run by run, in the order of the experiment."""
    for run in table.runs(experiment):
        path = runs / run.path / table.source
        try:
            rows = table.read(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, UserError):
            raise UserError(f"{path} is damaged; delete it, and it is made again") from None
        if not rows:
            raise UserError(f"{path} has no rows; delete it, and it is made again")
        yield from table.rows(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Collect the rows of all runs into one table.")
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument("--table", required=True, choices=TABLES)
    parser.add_argument("--runs", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    experiment = Experiment.from_json(options.experiment)
    files.write_csv(options.output, collect(TABLES[options.table], experiment, options.runs))


if __name__ == "__main__":
    command(main)
