"""What figures share: their look, reading what they draw, and writing the files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from hebae.base import files, npz
from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Experiment
from hebae.config.run import Run
from hebae.tables.read import read_table

WIDTH = 6.9
"""Text width of a two-column paper, in inches."""

IMAGES = {"originals": 4, "reconstructions": 4, "interpolations": 5, "samples": 5}
"""Arrays of images.npz and how many axes they have; the last three are height, width, channels."""

in_style = matplotlib.style.context(Path(__file__).with_name("paper.mplstyle"), after_reset=True)
"""Decorates what draws or saves: our style on matplotlib's defaults, whatever a user has set."""


class Look(NamedTuple):
    """How a model is drawn, in every figure."""

    color: str
    marker: str
    linestyle: Any
    linewidth: float


# Colours of Okabe and Ito, told apart under the common forms of colour blindness. The third is
# thin and dashed, so that a variant which coincides with the second model leaves it visible.
LOOKS = (
    Look("#D55E00", "s", "-", 1.3),
    Look("#0072B2", "o", "-", 1.9),
    Look("#000000", "D", (0, (3, 2)), 0.8),
    Look("#009E73", "^", "-.", 1.3),
    Look("#CC79A7", "v", ":", 1.5),
    Look("#E69F00", "P", (0, (6, 1.5)), 1.3),
    Look("#56B4E9", "X", "-", 1.3),
    # beyond Okabe and Ito's: wine, olive, indigo (Tol), grey
    Look("#882255", "<", (0, (4, 1, 1, 1)), 1.3),
    Look("#999933", ">", (0, (6, 1.5)), 1.3),
    Look("#332288", "p", "-.", 1.3),
    Look("#777777", "d", "-", 1.3),
)


def look(experiment: Experiment, model: str) -> Look:
    """The look of a model: by its place among the experiment's, so put new models last."""
    return LOOKS[list(experiment.models).index(model) % len(LOOKS)]


def titles(experiment: Experiment, dataset: str) -> dict[str, str]:
    """The dataset's models and what figures call them."""
    return {model: experiment.models[model].title for model in experiment.datasets[dataset].models}


def note(figure: Figure, *sentences: str) -> None:
    """What a reader must know, in small print under the panels."""
    text = note_text(figure.get_figwidth(), *sentences)
    figure.supxlabel(text, x=0.01, ha="left", color="0.25", linespacing=1.3)


def note_text(width: float, *sentences: str) -> str:
    """Sentences, without the empty ones, in lines that fit into `width` inches of small print."""
    text = " ".join(filter(None, sentences))
    for whole in ("N(0, I)", "I(n; z)"):
        text = text.replace(whole, whole.replace(" ", "\u00a0"))
    return textwrap.fill(text, int(18 * width), break_on_hyphens=False)


