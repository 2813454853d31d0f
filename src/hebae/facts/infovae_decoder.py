"""Whether models use their code, by the kind of their decoder (information preference).

A decoder that states each pixel given the ones before it can do without a code. An objective that
charges for the information in it, as the ELBO does, may then give it up (Zhao, Song & Ermon 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.config.registry import OBJECTIVES, RECONSTRUCTIONS
from hebae.facts.image_panels import (
    Images,
    by_decoder,
    images_text,
)
from hebae.facts.text import gaps_text, spread_text, titles, where_text
from hebae.tables.rows import rows


class Decoders(NamedTuple):
    """Rows of a model and seed, in nats; the number of test images."""

    information: pd.DataFrame
    bound: pd.DataFrame
    n_images: int


def measured(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> Decoders:
    """Of the runs at the main latent dimension and the default weights."""
    runs = experiment.default_runs_of(dataset)
    name = "index_code_information"
    information = rows(tables, name, runs, ["nats", "log_n"], each=lambda run: 1)
    # empty where there is no bound, which may be so for all runs of a model
    bound = rows(tables, "elbo_by_weight", runs, ["elbo"], each=lambda run: 1, finite=False)
    numbers = sorted(np.exp(information["log_n"].dropna()).round().unique())
    if len(numbers) > 1:
        file, images = tables[name].attrs.get("file", name), ", ".join(f"{n:g}" for n in numbers)
        raise UserError(f"{file}: information about different numbers of images: {images}")
    return Decoders(information, bound, int(numbers[0]))


def caption(
    tables: Mapping[str, pd.DataFrame], images: Images, experiment: Experiment, dataset: str
) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    names = titles(experiment, dataset)
    means = found.information.groupby("model")["nats"].agg(lambda nats: nats.mean(skipna=False))
    said = [
        f"{kind}, {listed(f'{number(means[m])} nats for {names[m]}' for m in finite)}"
        for kind, models in by_decoder(data).items()
        if (finite := [model for model in models if np.isfinite(means[model])])
    ]
    return [
        "Whether models use their code, by the kind of their decoder. I(n; z) is the information "
        f"that the code of a test image has on which of the N = {found.n_images:,} test images it "
        "is of: 0 where the code is ignored, and at most log N.",
        where_text(data),
        f"Mean I(n; z): {'; '.join(said)}." * bool(said),
        "The bound is −(reconstruction + mean KL(q(z|x)‖p(z))) on the test split; only the ELBO "
        "aims at it.",
        _no_bound_text(found.bound, experiment, dataset),
        gaps_text(
            [
                f"{what} of {names[model]}"
                for what, table, value in (
                    ("I(n; z)", found.information, "nats"),
                    ("the bound", found.bound, "elbo"),
                )
                for model, seeds in table.groupby("model", sort=False)[value]
                if seeds.isna().any() and seeds.notna().any()
            ]
        ),
        spread_text(data.seeds) + " Points: single seeds." * (len(data.seeds) > 1),
        "λ is the weight in training.",
        "Reconstructions are from the encoder’s mean.",
        *images_text(images, experiment, dataset),
        "InfoVAE’s authors find that the ELBO gives the code up where a decoder can state each "
        "pixel given those before it, that InfoVAE does not, and that there is nothing to gain "
        "with a simple decoder.",
    ]


def models_without(table: pd.DataFrame, value: str) -> list[str]:
    """The models of which no seed has a finite value."""
    finite = table[value].notna().groupby(table["model"], sort=False).any()
    return list(finite.index[~finite])


def _no_bound_text(bound: pd.DataFrame, experiment: Experiment, dataset: str) -> str:
    """Which models have no bound and why, as a sentence; nothing where all have one."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    reasons: dict[str, list[str]] = {}
    for model in models_without(bound, "elbo"):
        if not OBJECTIVES[experiment.models[model].objective].stochastic:
            reason = "the encoder is deterministic"
        elif not RECONSTRUCTIONS[data.models[model].reconstruction].likelihood:
            reason = "the reconstruction term is no likelihood"
        else:
            reason = "not finite"
        reasons.setdefault(reason, []).append(names[model])
    texts = (f"{listed(models)} ({reason})" for reason, models in reasons.items())
    return f"No bound: {'; '.join(texts)}." if reasons else ""
