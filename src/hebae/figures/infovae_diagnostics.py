"""MMD² and log det of the codes against the latent dimension and the size of the training set.

The two diagnostics of q(z) against p(z) = N(0, I) of Zhao, Song & Ermon 2017, for codes of the
images that a run was trained on and of the test split.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Experiment
from hebae.config.run import weight_text
from hebae.figures.common import (
    WIDTH,
    Look,
    in_style,
    legend,
    look,
    note,
    rows,
    seeds_curve,
    titles,
)

LABELS = {"mmd": "MMD² to the prior", "log_det": "log det Cov of the codes"}
QUANTITIES = {"mmd": "MMD²", "log_det": "log det"}
SPLITS = {"train": "codes of training images", "test": "codes of test images"}
NULLS = {"mmd": ["null_low", "null_high"], "log_det": ["log_det_low", "log_det_high"]}
KERNELS = {"imq": "inverse multiquadratic", "gaussian": "Gaussian"}
BAND, EDGE = "0.87", "0.55"  # greys
OPEN = (0, (4, 2))
PANEL, LINE = 1.8, 0.165  # height of a panel, and of a line of the legend: inches
WIDE = 20
"""Values beyond this many times what is near 0 get an axis that is logarithmic from there on."""
NEAR = 5.0
"""What is near 0 for a log det. For an MMD² it is what lies in the narrowest band."""


class Column(NamedTuple):
    """Panels above each other, which show the same rows against the same column of the table."""

    by: str
    label: str
    title: str
    shown: pd.Series
    """Which rows of the table."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """MMD² above log det; left against the latent dimension, right against the training images.

    Marks are means over seeds, bars reach from the lowest to the highest. Filled: codes of the
    images that a run was trained on; open: of the test split. With one of the two columns, MMD²
    stands beside log det.
    """
    data = experiment.datasets[dataset]
    if data.diagnostics is None:
        raise UserError(f"config: figures.infovae_diagnostics: {dataset!r} has no diagnostics")
    table = measured(tables, experiment, dataset, ["mmd", *NULLS["mmd"], *NULLS["log_det"]])
    # empty where a covariance is singular, which it may be for all runs of a model
    log_det = measured(tables, experiment, dataset, ["log_det"], finite=False)
    table["log_det"] = log_det["log_det"]
    columns = _columns(table, experiment, dataset)

    figure = Figure(figsize=(WIDTH, 1), layout="constrained")
    n_rows = len(columns)  # one column's panels stand side by side
    sharing = {"sharex": "col", "sharey": "row"} if n_rows == 2 else {}
    axes = figure.subplots(n_rows, 2, **sharing).reshape(2, -1)
    ends = {}
    for line, quantity in zip(axes, LABELS, strict=True):
        for ax, column in zip(line, columns, strict=True):
            _panel(ax, table[column.shown], column.by, quantity, experiment)
        line[0].set_ylabel(LABELS[quantity])
        near = NEAR if quantity == "log_det" else _narrowest(table, columns)
        ends[quantity] = _y_axis(line[0], table[quantity], near)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column.title)
    for ax, column in zip(axes[1], columns, strict=True):
        ax.set_xlabel(column.label)
    if n_rows == 1:
        axes[1, 0].set_title(columns[0].title)
        axes[0, 0].set_xlabel(columns[0].label)
    _name_target(axes[1, -1])
    figure.align_ylabels()
    lines = legend(figure, _handles(experiment, titles(experiment, dataset)))
    note(figure, *_sentences(table, experiment, dataset, ends))
    # panels of one height, whatever the legend and the note take
    lines += 0.8 * figure.get_supxlabel().count("\n")
    figure.set_figheight(0.75 + PANEL * n_rows + LINE * lines)
    return figure


def measured(
    tables: Mapping[str, pd.DataFrame],
    experiment: Experiment,
    dataset: str,
    values: Sequence[str],
    finite: bool = True,
) -> pd.DataFrame:
    """The rows of the dataset's runs, of both splits.

    Runs on a part of the training images share the identity of those on all of them, and differ
    in ``n_train``: the number of images, which the config has for the parts alone.
    """
    data = experiment.datasets[dataset]
    sizes, kernel = data.training_sizes, data.diagnostics.kernel
    parts = [
        rows(
            tables,
            "diagnostics",
            [run for run in experiment.default_runs() if run.dataset == dataset],
            values,
            ["n_train"],
            lambda run: 1 + len(sizes) * (run.latent_dim == data.main_latent_dim),
            finite,
            split=split,
            kernel=kernel,
        )
        for split in SPLITS
    ]
    table = pd.concat(parts, ignore_index=True)
    _check_sizes(table, sizes, data.main_latent_dim, tables["diagnostics"].attrs.get("file"))
    return table


def _check_sizes(
    table: pd.DataFrame, sizes: Collection[int], main_latent_dim: int, file: str | None
) -> None:
    """There must be one size beyond those of the config, larger, and each run must have it."""
    whole = sorted(set(table["n_train"]) - set(sizes))
    smaller = table["n_train"].isin(sizes) & (table["latent_dim"] != main_latent_dim)
    if len(whole) != 1 or whole[0] <= max(sizes, default=0) or smaller.any():
        found = ", ".join(f"{size:g}" for size in sorted(table["n_train"].unique()))
        parts = ", ".join(map(str, sizes)) or "none"
        raise UserError(
            f"{file or 'diagnostics'}: n_train {found}: expected one size of all training images, "
            f"and of parts of them, at latent dimension {main_latent_dim} alone: {parts}"
        )


def _columns(table: pd.DataFrame, experiment: Experiment, dataset: str) -> list[Column]:
    """Against the latent dimension, and against the training images where there are parts.

    With parts and one latent dimension, the second has all that the first would show.
    """
    data = experiment.datasets[dataset]
    whole = table["n_train"].max()
    of_sizes = Column(
        "n_train",
        "training images",
        f"latent dimension {data.main_latent_dim}",
        table["latent_dim"] == data.main_latent_dim,
    )
    of_dims = Column(
        "latent_dim",
        "latent dimension",
        f"all {whole:,.0f} training images",
        table["n_train"] == whole,
    )
    if not data.training_sizes:
        return [of_dims]
    return [of_dims, of_sizes] if len(data.latent_dims) > 1 else [of_sizes]


def _panel(ax: Axes, table: pd.DataFrame, by: str, quantity: str, experiment: Experiment) -> None:
    """A curve a model and split on a log axis, shifted so that none hides another."""
    _bands(ax, table, by, NULLS[quantity])
    ax.axhline(0, color="0.5", linewidth=0.8, zorder=1)
    places = np.sort(table[by].unique()).astype(float)
    reach = _reach(places)
    drawn = list(product(table["model"].unique(), SPLITS))
    shifts = np.linspace(-reach, reach, len(drawn))
    for (model, split), shift in zip(drawn, shifts, strict=True):
        part = table[(table["model"] == model) & (table["split"] == split)]
        seeds = part.pivot(index=by, columns="seed", values=quantity)
        seeds.index = seeds.index * np.exp(shift)
        style, options = _look(look(experiment, model), split)
        seeds_curve(ax, seeds, style, label=f"{model}, {split}", **options)
    ax.set_xscale("log")
    ax.set_xlim(*_limits(places, reach))
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_major_formatter(FuncFormatter(_labelled(places)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(False, axis="x")


def _look(style: Look, split: str) -> tuple[Look, dict[str, object]]:
    """Filled marks and the model's line, or open ones and a thin dotted line."""
    if split == "train":
        return style, {}
    style = style._replace(linestyle=":", linewidth=0.8)
    return style, {"markerfacecolor": "white", "markeredgewidth": 0.9, "elinewidth": 0.6}


