"""What the paper’s bound leaves out: ELBO surgery, and importance-weighted bounds beside it.

The per-sample bound is −(reconstruction + I(n; z) + KL(q(z) ‖ p(z))) (Hoffman & Johnson 2016;
Eq. 10). For HEBAE the paper plots −(reconstruction + KL(N(m̂, Σ̂) ‖ p(z))) in its place
(docs/bounds.md).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.config.experiment import Experiment
from hebae.config.registry import OBJECTIVES
from hebae.figures.common import WIDTH, in_style, legend, look, note, rows, spread, titles

# Parts of a bar and their colours: light and dark of their own hues, which no model has.
PARTS = {
    "reconstruction": "0.8",
    "regulariser": "#222255",
    "nats": "#DDAA33",
    "kl_aggregate": "#BB5566",
}
LABELS = {
    "reconstruction": "reconstruction",
    "regulariser": "paper’s regulariser R",
    "nats": "I(n; z)",
    "kl_aggregate": "KL(q(z) ‖ p(z))",
}
BARS = {
    "paper’s": ("reconstruction", "regulariser"),
    "per-sample": ("reconstruction", "nats", "kl_aggregate"),
}

ROW = 0.7  # height of a model's row, inches
REST = 2.05  # of the rest, inches
NAME = 16  # characters of a model's name in a line
ROOM = 1.36  # the bars' axis, in units of the longest: numbers and words stand beside them
DRAWS = 2_000_000  # squared lengths of noise, for the gain of a vanishing q
SEED = 0
# a row's lanes, in rows from its middle down: paper's bound, per-sample bound, marks, and marks
# of q widened
LANES = (-0.34, -0.08, 0.19, 0.39)
THICK = (0.17, 0.27)


NOISE = "gain of a q(z|x) of no width"
OF_NOISE = {"color": "#BBCCEE", "linewidth": 5, "solid_capstyle": "butt"}


class MeasuredBounds(NamedTuple):
    """Of the runs at the main latent dimension and the default weights, in nats."""

    parts: dict[str, pd.DataFrame]
    """By part of a bar: a model (index) and a seed (columns). NaN where a model has no bound in
    the paper."""
    bounds: pd.DataFrame
    """The importance-weighted bounds: (model, k) and a seed."""
    widened: pd.DataFrame
    """Those with a widened q(z|x)."""
    widths: pd.DataFrame
    """By how much it was: a model and a seed."""
    n_images: int
    """On how many of the test images these are."""
    n_test: int
    """All of them, on which the rest is."""


@in_style
def draw(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Figure:
    """A row a model: the paper’s bound, the per-sample bound, marks for those of k codes, and for
    those of k codes from a widened q(z|x).

    All are negated, so they add up from left to right; means over seeds, whiskers from the lowest
    to the highest. To the right, what is gained over the fewest codes.
    """
    found = measured(tables, experiment, dataset)
    models = list(found.parts["nats"].index)
    samples = _samples(found)
    figure = Figure(figsize=(WIDTH, REST + ROW * len(models)), layout="constrained")
    if len(samples) > 1:
        left, right = figure.subplots(1, 2, width_ratios=(2.3, 1))
        _gains(right, found, experiment, dataset)
    else:
        left = figure.subplots()
    start, end = _limits(found)
    _finish(left, models, titles(experiment, dataset))
    left.set_xlim(start, start + ROOM * max(end - start, 1e-9))
    for place, model in enumerate(models):
        for lane, (word, parts) in enumerate(BARS.items()):
            of_model = {part: found.parts[part].loc[model] for part in parts}
            _bar(left, of_model, place + LANES[lane], THICK[lane], start, word)
        for lane, bounds, words in ((2, found.bounds, ""), (3, found.widened, ", q widened")):
            _marks(left, bounds.loc[model], place + LANES[lane], model, experiment, words)
    shown = [part for part in PARTS if not found.parts[part].isna().all(axis=None)]
    handles = [Patch(color=PARTS[part], label=LABELS[part]) for part in shown]
    handles.append(_mark_handle(samples))
    if len(samples) > 1:
        handles.append(Line2D([], [], label=NOISE, **OF_NOISE))
    legend(figure, handles, handlelength=1.6)
    note(figure, *_sentences(found, experiment, dataset))
    return figure


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> MeasuredBounds:
    """What the tables say of the models with a per-sample bound."""
    data = experiment.datasets[dataset]
    runs = [
        run
        for run in experiment.bounds_runs()
        if run.dataset == dataset and run.latent_dim == data.main_latent_dim
    ]
    if not runs:
        raise UserError(f"config: figures.fair_bounds: no model of {dataset} has a bound on log p")

    def one(name: str, *values: str) -> pd.DataFrame:
        return rows(tables, name, runs, list(values), each=lambda run: 1, finite=False)

    by_weight = one("elbo_by_weight", "reconstruction", "regulariser")
    of_paper = by_weight["model"].map({run.model: run.bound for run in runs})
    by_weight["regulariser"] = by_weight["regulariser"].where(of_paper)
    information = one("index_code_information", "nats", "kl_aggregate", "log_n")
    bounds = rows(
        tables,
        "bounds",
        runs,
        ["bound", "widened", "width", "n_images"],
        by=["samples"],
        each=lambda run: len(data.bounds.samples),
        finite=False,
    )
    models = list(dict.fromkeys(run.model for run in runs))
    parts = {
        part: table.pivot(index="model", columns="seed", values=part).loc[models]
        for table, part in (
            (by_weight, "reconstruction"),
            (by_weight, "regulariser"),
            (information, "nats"),
            (information, "kl_aggregate"),
        )
    }
    # not numbers of a diverged run
    n_test = _the_same(tables, "index_code_information", np.exp(information["log_n"]))
    n_images = _the_same(tables, "bounds", bounds["n_images"])
    own, widened = (
        bounds.pivot(index=["model", "samples"], columns="seed", values=value)
        for value in ("bound", "widened")
    )
    # the same for every k
    widths = bounds.groupby(["model", "seed"])["width"].first().unstack().loc[models]
    return MeasuredBounds(parts, own, widened, widths, n_images, n_test)


def _the_same(tables: Mapping[str, pd.DataFrame], name: str, counts: pd.Series) -> int:
    """The number of images that all rows of a table are about."""
    numbers = sorted(set(counts.round()))
    if len(numbers) != 1:
        file, images = tables[name].attrs.get("file", name), ", ".join(f"{n:g}" for n in numbers)
        raise UserError(f"{file}: its rows are about different numbers of images: {images}")
    return int(numbers[0])


def _samples(found: MeasuredBounds) -> list[int]:
    return sorted(set(found.bounds.index.get_level_values("samples").astype(int)))


def _limits(found: MeasuredBounds) -> tuple[float, float]:
    """Where bars begin and the last one ends.

    They begin at 0, or left of everything where densities make a reconstruction negative.
    """
    totals = [sum(found.parts[part] for part in parts) for parts in BARS.values()]
    ends = [found.parts["reconstruction"], *totals, -found.bounds, -found.widened]
    values = np.concatenate([np.ravel(table) for table in ends])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (0.0 if low >= 0 else low - 0.15 * (high - low or 1)), high


def _bar(
    ax: Axes, parts: Mapping[str, pd.Series], y: float, height: float, start: float, word: str
) -> None:
    """Means over seeds of the parts, end to end, and the spread of their sum."""
    total = sum(parts.values())
    if any(values.isna().all() for part, values in parts.items() if part == "regulariser"):
        return
    low, mean, high = (float(value.iloc[0]) for value in spread(total.to_frame().T))
    if not np.isfinite(mean):
        _not_finite(ax, y)
        return
    end = 0.0
    for part, values in parts.items():
        left, end = end, end + float(values.mean())
        first = part == "reconstruction"
        x = start if first else left
        ax.barh(y, end - x, height, x, color=PARTS[part], label=part, linewidth=0)
    if len(total) > 1:
        ax.errorbar(mean, y, xerr=[[mean - low], [high - mean]], **_whisker("0"))
    _number(ax, high, y, f"{mean:.1f} {word}")


def _marks(
    ax: Axes, bounds: pd.DataFrame, y: float, model: str, experiment: Experiment, words: str
) -> None:
    """A model's bounds, negated, on a line: hollow for the fewest codes, filled for the most."""
    low, mean, high = spread(-bounds)
    color, marker, *_ = look(experiment, model)
    if not np.isfinite(mean).all():
        _not_finite(ax, y)
        return
    ax.plot(mean, np.full(len(mean), y), color=color, linewidth=0.8, zorder=2)
    for place, k in enumerate(mean.index):
        reach = [[mean[k] - low[k]], [high[k] - mean[k]]] if bounds.shape[1] > 1 else None
        ax.errorbar(
            mean[k],
            y,
            xerr=reach,
            marker=marker,
            markerfacecolor=_fill(color, place, len(mean)),
            label=f"k = {k:g}",
            zorder=3 + place,
            **_whisker(color),
        )
    _number(ax, high.max(), y, f"{mean.iloc[-1]:.1f} (k = {mean.index[-1]:,g}{words})")


