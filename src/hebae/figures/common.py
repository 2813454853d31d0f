"""What figures share: width and style, curves and points over seeds, legends, reading, saving."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from hebae.base import files
from hebae.config.experiment import Experiment
from hebae.figures.looks import Look, looks
from hebae.tables.read import read_table

SPREAD = ("pi", 100)
"""The one kind of spread in all figures, as seaborn calls it: from the lowest seed to the highest.
With as few seeds as there are, an interval of a distribution would claim more than they tell."""

SMALL = 7
"""The smallest text, in points."""
ROW = 0.135
"""The height of a row in inches, which a number of the smallest text fits."""

in_style = matplotlib.style.context(Path(__file__).with_name("paper.mplstyle"), after_reset=True)
"""Decorates what draws or saves: our style on matplotlib's defaults, whatever a user has set."""


def looks_of(experiment: Experiment) -> dict[str, Look]:
    """How each model of the experiment is drawn."""
    return looks(experiment.models)


def fill(text: str, inches: float) -> str:
    """Text of 8 points in lines that fit into so many inches; no word is broken."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return textwrap.fill(
        text, max(6, int(15 * inches)), break_on_hyphens=False, break_long_words=False
    )


# Over seeds


def complete(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The rows of the groups in which every seed has a finite value.

    A mean over those seeds that did not diverge would be of other seeds than the mean beside it.
    """
    finite = np.isfinite(table[value]).groupby([table[column] for column in by]).transform("all")
    return table[finite]


def stretches(table: pd.DataFrame, x: str, value: str) -> Iterator[pd.DataFrame]:
    """A model's rows, apart at each place where a seed has no value: lines must not cross it."""
    finite = np.isfinite(table[value]).groupby(table[x]).all().sort_index()
    number = (~finite).cumsum()[finite]
    for _, places in number.groupby(number):
        yield table[table[x].isin(places.index)]


def _mean(values: pd.Series) -> float:
    """Of some seeds; rounding takes that of equal values beyond them, and its bars below 0."""
    return float(np.clip(values.mean(), values.min(), values.max()))


def curve(
    ax: Axes, table: pd.DataFrame, x: str, value: str, look: Look, *, bars: bool, **options: Any
) -> None:
    """A model's mean over seeds against a column, with :data:`SPREAD` as a band or as bars.

    Args:
        table: the rows of one model, a seed and a place each.
        bars: whether the spread is drawn as bars, for few places, rather than as a band.
        options: of the line, in place of the look's.
    """
    _check_linear(ax.yaxis)
    # bars lie below the marks, which may be open
    of_bars = {"elinewidth": 0.8, "capsize": 2, "zorder": 1.9}
    spread = of_bars if bars else {"alpha": 0.3, "linewidth": 0}
    for part in stretches(table, x, value):
        alone = {"markevery": None} if part[x].nunique() == 1 else {}
        sns.lineplot(
            part,
            x=x,
            y=value,
            ax=ax,
            estimator=_mean,
            errorbar=SPREAD,
            err_style="bars" if bars else "band",
            err_kws=spread,
            legend=False,
            **{**look._asdict(), **options, **alone},
        )


def dots(
    ax: Axes,
    table: pd.DataFrame,
    value: str,
    row: str,
    order: Sequence[Any],
    model_looks: Mapping[Any, Look],
    absent: Mapping[Any, str] = MappingProxyType({}),
    filled: bool = True,
) -> None:
    """Mean and :data:`SPREAD` over seeds in a row each, and the single seeds as small points.

    Args:
        table: one value a row and seed.
        row: the column that tells rows apart, in the `order` from above.
        model_looks: by the values of `row`.
        absent: what is written in a row without a mean, where that is not "not finite".
        filled: whether the marks of means are filled.
    """
    _check_linear(ax.xaxis)
    palette = {one: model_looks[one].color for one in order}
    common = {"data": table, "x": value, "y": row, "order": order, "hue": row, "ax": ax}
    common |= {"hue_order": order, "palette": palette, "legend": False}
    if table.groupby(row).size().max() > 1:
        sns.stripplot(**common, jitter=False, size=2.6, alpha=0.5, linewidth=0, zorder=2)
    means = complete(table, [row], value)
    filled_mark = {"markersize": 4.5, "markeredgewidth": 0.5}
    # larger, so that one behind a filled one still shows
    open_mark = {"markersize": 6, "markeredgewidth": 1, "markerfacecolor": "white"}
    sns.pointplot(
        **{**common, "data": means},
        errorbar=SPREAD,
        markers=[model_looks[one].marker for one in order],
        linestyle="none",
        **(filled_mark if filled else open_mark),
        capsize=0.15,
        err_kws={"linewidth": 0.9, "zorder": 2.5},
        zorder=3,
    )
    for place, one in enumerate(order):
        if one not in set(means[row]):
            style = {"va": "center", "ha": "center", "fontsize": SMALL, "color": "0.5"}
            style["bbox"] = {"color": "white", "pad": 1}  # no grid behind it
            text = absent.get(one, "not finite")
            ax.text(0.5, place, text, transform=ax.get_yaxis_transform(), **style)


def _check_linear(axis: Axis) -> None:
    """Means are of the values themselves, while seaborn takes them on the scale of the axis."""
    if axis.get_scale() != "linear":
        raise ValueError(f"set the {axis.get_scale()} scale after drawing what has means")


# Axes, titles and legends


def plain(value: float) -> str:
    """A number without an exponent: 0.00001, 10,000."""
    return f"{value:,.12f}".rstrip("0").rstrip(".")


def plain_log(axis: Axis, limits: tuple[float, float], subs: Sequence[float] = (1,)) -> None:
    """Ticks of a log axis with plain numbers, few enough to stand beside each other."""
    low, high = limits
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 20 * low else subs, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def head(figure: Figure, title: str, handles: Sequence[Any] = ()) -> None:
    """The figure's title, and below it one legend of all panels in as many columns as fit."""
    title = fill(title, 0.95 * figure.get_figwidth())
    if not handles:
        figure.suptitle(title, x=0.06 / figure.get_figwidth(), ha="left")
        return
    bold = {"weight": "bold", "size": matplotlib.rcParams["figure.titlesize"]}
    labels = [handle.get_label() for handle in handles]
    room = 72 * figure.get_figwidth()
    columns = next((n for n in range(min(len(handles), 4), 1, -1) if _fits(labels, n, room)), 1)
    if columns == 1:
        for handle, label in zip(handles, labels, strict=True):
            handle.set_label(fill(label, figure.get_figwidth() - 0.6))
    # a title of the legend's own: a suptitle would lie over a legend outside the axes
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        title=title,
        title_fontproperties=bold,
        alignment="left",
        borderpad=0.2,
        borderaxespad=0.2,
    )


def _fits(labels: Sequence[str], columns: int, room: float) -> bool:
    """Whether a legend of so many columns is at most `room` points wide."""
    style = matplotlib.rcParams
    size = style["legend.fontsize"]
    texts = [TextPath((0, 0), label, size).get_extents().width for label in labels]
    # a handle and the gap after it, a gap between columns, and the legend's own edge
    gaps = columns * (style["legend.handlelength"] + style["legend.handletextpad"])
    gaps += (columns - 1) * style["legend.columnspacing"] + 2 * style["legend.borderpad"] + 1
    return sum(max(part) for part in np.array_split(texts, columns)) + gaps * size <= room


# Files


def read_tables(results: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Tables by name."""
    return {name: read_table(results / "tables" / f"{name}.csv") for name in names}


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