def _reach(places: np.ndarray) -> float:
    """How far curves are shifted, as a logarithm: a quarter of the way to the next place."""
    if len(places) == 1:
        return 0.4
    logs = np.log(places)
    return min(np.diff(logs).min() / 4, (logs[-1] - logs[0]) * 0.05)


def _limits(places: np.ndarray, reach: float) -> tuple[float, float]:
    """Of the axis: somewhat beyond the outer curves."""
    beyond = 1.25 * reach + 0.02 * np.log(places[-1] / places[0])
    return places[0] * np.exp(-beyond), places[-1] * np.exp(beyond)


def _labelled(places: np.ndarray):
    """A formatter of ticks, without the labels that would run into that of a larger place."""
    room = np.log(places[-1] / places[0]) / 8
    kept = [places[-1]]
    for place in places[-2::-1]:
        if np.log(kept[-1] / place) > room:
            kept.append(place)
    return lambda place, _: f"{place:,.0f}" if place in kept else ""


def null(table: pd.DataFrame, by: str, ends: Sequence[str], split: str) -> pd.DataFrame:
    """Where as many codes of N(0, I) lie at each place: the median of the runs' intervals."""
    return table[table["split"] == split].groupby(by)[list(ends)].median()


def _narrowest(table: pd.DataFrame, columns: Collection[Column]) -> float:
    """How far from 0 the narrowest band of MMD² reaches."""
    bands = product(columns, SPLITS)
    nulls = [
        null(table[c.shown], c.by, NULLS["mmd"], split).abs().max(axis=1) for c, split in bands
    ]
    return float(pd.concat(nulls).min())


def _bands(ax: Axes, table: pd.DataFrame, by: str, ends: Sequence[str]) -> None:
    """A box around each place for codes of training images, and an outlined one for the others."""
    for split in SPLITS:
        band = null(table, by, ends, split)
        places = band.index.to_numpy(float)
        low, high = _limits(places, _reach(places))
        # from half way to the neighbours, on the log axis
        edges = np.r_[low, np.sqrt(places[1:] * places[:-1]), high]
        for left, right, bottom, top in zip(edges, edges[1:], *band.T.to_numpy(), strict=False):
            if split == "train":
                ax.fill_between([left, right], bottom, top, color=BAND, linewidth=0, zorder=0.5)
            else:
                ax.hlines(
                    [bottom, top], left, right, EDGE, linewidth=0.6, linestyle=OPEN, zorder=0.6
                )


