"""Results as they are committed, and whether they still say the same.

``python -m hebae.publish.results write --config config/demo.yaml`` puts into
``docs/results/<experiment>/`` the config, the tables, the figures with what they were made from,
the claims, a SHA-256 of each file, and a page for readers. That is enough to judge the claims and
to draw every figure again. It has no weights, no data, and no figure of images for datasets that
are not ours to hand on.

Runs may come in parts, from several machines or days: what is published of runs that ``results/``
does not have is kept where the config still describes the same runs. Figures are drawn and claims
judged from all of them; a figure whose runs are not all there is left out.

``python -m hebae.publish.results verify`` compares the checksums and the page, judges the claims
again, and draws every figure again to compare it pixel by pixel. ``python -m hebae.publish.results
pages`` writes the pages anew, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import io
import math
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import yaml

from hebae.base import files, npz
from hebae.base.checkout import CHECKOUT
from hebae.base.errors import UserError, command
from hebae.claims.judge import judge_tables
from hebae.claims.read import CLAIMS, CLAIMS_SCHEMA, Claims, read_claims
from hebae.claims.verdicts import Verdict, read_rows
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.read import check_readable
from hebae.config.registry import DATASETS, FIGURES, distortions_of
from hebae.config.run import Run
from hebae.figures.images import IMAGES
from hebae.publish.page import PAGE, page_of
from hebae.report.record import read_record
from hebae.tables.collect import Row, Table, tables_of
from hebae.training import RUN_FILES

PUBLISHED = Path("docs/results")
CONFIG, SUMS = "config.yaml", "SHA256SUMS"
Key = tuple[str | int | float, ...]
PAGES = "python -m hebae.publish.results pages"
LARGE = 1_000_000
"""Bytes from which on a table is published compressed."""


def read_experiment(path: Path) -> Experiment:
    """The experiment that a config describes."""
    schema = (CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
    try:
        check_readable(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return parse(document, yaml.safe_load(schema)).experiment


def checkout_claims() -> Claims:
    """The claims of this checkout."""
    return read_claims(CLAIMS, CLAIMS_SCHEMA)


def all_published(published: Path) -> list[str]:
    """The names of the experiments that are published in a folder."""
    return sorted(path.parent.name for path in published.glob(f"*/{CONFIG}"))


# Tables


def _key(row: Mapping[str, Any], experiment: Experiment) -> Key:
    """What tells the runs of a table apart: the columns that all begin with, and the subset."""
    sizes = map(str, experiment.datasets[row["dataset"]].training_sizes)
    n_train = str(row.get("n_train", ""))
    return (*_identity(row), n_train if n_train in sizes else "")


def _key_of(run: Run) -> Key:
    return (*_identity(run.identity), "" if run.n_train is None else str(run.n_train))


def _identity(row: Mapping[str, Any]) -> Key:
    """As values, since tables may write a number in more than one way."""
    numbers = int(row["latent_dim"]), float(row["weight"]), int(row["seed"])
    return row["dataset"], row["model"], *numbers


def _kept_rows(table: str, folder: Path, before: Experiment) -> dict[Key, list[Row]]:
    """The published rows of a table, by run."""
    kept: dict[Key, list[Row]] = {}
    for row in csv.DictReader(io.StringIO(_text(folder / f"tables/{table}.csv"))):
        kept.setdefault(_key(row, before), []).append(row)
    return kept


def _text(path: Path) -> str:
    """A published table, compressed or not; nothing where there is none."""
    compressed = path.with_name(f"{path.name}.gz")
    if compressed.is_file():
        return gzip.decompress(compressed.read_bytes()).decode()
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _same_runs(experiment: Experiment, before: Experiment) -> set[Key]:
    """Runs that the published config describes as this one does."""
    described = {
        run.to_json() for table in tables_of(before).values() for run in table.runs(before)
    }
    return {
        _key_of(run)
        for table in tables_of(experiment).values()
        for run in table.runs(experiment)
        if run.to_json() in described
    }


def _rows(table: Table, experiment: Experiment, runs: Path, kept: dict) -> Iterator[Row]:
    """The rows of every run that there are any of, in the order of the experiment."""
    for run in table.runs(experiment):
        path = runs / run.path / table.source
        # a training that is under way has a history too, and gets its record at the end
        finished = table.source not in RUN_FILES or path.with_name("run.json").is_file()
        if path.is_file() and finished:
            yield from table.rows(table.read(path.read_text(encoding="utf-8")))
        else:
            yield from kept.get(_key_of(run), [])


def _alike(rows: Iterable[Row]) -> list[Row]:
    """Rows with the columns of all: those of earlier versions have fewer."""
    rows = list(rows)
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column, "") for column in columns} for row in rows]


# Writing


def write(config: Path, results: Path, folder: Path) -> list[str]:
    """Publish an experiment; what was left out, a line each."""
    experiment = read_experiment(config)
    runs = results / experiment.name / "runs"
    before = read_experiment(folder / CONFIG) if (folder / CONFIG).is_file() else None
    same = _same_runs(experiment, before) if before else set()
    left_out = []
    with tempfile.TemporaryDirectory() as made:
        new = Path(made) / experiment.name
        new.mkdir()
        shutil.copyfile(config, new / CONFIG)
        for name, table in tables_of(experiment).items():
            published = _kept_rows(name, folder, before) if before else {}
            kept = {key: rows for key, rows in published.items() if key in same}
            rows = _alike(_rows(table, experiment, runs, kept))
            there = {_key(row, experiment) for row in rows}
            wanted = {_key_of(run) for run in table.runs(experiment)}
            if missing := len(wanted - there):
                left_out.append(f"table {name}: {missing} of {len(wanted)} runs")
            if rows:
                files.write_csv(new / f"tables/{name}.csv", rows)
        places = results / experiment.name, folder
        for run in _shown(experiment):
            name = f"runs/{run.path}/images.npz"
            if source := _first(places, name):
                _copy_images(source, new / name)
        for dataset in experiment.datasets:
            # sizes and checksums, which captions state; what belongs to no run
            for name in (f"data/{dataset}/dataset.json", distortions_of(dataset)):
                if source := _first(places, name):
                    files.write_bytes(new / name, source.read_bytes())
        _judge(experiment, new)
        for figure in shareable_figures(experiment):
            reason = draw(figure, experiment, new, new / f"figures/{figure}.png")
            if reason:
                left_out.append(f"figure {figure}: {reason}")
        for path in (new / "tables").glob("*.csv"):
            if path.stat().st_size > LARGE:
                compressed = gzip.compress(path.read_bytes(), mtime=0)
                files.write_bytes(path.with_name(f"{path.name}.gz"), compressed)
                path.unlink()
        files.write_bytes(new / SUMS, _sums(new).encode())
        files.write_bytes(new / PAGE, page_of(experiment, new).encode())
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(new, folder)
    return left_out


def _first(folders: Iterable[Path], name: str) -> Path | None:
    """The file of this name in the first folder that has it."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def shareable_figures(experiment: Experiment) -> list[str]:
    """The figures of an experiment that may be handed on."""
    return [
        figure
        for figure, dataset in experiment.figures.items()
        if not FIGURES[figure].needs_images
        or DATASETS[experiment.datasets[dataset].source].redistributable
    ]


