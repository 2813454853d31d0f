"""Draw a figure: ``python -m hebae.figures.draw --help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES, captioned_by, distortions_of, drawn_by, resolve
from hebae.facts.text import WIDTH, data_text
from hebae.figures import provenance
from hebae.figures.common import read_tables, save
from hebae.figures.images import read_images
from hebae.tables.read import read_table

NARROWEST, WIDEST = 3, 20  # inches, as in the schema of configs


def given_to(name: str, experiment: Experiment, results: Path) -> tuple[Any, ...]:
    """What a figure's functions are given, from the files in ``results/<experiment>``.

    That is the tables by name where the figure has any, the distances of distorted images or the
    images by model where it needs them, the experiment and the dataset.
    """
    entry, dataset = FIGURES[name], experiment.figures[name]
    given: list[Any] = []
    if entry.tables:
        given.append(read_tables(results, entry.tables))
    if entry.needs_distortions:
        given.append(read_table(results / distortions_of(dataset)))
    if entry.needs_images:
        given.append(read_images(results, experiment, dataset))
    return (*given, experiment, dataset)


def draw(name: str, experiment: Experiment, results: Path, width: float = WIDTH) -> Figure:
    """A figure as the function that the registry names draws it, so many inches wide."""
    return resolve(drawn_by(name))(*given_to(name, experiment, results), width)


def caption(name: str, experiment: Experiment, results: Path) -> str:
    """What has to be said of a figure, in sentences; the last one names the data."""
    entry, dataset = FIGURES[name], experiment.datasets[experiment.figures[name]]
    sentences = resolve(captioned_by(name))(*given_to(name, experiment, results))
    # a formula is of none
    of_data = entry.tables or entry.needs_images or entry.needs_distortions
    data = f"Data: {data_text(results, dataset)}." if of_data else ""
    return " ".join(filter(None, (*sentences, data)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw a figure from tables and saved images.")
    parser.add_argument("--figure", required=True, choices=FIGURES)
    parser.add_argument(
        "--experiment", required=True, help="as JSON (hebae.config.experiment.Experiment)"
    )
    parser.add_argument("--results", type=Path, required=True, help="holds tables/ and runs/")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help=".pdf, .png")
    parser.add_argument(
        "--provenance", type=Path, help="file for the caption and what it was made from, .json"
    )
    parser.add_argument(
        "--width", type=float, default=WIDTH, help="in inches; 3.3 for one column (default 6.9)"
    )
    options = parser.parse_args(arguments)
    name, results = options.figure, options.results
    for path in options.output:
        if path.suffix not in (".pdf", ".png"):
            raise UserError(f"--output {path}: a figure is written as .pdf or .png")
    if not NARROWEST <= options.width <= WIDEST:
        raise UserError(f"--width {options.width:g}: from {NARROWEST} to {WIDEST} inches")
    experiment = Experiment.from_json(options.experiment)
    if name not in experiment.figures:
        raise UserError(f"config: figures: {experiment.name} has no {name}")
    runs = options.provenance and read_table(results / "tables/runs.csv")
    figure = draw(name, experiment, results, options.width)
    # before anything is written: the rows of a caption may be missing too
    said = {"caption": caption(name, experiment, results), "width": options.width}
    save(figure, options.output)
    if runs is not None:
        made_from = provenance.of_figure(name, experiment, results, options.output, runs)
        files.write_json(options.provenance, said | made_from)


if __name__ == "__main__":
    command(main)
