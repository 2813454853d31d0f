"""At which learning rates and initial weights a model fails to train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import counted, interval, listed, number
from hebae.config.experiment import Experiment
from hebae.config.run import weight_text
from hebae.facts.text import titles
from hebae.tables.rows import rows

FACTOR, SCALE, NORM = "learning_rate_factor", "initial_scale", "batch_norm"
"""The columns that tell the trainings of a run apart."""
OUTCOMES = ("trained", "failed", "diverged")


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> pd.DataFrame:
    """A row a training, of every run's whole grid.

    Columns besides those of the table: `fails`, whether it did not end as `trained`; and `level`,
    its reconstruction error, but at most that of the best constant image, which is also the level
    of a training that diverged. `batch_norm` is "" for a network without.
    """
    asked = experiment.datasets[dataset].stability
    if asked is None:
        raise UserError(f"config: figures.stability: {dataset!r} has no stability block")
    table = tables["stability"]
    file = table.attrs.get("file", "stability")
    if NORM in table:
        # a column without any text is read as numbers
        table = table.assign(**{NORM: table[NORM].astype(object).where(table[NORM].notna(), "")})
        table.attrs["file"] = file
    runs = [run for run in experiment.stability_runs() if run.dataset == dataset]
    norms = dict.fromkeys(norm for run in runs for norm in run.entries.network.batch_norms)
    found = pd.concat(
        rows(
            {"stability": table},
            "stability",
            [run for run in runs if norm in run.entries.network.batch_norms],
            ["reconstruction", "constant_image"],
            by=[SCALE, FACTOR],
            each=lambda run: len(asked.initial_scales) * len(asked.learning_rate_factors),
            finite=False,
            texts=["outcome"],
            **{NORM: norm or ""},
        )
        for norm in norms
    )
    if unknown := sorted(set(map(str, found["outcome"])) - set(OUTCOMES)):
        raise UserError(f"{file}: unknown outcome {unknown[0]!r}; there are: {', '.join(OUTCOMES)}")
    level = found["reconstruction"].clip(upper=found["constant_image"])
    level = level.where(found["outcome"] != "diverged", found["constant_image"])
    return found.assign(fails=found["outcome"] != "trained", level=level)


def shares(found: pd.DataFrame) -> pd.DataFrame:
    """The share of the trainings of a model and seed that fail, as `fails`."""
    return found.groupby(["model", "seed"], sort=False, as_index=False)["fails"].mean()


def percent(share: float) -> str:
    """A share in per cent: 58 %, 22.5 %."""
    return f"{100 * share:.3g} %"


def _of_norms(found: pd.DataFrame, names: Mapping[str, str]) -> str:
    """The shares of each batch normalisation, which those of the models are means of."""
    if found[NORM].nunique() < 2:
        return ""
    texts = []
    for norm, own in found.groupby(NORM, sort=False):
        of_models = own.groupby("model", sort=False)["fails"].mean()
        of = listed(f"{percent(share)} for {names[model]}" for model, share in of_models.items())
        texts.append(f"{norm}, {of}")
    return (
        "These shares are over two batch normalisations: trained, as in the text, or frozen, as in "
        f"the released code. By kind: {'; '.join(texts)}."
    )


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    found, asked = measured(tables, experiment, dataset), data.stability
    by_seed = shares(found)
    failed = []
    for model, title in names.items():
        own = by_seed[by_seed["model"] == model]["fails"]
        cells = found[found["model"] == model]
        diverged = int((cells["outcome"] == "diverged").sum())
        spread = own.min() < own.max()
        several = f" ({percent(own.min())} to {percent(own.max())} over seeds)" * bool(spread)
        some = f", {counted(diverged, 'training')} by diverging" * (diverged > 0)
        failed.append(f"{title} fails in {percent(own.mean())} of trainings{several}{some}.")
    of_rates: dict[str, list[str]] = {}
    for model, title in names.items():
        rate = weight_text(data.models[model].training.learning_rate)
        of_rates.setdefault(rate, []).append(title)
    rates = listed(
        rate + f" for {listed(own)}" * (len(of_rates) > 1) for rate, own in of_rates.items()
    )
    constants = found["constant_image"]
    alike = np.isclose(constants.min(), constants.max(), rtol=1e-6)
    error = number(constants.min()) if alike else interval(constants.min(), constants.max())
    images = f" on {asked.images:,} images" if asked.images is not None else ""
    return [
        f"Where training fails within {counted(asked.epochs, 'epoch')}{images}. "
        f"{data.title}, latent dimension {data.main_latent_dim}.",
        f"Learning rates are multiples of each model’s own, {rates}; initial weights are multiples "
        "of the network’s own.",
        "A training fails if it ends with training images reconstructed no better than by the best "
        f"constant image, whose error is {error}, or if it diverges: a value is not finite or the "
        "covariance of a batch singular.",
        *failed,
        _of_norms(found, names),
        "Colours: reconstruction error of the training images in the last epoch, mean over "
        f"{counted(len(data.seeds), 'seed')}; a training that fails counts as the best constant "
        "image.",
        f"Numbers: in how many of {counted(len(data.seeds), 'seed')} training fails; none where it "
        "never does.",
        "The paper calls HEBAE computationally stable, easier to train than other approaches and "
        "more robust to initial hyperparameters than the VAE; it shows no such experiment.",
    ]