def legend(figure: Figure, handles: Sequence[Any], **options: Any) -> int:
    """One legend above all panels, in as many columns as fit, 4 at most; how many lines it has."""
    labels = [handle.get_label() for handle in handles]
    room = 72 * figure.get_figwidth()
    columns = next(
        n for n in range(min(len(handles), 4), 0, -1) if n == 1 or _fits(labels, n, room)
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, **options)
    return -(-len(handles) // columns)


def _fits(labels: Sequence[str], columns: int, room: float) -> bool:
    """Whether a legend of so many columns is at most `room` points wide."""
    style = matplotlib.rcParams
    size = style["legend.fontsize"]
    texts = [TextPath((0, 0), label, size).get_extents().width for label in labels]
    # a handle and the gap after it, a gap between columns, and the legend's own edge
    gaps = columns * (style["legend.handlelength"] + style["legend.handletextpad"])
    gaps += (columns - 1) * style["legend.columnspacing"] + 2 * style["legend.borderpad"] + 1
    return sum(max(part) for part in np.array_split(texts, columns)) + gaps * size <= room


def spread(seeds: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Minimum, mean and maximum over the columns; a gap where a seed has no value."""
    seeds = seeds.where(np.isfinite(seeds))
    low, mean, high = (getattr(seeds, how)(axis=1, skipna=False) for how in ("min", "mean", "max"))
    return low, mean.clip(low, high), high  # rounding takes the mean of equal values beyond them


def seeds_curve(ax: Axes, seeds: pd.DataFrame, style: Look, **options: Any) -> None:
    """Mean over the columns against the index; bars to the minimum and the maximum."""
    low, mean, high = spread(seeds)
    # a lone seed has no spread, whose caps would lie on the marker
    reach = (mean - low, high - mean) if seeds.shape[1] > 1 else None
    style = {**style._asdict(), "elinewidth": 0.8, "capsize": 2, **options}
    ax.errorbar(seeds.index, mean, reach, **style)


def rows(
    tables: Mapping[str, pd.DataFrame],
    name: str,
    runs: Collection[Run],
    values: Sequence[str],
    by: Sequence[str] = (),
    each: Callable[[Run], int] | None = None,
    finite: bool = True,
    texts: Sequence[str] = (),
    **equal: str,
) -> pd.DataFrame:
    """The rows of some runs in which the columns `equal` have these values.

    Args:
        values: columns of numbers. Single ones may be missing (a run that diverged).
        by: columns of numbers that tell the rows of a run apart.
        each: how many rows a run has; where absent, all runs must have the same number.
        finite: whether every model must have finite values.
        texts: other columns that there must be, left as they are.

    Raises:
        UserError: naming the file and what it lacks.
    """
    table = tables[name]
    file = table.attrs.get("file", name)
    keys = pd.DataFrame([run.identity for run in runs]).astype({"weight": float})
    for column in (*keys, *by, *values, *texts, *equal):
        if column not in table:
            raise UserError(f"{file}: no column {column!r}")
    for column, value in equal.items():
        table = table[table[column] == value]
    table = keys.merge(table, how="left", indicator="found")
    table = table[table.pop("found") == "both"]
    counts = table.groupby(list(keys)).size().reindex(pd.MultiIndex.from_frame(keys), fill_value=0)
    for run, found in zip(runs, counts, strict=True):
        expected = each(run) if each else max(1, counts.max())
        if found != expected:
            of = "".join(f", {column} {value}" for column, value in equal.items())
            raise UserError(f"{file}: {run.path}{of}: {counted(found, 'row')}, expected {expected}")
    twice = table[table.duplicated([*keys, *by])]
    if not twice.empty:
        where = ", ".join(f"{column} {twice[column].iloc[0]}" for column in (*keys, *by))
        raise UserError(f"{file}: two rows with {where}")
    for column in (*by, *values):
        try:
            table[column] = table[column].astype(float)
        except ValueError as error:
            raise UserError(f"{file}: column {column!r}: {error}") from None
        some = np.isfinite(table[column]).groupby(table["model"]).any()
        for model in some.index[~some] if finite else ():
            raise UserError(f"{file}: no finite {column} of {model}")
    return table


def read_tables(results: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Tables by name."""
    return {name: read_table(results / "tables" / f"{name}.csv") for name in names}


def read_images(
    results: Path, experiment: Experiment, dataset: str
) -> dict[str, dict[str, np.ndarray]]:
    """The saved images of the dataset's main runs, by model: uint8, see :data:`IMAGES`."""
    images = {}
    for run in experiment.main_runs(dataset):
        path = results / "runs" / run.path / "images.npz"
        try:
            found = npz.read(path, list(IMAGES))
        except ValueError as error:
            raise UserError(f"{path}: not saved images: {error}") from None
        shapes = {name: array.shape for name, array in found.items()}
        if (
            any(len(shapes[name]) != axes for name, axes in IMAGES.items())
            or shapes["originals"] != shapes["reconstructions"]
            or len({shape[-3:] for shape in shapes.values()}) != 1
            or any(array.dtype != np.uint8 for array in found.values())
        ):
            raise UserError(f"{path}: not uint8 images of one size, or not as many: {shapes}")
        images[run.model] = found
    return images


@in_style
def save(figure: Figure, outputs: Collection[Path]) -> None:
    """Write a figure as PDF or PNG, the same bytes each time.

    The layout is made once, so that files do not depend on which others are written.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    options = {
        ".pdf": {"metadata": {"CreationDate": None}},
        # of the levels that give files as small as the default, 6, the one that takes the least
        ".png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 4}},
    }
    for path in outputs:
        with files.replacing(path) as stream:
            figure.savefig(stream, format=path.suffix[1:], **options[path.suffix])
