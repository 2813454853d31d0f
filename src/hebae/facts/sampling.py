"""Where a model's Fréchet distance comes from: its prior, its decoder, or between its codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.facts.fig1b import distance, features_text, other_split
from hebae.facts.text import gaps_text, spread_text, titles, weights_text, where_text
from hebae.tables.rows import rows

SAMPLINGS = {
    "prior": "samples of the prior",
    "gaussian": "samples of a Gaussian",
    "mixture": "samples of a mixture",
    "reconstruction": "reconstructions",
    "midpoints": "between two codes",
}
"""What is decoded, from above, as the figure calls it."""

PROTOCOL = ("n_reference", "reference", "features", "accuracy")


class Sampled(NamedTuple):
    """Fréchet distances of the runs at the main latent dimension and the default λ."""

    table: pd.DataFrame
    """Columns model, seed, sampling, n_generated and `fid`, which is NaN where it is not finite."""
    real: float | None
    """The mean distance of real images of the other split; None where it was not measured."""
    n_real: int
    """The number of these real images; 0 without any."""
    protocol: Mapping[str, Any]
    """What all rows have in common, by column."""


def measured(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Sampled:
    """The validated distances. A table without the column `sampling` is of the prior alone."""
    runs = experiment.default_runs_of(dataset)
    table = tables["fid"]
    file = table.attrs.get("file", "fid")
    if "sampling" not in table:
        table = table.assign(sampling="prior")
    there = [one for one in (*SAMPLINGS, "real") if (table["sampling"] == one).any()]
    values, texts = ("fid", "n_generated", "n_reference"), PROTOCOL[1:]
    parts = [
        rows(
            {"fid": table[table["sampling"] == sampling]},
            "fid",
            runs,
            values,
            each=lambda run: 1,
            finite=False,
            texts=texts,
        )
        for sampling in there
    ]
    found = pd.concat(parts, ignore_index=True)
    for column in ("n_reference", "reference", "features"):
        if found[column].nunique(dropna=False) > 1:
            raise UserError(f"{file}: rows with different {column} do not compare")
    real = found[found["sampling"] == "real"]
    return Sampled(
        found[found["sampling"] != "real"],
        None if real["fid"].isna().all() else float(real["fid"].mean()),
        0 if real.empty else int(real["n_generated"].iloc[0]),
        found.iloc[0][list(PROTOCOL)].to_dict(),
    )


def excess(found: Sampled, above: str, below: str) -> dict[str, float]:
    """By model, the mean over seeds of one sampling's distance less another's."""
    wide = found.table.pivot(index=["model", "seed"], columns="sampling", values="fid")
    if not {above, below} <= set(wide):
        return {}
    means = (wide[above] - wide[below]).groupby("model", sort=False)
    more = means.agg(lambda seeds: seeds.mean(skipna=False))
    return more[np.isfinite(more)].to_dict()


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    found, names = measured(tables, experiment, dataset), titles(experiment, dataset)
    table, protocol = found.table, found.protocol
    means = table.groupby(["sampling", "model"], sort=False)["fid"].mean().unstack("sampling")
    counts = sorted({f"{count:,.0f}" for count in table["n_generated"]})
    other = other_split(protocol["reference"])

    def of_models(values: Mapping[str, float]) -> str:
        return listed(
            f"{number(values[model])} for {names[model]}" for model in names if model in values
        )

    said = {
        above: of_models(excess(found, "prior", above))
        for above in ("gaussian", "mixture")
        if above in means
    }
    costs = [f"less that of {SAMPLINGS[above]}: {text}" for above, text in said.items() if text]
    lost = [
        f"{names[model]}, {SAMPLINGS[sampling]}"
        for sampling, model in table.loc[table["fid"].isna(), ["sampling", "model"]]
        .drop_duplicates()
        .itertuples(index=False)
    ]
    return [
        f"The {distance(protocol['features'])} between {listed(counts)} decoded images and "
        f"{protocol['n_reference']:,.0f} real images of the {protocol['reference']} split; lower "
        "is better.",
        where_text(experiment.datasets[dataset]),
        weights_text(experiment, dataset),
        "Only samples of the prior were measured." if set(means) == {"prior"} else "",
        "The Gaussian and the mixture of ten Gaussians are fitted to the run’s codes of its "
        "training images. A prior that matches the codes does as well as they do."
        if costs
        else "",
        "What a mismatch of the prior costs is the distance of its samples less another’s."
        if costs
        else "",
        *(f"{cost[:1].upper()}{cost[1:]}." for cost in costs),
        f"What the decoder costs: reconstructions of {other} images, at a distance of "
        f"{of_models(means['reconstruction'].dropna())}."
        if "reconstruction" in means
        else "",
        f"Images between two codes are decoded from the midpoint of the codes of two {other} "
        "images, which is nearer to 0 than the codes are."
        if "midpoints" in means
        else "",
        f"Grey line: {found.n_real:,} real {other} images, at {number(found.real)}. As many "
        "samples of a perfect model would be there, not at 0, because the distance of few images "
        "is too large."
        if found.real is not None
        else "",
        "Kinds with different numbers of images do not compare with each other."
        if table["n_generated"].nunique() > 1
        else "",
        features_text(protocol),
        spread_text(table["seed"].unique(), "marks and numbers"),
        "Small points: single seeds." if table["seed"].nunique() > 1 else "",
        gaps_text(lost),
    ]
