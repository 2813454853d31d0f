"""Draw a figure: ``python -m hebae.figures.draw --help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES, drawn_by, resolve
from hebae.figures import provenance
from hebae.figures.common import read_images, read_tables, save
from hebae.tables.read import read_table


def draw(name: str, experiment: Experiment, results: Path) -> Figure:
    """A figure, from the files in ``results/<experiment>``.

    The registry names the function that draws it, which is given the tables by name where the
    figure has any, the images by model where it needs them, the experiment and the dataset.
    """
    entry, dataset = FIGURES[name], experiment.figures[name]
    given = []
    if entry.tables:
        given.append(read_tables(results, entry.tables))
    if entry.needs_images:
        given.append(read_images(results, experiment, dataset))
    return resolve(drawn_by(name))(*given, experiment, dataset)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw a figure from tables and saved images.")
    parser.add_argument("--figure", required=True, choices=FIGURES)
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument("--results", type=Path, required=True, help="holds tables/ and runs/")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help=".pdf, .png")
    parser.add_argument("--provenance", type=Path, help="file for what it was made from, .json")
    options = parser.parse_args(arguments)
    name, results = options.figure, options.results
    for path in options.output:
        if path.suffix not in (".pdf", ".png"):
            raise UserError(f"--output {path}: a figure is written as .pdf or .png")
    experiment = Experiment.from_json(options.experiment)
    if name not in experiment.figures:
        raise UserError(f"config: figures: {experiment.name} has no {name}")
    runs = options.provenance and read_table(results / "tables/runs.csv")
    save(draw(name, experiment, results), options.output)
    if runs is not None:
        made_from = provenance.of_figure(name, experiment, results, options.output, runs)
        files.write_json(options.provenance, made_from)


if __name__ == "__main__":
    command(main)
