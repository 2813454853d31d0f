"""Average MIC and TIC by latent dimension and model (Fig. 2c, 2d)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.text import listed
from hebae.config.experiment import Experiment
from hebae.config.registry import OBJECTIVES
from hebae.facts.text import (
    epochs_text,
    has_hebae,
    protocol_text,
    spread_text,
    titles,
    weights_text,
)
from hebae.tables.rows import rows

LABELS = {"mic": "average MIC", "tic": "average normalised TIC"}


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """`mic` and `tic` of every run, averages over its latent variables."""
    table = rows(
        tables,
        "mutual_information",
        [run for run in experiment.default_runs() if run.dataset == dataset],
        list(LABELS),
        by=["dimension"],
        each=lambda run: run.latent_dim,
        protocol=experiment.datasets[dataset].mutual_information.protocol,
    )
    of_runs = table.groupby(["model", "latent_dim", "seed"], sort=False)[list(LABELS)]
    # an average over some of the latent variables is none
    return of_runs.agg(lambda values: values.to_numpy().mean()).reset_index()


def tied_models(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> list[str]:
    """The titles of the models whose TIC ties raise, beside others whose it does not.

    Draws of a deterministic encoder's code are all equal. Tables from before equal codes were told
    apart at random do not say in the column ``ties`` that they are.
    """
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    table = tables["mutual_information"]
    broken = table["ties"] == "broken" if "ties" in table else pd.Series(False, table.index)
    old = set(table["model"][(table["dataset"] == dataset) & ~broken])
    tied = [m for m in names if not OBJECTIVES[experiment.models[m].objective].stochastic]
    alike = data.mutual_information.protocol != "indices_draws" or len(tied) == len(names)
    return [] if alike else [names[model] for model in tied if model in old]


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, table = experiment.datasets[dataset], measured(tables, experiment, dataset)
    tied = tied_models(tables, experiment, dataset)
    draws = data.mutual_information.protocol == "indices_draws"
    diverged = not np.isfinite(table[list(LABELS)]).all(axis=None)
    return [
        "How much a latent variable tells of the image: MIC and TIC, averaged over a run’s latent "
        f"variables, on the test split. {data.title}, after {epochs_text(data)}.",
        weights_text(experiment, dataset),
        protocol_text(data.mutual_information),
        f"TIC cannot rank {listed(tied)} against the other models, so verdicts on that order are "
        "withdrawn: this table is from before equal codes were told apart at random, and minepy "
        "scores codes whose draws of an image are all equal about 0.06 higher than the same codes "
        "with a little noise."
        if tied
        else "",
        "The paper reports, on MNIST and on CelebA, that both are far lowest for the VAE, highest "
        "for the WAE and in between for HEBAE. It does not state its protocol."
        if has_hebae(experiment, dataset)
        else "",
        "MIC depends on the number of draws: with one an image, it would be the same for any "
        "encoder. The index-code information I(n; z) needs no such choice; it has a table."
        if draws
        else "",
        spread_text(data.seeds, "marks and numbers"),
        "Small points: single seeds." if len(data.seeds) > 1 else "",
        "A model has no mean where a run diverged." if diverged else "",
    ]