def _y_axis(ax: Axes, values: pd.Series, near: float) -> float | None:
    """Linear, or where values go far beyond `near`, linear up to about there and then logarithmic.

    Returns where the linear part ends.
    """
    finite = values[np.isfinite(values)]
    if not 0 < WIDE * near < finite.abs().max():
        return None
    first, last = round(np.log10(near)), int(np.log10(finite.abs().max()) + 1)
    ax.set_yscale("symlog", linthresh=10.0**first)
    ax.autoscale_view(scalex=False)
    powers = 10.0 ** np.arange(first, last + 1, 1 + (last - first) // 5)
    ticks = powers if last - first > 3 else np.sort(np.r_[powers, 3 * powers])
    ax.yaxis.set_major_locator(FixedLocator([*-ticks[::-1], 0, *ticks]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.yaxis.set_minor_locator(NullLocator())
    return 10.0**first


def _name_target(ax: Axes) -> None:
    """Say what 0 is, beside the axes, where there are no marks."""
    style = {"va": "center", "fontsize": 7, "color": "0.25", "annotation_clip": False}
    ax.annotate("N(0, I)", (1, 0), (2, 0), ("axes fraction", "data"), "offset points", **style)


def _handles(experiment: Experiment, names: Mapping[str, str]) -> list[Line2D | Patch]:
    """Of the legend: the models, then what filled and open marks and the band are."""
    handles = [Line2D([], [], label=names[m], **look(experiment, m)._asdict()) for m in names]
    for split, label in SPLITS.items():
        style, options = _look(Look("0.4", "o", "-", 1.3), split)
        options.pop("elinewidth", None)
        handles.append(Line2D([], [], label=label, **style._asdict(), **options))
    outline = Line2D([], [], color=EDGE, linewidth=0.6, linestyle=OPEN)
    outline.set_label("N(0, I), as many test codes")
    return [*handles, Patch(color=BAND, label="N(0, I), as many training codes"), outline]


def _sentences(
    table: pd.DataFrame, experiment: Experiment, dataset: str, ends: Mapping[str, float | None]
) -> list[str]:
    """The note; `ends` are where axes turn logarithmic."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    kernel = data.diagnostics.kernel
    sizes = ", ".join(f"{size:,}" for size in sorted(data.training_sizes))
    return [
        f"{data.title}; {weights_text(experiment, dataset)}",
        f"Trained on all {table['n_train'].max():,.0f} images"
        + f" or on a random {sizes} of them" * bool(sizes)
        + ".",
        "One code z ~ q(z|x) an image: of the images that the run was trained on (filled marks) "
        "or of the test split (open); marks are shifted sideways to be told apart.",
        f"MMD²: unbiased, so it may be below 0; {KERNELS.get(kernel, kernel)} kernels; no unit.",
        "log det: natural logarithm; 0 for N(0, I), below it for few codes.",
        "Bands: where 95 % of single runs would lie if their codes, as many, were N(0, I); for "
        f"MMD² from {data.diagnostics.permutations} random relabellings of codes and samples of "
        "the prior, the median of the runs at each place.",
        *(
            f"Axis of {QUANTITIES[quantity]}: logarithmic beyond ±{end:g}."
            for quantity, end in ends.items()
            if end
        ),
        _gaps_text(table, "mmd", "not finite", names),
        _gaps_text(table, "log_det", "singular covariance", names),
        f"Mean over {counted(len(data.seeds), 'seed')}; bars: minimum to maximum."
        if len(data.seeds) > 1
        else "One seed.",
    ]


def weights_text(experiment: Experiment, dataset: str) -> str:
    """The models' default weights, in a sentence."""
    of_weights: dict[str, list[str]] = {}
    for model, title in titles(experiment, dataset).items():
        weight = weight_text(experiment.datasets[dataset].models[model].default)
        of_weights.setdefault(weight, []).append(title)
    if len(of_weights) == 1:
        return f"λ = {weight}."
    texts = (f"{weight} for {', '.join(models)}" for weight, models in of_weights.items())
    return f"λ: {'; '.join(texts)}."


def _gaps_text(table: pd.DataFrame, quantity: str, why: str, names: Mapping[str, str]) -> str:
    """Where there is no value to draw, as a sentence; nothing where there is everywhere."""
    whole = table["n_train"].max()
    texts = []
    for model, of_model in table.groupby("model", sort=False):
        places = []
        for (latent_dim, n_train), of_place in of_model.groupby(["latent_dim", "n_train"]):
            place = f"{n_train:,.0f} images" if n_train < whole else f"dimension {latent_dim}"
            gone = of_place[~np.isfinite(of_place[quantity])]
            if len(gone) == len(of_place):
                places.append(place)
                continue
            for split, of_split in gone.groupby("split", sort=False):
                seeds = " and ".join(map(str, of_split["seed"]))
                places.append(f"{place}, {split}, seed {seeds}")
        if places:
            texts.append(f"{names[model]} ({'; '.join(places)})")
    return f"No {QUANTITIES[quantity]} ({why}): {', '.join(texts)}." if texts else ""
