"""MMD² and log det of the codes against the latent dimension and the size of the training set.

The two diagnostics of q(z) against p(z) = N(0, I) of Zhao, Song & Ermon 2017, for codes of the
images that a run was trained on and of the test split.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.facts.text import (
    epochs_text,
    spread_text,
    titles,
    weights_text,
)
from hebae.tables.rows import rows

LABELS = {"mmd": "MMD² to N(0, I)", "log_det": "log det of the\ncodes’ covariance"}
QUANTITIES = {"mmd": "MMD²", "log_det": "log det"}
NULLS = {"mmd": ["null_low", "null_high"], "log_det": ["log_det_low", "log_det_high"]}
KERNELS = {"imq": "inverse multiquadratic", "gaussian": "Gaussian"}
SPLITS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "train": ("training images", {"linewidth": 0.8, "markersize": 4}),
    "test": (
        "test images",
        {"linewidth": 0.5, "markersize": 4.8, "markerfacecolor": "white", "markeredgewidth": 0.8},
    ),
}
"""What a split’s marks are, and how they differ from the model’s look."""
NEAR = 1.0
"""What is near 0 for a log det. For an MMD² it is what lies in the narrowest band."""


class Column(NamedTuple):
    """Panels which show the same rows against the same column of the table."""

    by: str
    label: str
    shown: pd.Series
    """Which rows of the table."""


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """The rows of the dataset's runs, of both splits.

    Runs on a part of the training images share the identity of those on all of them, and differ
    in ``n_train``: the number of images, which the config has for the parts alone.
    """
    data = experiment.datasets[dataset]
    if data.diagnostics is None:
        raise UserError(f"config: figures.infovae_diagnostics: {dataset!r} has no diagnostics")
    sizes = data.training_sizes
    runs = [run for run in experiment.default_runs() if run.dataset == dataset]

    def read(values: Sequence[str], finite: bool) -> pd.DataFrame:
        each = {"each": lambda run: 1 + len(sizes) * (run.latent_dim == data.main_latent_dim)}
        each |= {"by": ["n_train"], "finite": finite, "kernel": data.diagnostics.kernel}
        parts = [rows(tables, "diagnostics", runs, values, split=s, **each) for s in SPLITS]
        return pd.concat(parts, ignore_index=True)

    table = read(["mmd", *NULLS["mmd"], *NULLS["log_det"]], True)
    # empty where a covariance is singular, which it may be for all runs of a model
    table["log_det"] = read(["log_det"], False)["log_det"]
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


def columns_of(table: pd.DataFrame, experiment: Experiment, dataset: str) -> list[Column]:
    """Against the latent dimension, and against the training images where there are parts.

    With parts and one latent dimension, the second has all that the first would show.
    """
    data = experiment.datasets[dataset]
    main, whole = data.main_latent_dim, table["n_train"].max()
    of_dims = Column(
        "latent_dim",
        f"latent dimension (trained on {whole:,.0f} images)",
        table["n_train"] == whole,
    )
    of_sizes = Column(
        "n_train", f"training images (latent dimension {main})", table["latent_dim"] == main
    )
    if not data.training_sizes:
        return [of_dims]
    return [of_dims, of_sizes] if len(data.latent_dims) > 1 else [of_sizes]


def null(table: pd.DataFrame, by: str, ends: Sequence[str]) -> pd.DataFrame:
    """Where as many codes of N(0, I) lie at each place: the median of the runs’ intervals."""
    return table.groupby(by)[list(ends)].median()


def near_zero(table: pd.DataFrame, columns: Collection[Column], quantity: str) -> float:
    """What counts as near 0."""
    if quantity == "log_det":
        return NEAR
    bands = [
        null(of_split, column.by, NULLS[quantity]).abs().max(axis=1)
        for column in columns
        for _, of_split in table[column.shown].groupby("split")
    ]
    return float(pd.concat(bands).min())


def threshold_of(values: pd.Series, near: float) -> float | None:
    """Where an axis turns logarithmic: a power of 10 from `near` on; None where values end soon
    after it."""
    finite = values[np.isfinite(values)].abs()
    threshold = 10.0 ** np.ceil(np.log10(near)) if near > 0 else np.inf
    return threshold if finite.max() > 3 * threshold else None


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, table = experiment.datasets[dataset], measured(tables, experiment, dataset)
    columns, names = columns_of(table, experiment, dataset), titles(experiment, dataset)
    thresholds = {
        QUANTITIES[quantity]: threshold_of(table[quantity], near_zero(table, columns, quantity))
        for quantity in LABELS
    }
    kernel, sizes = data.diagnostics.kernel, sorted(data.training_sizes)
    return [
        *(_conclusion(table, latent_dim, names) for latent_dim in data.latent_dims),
        "These are the codes of all training images, and means of log det over seeds; “as wide” is "
        "within the band." * bool(np.isfinite(table["log_det"]).any()),
        "InfoVAE’s authors find that the ELBO lets the codes spread far beyond the prior, and more "
        "so with fewer images. A divergence of the whole code distribution does not, and of three "
        "divergences the MMD works best for them.",
        "MMD² is a distance between the codes and samples of N(0, I), with "
        f"{KERNELS.get(kernel, kernel)} kernels. Its estimate is unbiased, so it may be below 0.",
        "log det is the natural logarithm of the determinant of the codes’ covariance: 0 for "
        "N(0, I), positive for codes that spread wider.",
        "Filled marks: one code z ~ q(z|x) of every image that the run was trained on; open marks: "
        "of every test image.",
        "Bands hold 95 % of the values of as many codes drawn from N(0, I). Codes below a band are "
        "narrower, or by MMD² more even, than such draws.",
        f"For MMD², a band comes from {data.diagnostics.permutations} random relabellings of codes "
        "and samples of N(0, I), and is the median of the runs’.",
        f"Trained for {epochs_text(data)} on all {table['n_train'].max():,.0f} images"
        + f", and for as many steps on random subsets of {listed(f'{n:,}' for n in sizes)}"
        * bool(sizes)
        + ".",
        weights_text(experiment, dataset),
        spread_text(data.seeds),
        *(
            f"The axis of {quantity} is linear between ±{threshold:g} and logarithmic beyond."
            for quantity, threshold in thresholds.items()
            if threshold
        ),
        _gaps_text(table, "mmd", "not finite", names),
        _gaps_text(table, "log_det", "singular covariance", names),
    ]


def _conclusion(table: pd.DataFrame, latent_dim: int, names: Mapping[str, str]) -> str:
    """How each model’s codes of all training images are beside N(0, I), seed by seed."""
    main = (table["latent_dim"] == latent_dim) & (table["n_train"] == table["n_train"].max())
    of_runs = table[main & (table["split"] == "train")]
    within = {
        quantity: of_runs[quantity].between(of_runs[low], of_runs[high])
        for quantity, (low, high) in NULLS.items()
    }
    groups: dict[str, list[str]] = {}
    for model, own in of_runs.groupby("model", sort=False):
        if own["log_det"].isna().any():
            continue
        inside = within["log_det"][own.index]
        if inside.all():
            how = "are as wide as N(0, I)"
        elif inside.any():
            how = f"are as wide as N(0, I) in {inside.sum()} of {len(own)} seeds"
        elif (own["log_det"] > own["log_det_high"]).all():
            how = "spread wider than N(0, I)"
        elif (own["log_det"] < own["log_det_low"]).all():
            how = "are narrower than N(0, I)"
        else:
            how = "are wider or narrower than N(0, I) by the seed"
        text = f"{names[model]} (log det {number(own['log_det'].mean())})"
        groups.setdefault(how, []).append(text)
    if not groups:
        return ""
    texts = [f"codes of {listed(models)} {how}" for how, models in groups.items()]
    return (
        f"At latent dimension {latent_dim}, {'; '.join(texts)}. By MMD² {within['mmd'].sum()} of "
        f"{len(of_runs)} runs are within the band."
    )


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
                seeds = sorted(of_split["seed"])
                places.append(f"{place}, {split}, seed{'s' * (len(seeds) > 1)} {listed(seeds)}")
        if places:
            texts.append(f"{names[model]} ({'; '.join(places)})")
    return f"No {QUANTITIES[quantity]} ({why}): {', '.join(texts)}." if texts else ""