def _shown(experiment: Experiment) -> list[Run]:
    """The runs whose images those figures show."""
    shown = [figure for figure in shareable_figures(experiment) if FIGURES[figure].needs_images]
    datasets = dict.fromkeys(experiment.figures[figure] for figure in shown)
    return [run for dataset in datasets for run in experiment.main_runs(dataset)]


def _copy_images(source: Path, target: Path) -> None:
    """The same arrays, compressed."""
    try:
        arrays = npz.read(source, list(IMAGES))
    except ValueError as error:
        raise UserError(f"{source}: not saved images: {error}") from None
    with files.replacing(target) as stream:
        np.savez_compressed(stream, **arrays)


def _judge(experiment: Experiment, folder: Path) -> None:
    """Write the claims' tables beside the others."""
    judge_tables(experiment, folder / "tables", folder / "tables")


def draw(figure: str, experiment: Experiment, folder: Path, output: Path) -> str | None:
    """Draw a figure from the tables in a folder, with its JSON; why not, where it cannot be."""
    arguments = ["--figure", figure, "--experiment", experiment.to_json()]
    arguments += ["--results", folder, "--output", output]
    arguments += ["--provenance", output.with_suffix(".json")]
    from hebae.figures.draw import main as draw_figure  # takes a second to import

    try:
        draw_figure(list(map(str, arguments)))
    except UserError as error:
        return str(error).replace(f"{folder}/", "")
    return None