def _whisker(color: str) -> dict[str, object]:
    return {"color": color, "linestyle": "none", "elinewidth": 0.8, "capsize": 1.8}


def _fill(color: str, place: int, places: int) -> tuple[float, ...]:
    """From white to the colour."""
    share = place / (places - 1) if places > 1 else 1.0
    return tuple(1 - share * (1 - value) for value in to_rgb(color))


def _number(ax: Axes, x: float, y: float, text: str) -> None:
    """To the right of a bar or of marks."""
    style = {"va": "center", "ha": "left", "fontsize": 7, "color": "0.15"}
    ax.annotate(text, (x, y), (5, 0), textcoords="offset points", **style)


def _not_finite(ax: Axes, y: float) -> None:
    style = {"va": "center", "fontsize": 7, "color": "0.5"}
    ax.text(0.01, y, "not finite", transform=ax.get_yaxis_transform(), **style)


def _finish(ax: Axes, models: list[str], names: Mapping[str, str]) -> None:
    """The models' names at their rows, and what the other axis is."""
    ax.set_ylim(len(models) - 0.5, -0.5)
    for border in range(1, len(models)):
        ax.axhline(border - 0.5, color="0.85", linewidth=0.5, zorder=0)
    labels = [textwrap.fill(names[model], NAME) for model in models]
    ax.set_yticks(range(len(models)), labels, fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel("−bound on log p(x) (nats an image); lower is better")


def gain_of_noise(d: int, samples: Sequence[int]) -> np.ndarray:
    """L_k − L_1 in nats of a q(z|x) of vanishing width, for each k; a random estimate.

    Where p(x|z) p(z) is the same for all its codes, log w = ½‖ε‖² up to a constant, and so
    L_k − L_1 = E log 1/k Σ_j exp(½‖ε_j‖²) − d/2: a number of d and k alone.
    """
    half = np.random.default_rng(SEED).chisquare(d, max(DRAWS, 20 * max(samples))) / 2
    gains = []
    for k in samples:
        groups = half[: len(half) // k * k].reshape(-1, k)
        peak = groups.max(axis=1)
        mean = np.exp(groups - peak[:, None]).mean(axis=1)
        gains.append(float((peak + np.log(mean)).mean()) - d / 2)
    return np.array(gains)


def _gains(ax: Axes, found: MeasuredBounds, experiment: Experiment, dataset: str) -> None:
    """How much bounds rise with the codes, a line a model, and of noise alone."""
    samples = _samples(found)
    noise = gain_of_noise(experiment.datasets[dataset].main_latent_dim, samples)
    ax.plot(samples, noise - noise[0], label=NOISE, zorder=1, **OF_NOISE)
    for model in found.parts["nats"].index:
        of_model = found.bounds.loc[model]
        low, mean, high = spread(of_model - of_model.loc[samples[0]])
        style = look(experiment, model)
        ax.plot(mean.index, mean, **style._asdict(), label=model)
        ax.fill_between(mean.index, low, high, color=style.color, alpha=0.2, linewidth=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(samples))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:,g}"))
    ax.set_xlabel("codes an image, k")
    ax.set_ylabel("gain (nats)")


def _mark_handle(samples: list[int]) -> Line2D:
    ends = " to ".join(f"{k:,g}" for k in dict.fromkeys((samples[0], samples[-1])))
    label = f"importance-weighted, k = {ends} codes"
    style = {"color": "0.2", "marker": "o", "linewidth": 0.8, "markerfacecolor": "0.6"}
    return Line2D([], [], label=label, **style)


def _sentences(found: MeasuredBounds, experiment: Experiment, dataset: str) -> list[str]:
    """The note."""
    data = experiment.datasets[dataset]
    seeds = found.bounds.shape[1]
    return [
        f"{data.title}, latent dimension {data.main_latent_dim}, {found.n_test:,} test images.",
        of_paper := _paper_text(found, experiment, dataset),
        f"{'Lower bar' if of_paper else 'Bar'}: the per-sample bound, whose mean KL(q(z|x)‖p(z)) = "
        "I(n; z) + KL(q(z)‖p(z)).",
        _marks_text(found),
        f"Mean over {counted(seeds, 'seed')}; whiskers and bands: minimum to maximum."
        if seeds > 1
        else "One seed.",
        _grey_text(experiment, dataset),
        _left_out_text(experiment, dataset, list(found.parts["nats"].index)),
    ]


def _paper_text(found: MeasuredBounds, experiment: Experiment, dataset: str) -> str:
    """What R is, of the models that the paper has a bound of; nothing where there is none."""
    names = titles(experiment, dataset)
    regulariser = found.parts["regulariser"]
    of_objective: dict[str, list[str]] = {}
    for model in regulariser.index[regulariser.notna().any(axis=1)]:
        of_objective.setdefault(experiment.models[model].objective, []).append(names[model])
    what = {"hebae": "KL divergence of the aggregate’s Gaussian", "vae": "mean KL(q(z|x)‖p(z))"}
    texts = [
        f"for {' and '.join(of_objective[o])} the {what[o]}" for o in what if o in of_objective
    ]
    if not texts:
        return ""
    return f"Upper bar: the paper’s bound, reconstruction + R, where R is {', '.join(texts)}."


def _marks_text(found: MeasuredBounds) -> str:
    samples = [f"{k:,g}" for k in _samples(found)]
    low, high = found.widths.min(axis=None), found.widths.max(axis=None)
    widths = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    which = f"the first {found.n_images:,}" if found.n_images < found.n_test else "all"
    several = len(samples) > 1
    return (
        f"Marks: importance-weighted bounds of k = {', '.join(samples)} codes on {which} images"
        + ", from hollow to filled, which rise with k towards log p(x)" * several
        + "; the lower ones, for the same log p(x), of codes from q(z|x) widened by a covariance "
        f"s²I, s = {widths}, chosen for each run."
        + f" Right: what the upper marks gain over k = {samples[0]}; wide line: the gain of a "
        "q(z|x) too narrow for p(x|z)p(z) to change within it, whatever the model." * several
    )


def _grey_text(experiment: Experiment, dataset: str) -> str:
    models = experiment.datasets[dataset].models.values()
    if all(model.reconstruction != "bernoulli" for model in models):
        return ""
    return "Grey values count as probabilities, so p(x|z) is not normalised over grey images."


def _left_out_text(experiment: Experiment, dataset: str, shown: list[str]) -> str:
    """Which models have no bound and why; nothing where all have one."""
    reasons: dict[str, list[str]] = {}
    for model, name in titles(experiment, dataset).items():
        if model in shown:
            continue
        stochastic = OBJECTIVES[experiment.models[model].objective].stochastic
        reason = "the reconstruction term is no likelihood"
        reasons.setdefault(reason if stochastic else "deterministic encoder", []).append(name)
    texts = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"No bound: {'; '.join(texts)}." if reasons else ""