def _sums(folder: Path) -> str:
    """As ``sha256sum`` writes it, of every file but this one and the page, made from the rest."""
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in (SUMS, PAGE)
    )
    lines = (f"{files.sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    return "".join(lines)


# Verifying


def verify(folder: Path) -> tuple[list[str], int]:
    """What is not as published, a line each; and how many figures were drawn again."""
    path = folder / SUMS
    if not path.is_file():
        return [f"{path}: missing"], 0
    published = path.read_text(encoding="utf-8", errors="replace")
    wrong = _differences(published, _sums(folder), folder)
    try:
        experiment = read_experiment(folder / CONFIG)
    except (UserError, OSError) as error:
        return [*wrong, str(error)], 0
    wrong += stale_page(experiment, folder)
    images = sorted((folder / "figures").glob("*.png"))
    drawn = [path.stem for path in images if path.stem in experiment.figures]
    wrong += [
        f"{path}: not a figure of this experiment" for path in images if path.stem not in drawn
    ]
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / folder.name
        shutil.copytree(folder, copy)
        for compressed in (copy / "tables").glob("*.csv.gz"):
            with _listing(wrong, f"{folder}/tables/{compressed.name}", copy):
                compressed.with_suffix("").write_bytes(gzip.decompress(compressed.read_bytes()))
        with _listing(wrong, f"{folder}/tables: cannot be judged", copy):
            _judge(experiment, copy)
            for name in ("claims", "claim_parts"):
                table = f"tables/{name}.csv"
                with _listing(wrong, f"{folder / table}: cannot be compared", copy):
                    if not _same_verdicts(folder / table, copy / table):
                        wrong.append(
                            f"{folder / table}: judged again, the claims come out otherwise"
                        )
        for figure in drawn:
            with _listing(wrong, f"{folder}/figures/{figure}.png: cannot be compared", copy):
                wrong += _figure_differences(figure, experiment, folder, copy)
    return wrong, len(drawn)


@contextlib.contextmanager
def _listing(wrong: list[str], what: str, copy: Path) -> Iterator[None]:
    """Adds what cannot be read to the list, as a line, so that the rest is verified too."""
    try:
        yield
    except (UserError, OSError, EOFError, zlib.error) as error:
        wrong.append(f"{what}: {error}".replace(f"{copy}/", ""))


def _same_verdicts(before: Path, now: Path) -> bool:
    """Whether a published table of claims says what judging again does."""
    published, again = (read_rows(table, ("claim",)) for table in (before, now))
    known = {row["claim"] for row in published}
    # a claim that is newer, and not run here, changes nothing that was published
    again = [row for row in again if row["claim"] in known or row.get("verdict") != Verdict.NOT_RUN]
    return _same_rows(published, again)


def _figure_differences(
    figure: str, experiment: Experiment, folder: Path, copy: Path
) -> Iterator[str]:
    """What is not as published of a figure and its JSON, a line each."""
    image, path = (folder / f"figures/{figure}.{kind}" for kind in ("png", "json"))
    record = None
    try:
        record = read_record(path)
        inputs = record.get("inputs")
        if not isinstance(inputs, dict):
            raise ValueError("does not say what the figure was made from")
    except OSError as error:
        yield f"{path}: {error.strerror}"
    except ValueError as error:
        yield f"{path}: {error}"
    else:
        for name, sha256 in inputs.items():
            if not (copy / name).is_file() or files.sha256(copy / name) != sha256:
                yield f"{path}: made from another {name}"
    again = copy / f"again/{figure}.png"
    if reason := draw(figure, experiment, copy, again):
        yield f"{image}: cannot be drawn: {reason}"
        return
    if not _same_pixels(image, again):
        yield f"{image}: drawn again, it looks otherwise"
    caption = read_record(again.with_suffix(".json"))["caption"]
    if record is not None and record.get("caption") != caption:
        yield f"{path}: drawn again, its caption differs"


def stale_page(experiment: Experiment, folder: Path) -> list[str]:
    """A line if the page is not what the files beside it make."""
    page = folder / PAGE
    try:
        text = page_of(experiment, folder)
    except (UserError, OSError) as error:
        return [f"{page}: cannot be made: {error}"]
    if page.is_file() and page.read_bytes() == text.encode():
        return []
    return [f"{page}: not what the files beside it say; {PAGES} writes it"]


def _same_rows(published: list[Row], again: list[Row]) -> bool:
    """Whether rows are the same but for the last digits, in which processors differ."""
    return [list(row) for row in published] == [list(row) for row in again] and all(
        was == now or _close(was, now)
        for one, other in zip(published, again, strict=True)
        for was, now in zip(one.values(), other.values(), strict=True)
    )


def _close(was: str, now: str) -> bool:
    try:
        return math.isclose(float(was), float(now), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def _differences(published: str, found: str, folder: Path) -> list[str]:
    """Files whose checksums differ, that are missing, or that nothing says anything of."""
    before, now = (
        {line.partition("  ")[2]: line for line in text.splitlines()} for text in (published, found)
    )
    wrong = [f"{folder / name}: missing" for name in before.keys() - now.keys()]
    wrong += [f"{folder / name}: not in {SUMS}" for name in now.keys() - before.keys()]
    wrong += [
        f"{folder / name}: changed since it was published"
        for name in before.keys() & now.keys()
        if before[name] != now[name]
    ]
    return sorted(wrong)


def _same_pixels(one: Path, other: Path) -> bool:
    try:
        first, second = matplotlib.image.imread(one), matplotlib.image.imread(other)
    except (OSError, SyntaxError, ValueError):  # Pillow's, for what is no image
        return False
    return first.shape == second.shape and bool((first == second).all())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write or verify the results in docs/results.")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="folder of all of them")
    parts = parser.add_subparsers(dest="what", required=True)
    writing = parts.add_parser("write", help="publish what results/ has of an experiment")
    writing.add_argument("--config", type=Path, required=True, help="config of the experiment")
    writing.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of all results"
    )
    paging = parts.add_parser("pages", help=f"write each {PAGE} anew; nothing is judged or drawn")
    verifying = parts.add_parser("verify", help="compare, judge and draw again")
    for part in (paging, verifying):
        part.add_argument("experiments", nargs="*", help="all where none is named")
    options = parser.parse_args(arguments)
    if options.what == "write":
        folder = options.published / read_experiment(options.config).name
        for line in write(options.config, options.results, folder):
            print(f"left out: {line}")
        print(f"{folder}: {len(list((folder / 'figures').glob('*.png')))} figures")
        return
    names = options.experiments or all_published(options.published)
    if not names:
        raise UserError(f"{options.published}: nothing is published there")
    if options.what == "pages":
        for name in names:
            folder = options.published / name
            page = page_of(read_experiment(folder / CONFIG), folder)
            files.write_bytes(folder / PAGE, page.encode())
        return
    wrong = []
    for name in names:
        found, drawn = verify(options.published / name)
        wrong += found
        print(f"{name}: {'as published' if not found else 'differs'}, {drawn} figures drawn again")
    if wrong:
        raise UserError("not as published:\n" + "\n".join(wrong))


if __name__ == "__main__":
    command(main)
