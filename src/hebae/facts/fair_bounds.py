"""What the paper plots as a bound, what it leaves out, and the bounds that can be compared.

HEBAE’s −(reconstruction + R) leaves mean KL(q(z|x) ‖ p) − R out of a bound on log p(x): I(n; z)
and KL(q(z) ‖ p) − R (Hoffman & Johnson 2016; Eq. 10; docs/bounds.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import counted, listed, number
from hebae.config.experiment import Experiment
from hebae.config.registry import RECONSTRUCTIONS
from hebae.facts.text import (
    spread_text,
    titles,
    weights_text,
    where_text,
)
from hebae.tables.rows import rows


class FairBounds(NamedTuple):
    """Of the runs at the main latent dimension and the default weights."""

    runs: pd.DataFrame
    """A row a model and seed, in nats, NaN where not finite: the bounds `paper`, `per_sample` and
    `tightest`; `left_out` by the paper’s; `information`, I(n; z); and `width`, by which q(z|x) was
    widened for `tightest`, or for one of the bounds of which it is the higher."""
    models: list[str]
    of_paper: list[str]
    """The models that have a bound in the paper."""
    leaving: list[str]
    """Those whose bound in the paper leaves something out."""
    deterministic: list[str]
    """Those that have no per-sample bound, because their q(z|x) has no density."""
    samples: int
    """Codes an image of `tightest`."""
    n_images: int
    """Of how many test images `tightest` is."""
    n_test: int
    """All of them, of which the rest is."""
    n_pilot: int | None
    """On how many other images the width was chosen. None of a table from before there were any:
    its widths were chosen on evaluated images and 0 was none of them, so that the higher of two
    bounds is the tightest, and it has no deterministic encoders."""

    @property
    def means(self) -> pd.DataFrame:
        """Over seeds, by model; NaN where a seed has no value."""
        of_models = self.runs.drop(columns="seed").groupby("model")
        return of_models.agg(lambda seeds: seeds.mean(skipna=False)).loc[self.models]


def measured(
    tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str
) -> FairBounds:
    """What the tables say of the models with a bound on log p(x)."""
    data = experiment.datasets[dataset]
    runs = [
        run
        for run in experiment.bounds_runs()
        if run.dataset == dataset and run.latent_dim == data.main_latent_dim
    ]
    apart = "n_pilot" in tables["bounds"]
    if not apart:
        runs = [run for run in runs if run.entries.objective.stochastic]
    if not runs:
        raise UserError(f"config: figures.fair_bounds: no model of {dataset} has a bound on log p")

    def read(name: str, values: Sequence[str], by: Sequence[str] = (), each: int = 1):
        return rows(tables, name, runs, values, by, lambda run: each, finite=False)

    by_weight = read("elbo_by_weight", ["elbo_paper", "elbo"])
    information = read("index_code_information", ["nats", "log_n"])
    values = ["bound", "widened", "width", "n_images", *["n_pilot"] * apart]
    bounds = read("bounds", values, ["samples"], len(data.bounds.samples))
    # not numbers of a diverged run
    n_test = _the_same(tables, "index_code_information", np.exp(information["log_n"]))
    n_images = _the_same(tables, "bounds", bounds["n_images"])
    n_pilot = _the_same(tables, "bounds", bounds["n_pilot"]) if apart else None
    samples = int(bounds["samples"].max())

    keys = ["model", "seed"]
    found = by_weight.merge(information, on=keys).merge(
        bounds[bounds["samples"] == samples], on=keys
    )
    same = np.isclose(found["elbo_paper"], found["elbo"], rtol=1e-9)  # but for rounding
    table = found[keys].assign(
        paper=found["elbo_paper"],
        per_sample=found["elbo"],
        tightest=found["widened"]
        if apart
        else found[["bound", "widened"]].max(axis=1, skipna=False),
        left_out=(found["elbo_paper"] - found["elbo"]).mask(same, 0),
        information=found["nats"],
        width=found["width"],
    )
    models = list(dict.fromkeys(run.model for run in runs))
    of_paper = list(dict.fromkeys(run.model for run in runs if run.bound))
    leaving = [model for model in of_paper if experiment.models[model].objective == "hebae"]
    deterministic = list(
        dict.fromkeys(run.model for run in runs if not run.entries.objective.stochastic)
    )
    return FairBounds(
        table, models, of_paper, leaving, deterministic, samples, n_images, n_test, n_pilot
    )


def _the_same(tables: Mapping[str, pd.DataFrame], name: str, counts: pd.Series) -> int:
    """The number of images that all rows of a table are about."""
    numbers = sorted(counts.dropna().round().unique())
    if len(numbers) != 1:
        file, images = tables[name].attrs.get("file", name), ", ".join(f"{n:g}" for n in numbers)
        raise UserError(f"{file}: its rows are about different numbers of images: {images}")
    return int(numbers[0])


def caption(tables: Mapping[str, pd.DataFrame], experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    data, found = experiment.datasets[dataset], measured(tables, experiment, dataset)
    several = len(data.seeds) > 1
    return [
        _conclusion(found, experiment, dataset),
        *_paper_text(found, experiment, dataset),
        "“What can be compared”: lower bounds on log p(x). Open marks: the per-sample bound, "
        "−(reconstruction + mean KL(q(z|x) ‖ p)), on all test images. Filled marks: the tightest "
        + _tightest_text(found, experiment, dataset),
        ("On the same images, the" if found.n_images < found.n_test else "The")
        + " distance between the two marks is at most the mean KL(q(z|x) ‖ p(z|x)): a long line "
        "says that q(z|x) is a poor posterior, not that p(x) is low.",
        where_text(data),
        weights_text(experiment, dataset),
        spread_text(data.seeds, "large marks and numbers", "bars"),
        "Small marks: single seeds." * several,
        _gaps_text(found, experiment, dataset),
        _grey_text(experiment, dataset),
        _left_out_text(experiment, dataset, found.models),
    ]


def _tightest_text(found: FairBounds, experiment: Experiment, dataset: str) -> str:
    """How the importance-weighted bound is measured."""
    widths = found.runs["width"].dropna()
    s = " to ".join(dict.fromkeys(f"{width:.3g}" for width in (widths.min(), widths.max())))
    s = f"(s = {s})" if len(widths) else "for some s"
    which = f"the first {found.n_images:,}" if found.n_images < found.n_test else "all"
    text = f"importance-weighted bound, of {found.samples:,} codes an image on {which} test images"
    if found.n_pilot is None:
        return (
            f"{text}; the codes are drawn from q(z|x), or from q(z|x) widened by the covariance "
            f"s²I {s}, whichever gives the higher bound."
        )
    names = titles(experiment, dataset)
    of = listed(names[model] for model in found.deterministic)
    return (
        f"{text}; the codes are drawn from q(z|x) widened by the covariance s²I {s}. For each run "
        "s is the smallest that is at most one standard error below the best on "
        f"{counted(found.n_pilot, 'other test image')}; s = 0 leaves q(z|x) as it is."
        + f" The encoder of {of} is deterministic: there is no per-sample bound, and q(z|x) "
        "widened is N(μ, s²I)." * bool(of)
    )


def _conclusion(found: FairBounds, experiment: Experiment, dataset: str) -> str:
    """How far HEBAE is from the VAE by each bound; without both, the tightest bounds."""
    names, means = titles(experiment, dataset), found.means
    first = {experiment.models[model].objective: model for model in reversed(found.models)}
    by = {
        "paper": "what the paper plots",
        "per_sample": "the per-sample bound",
        "tightest": "the tightest bound",
    }
    if {"hebae", "vae"} <= first.keys():
        hebae, vae = first["hebae"], first["vae"]
        texts = []
        for column, apart in (means.loc[hebae] - means.loc[vae])[list(by)].dropna().items():
            where = "above" if apart > 0 else "below" if apart < 0 else "from"
            other = "it" if texts else f"the {names[vae]}"
            texts.append(f"{number(abs(apart))} nats {where} {other} by {by[column]}")
        if texts:
            return f"{names[hebae]} is {listed(texts)}." + _of_deterministic(found, names, hebae)
    tightest = means["tightest"].dropna().sort_values(ascending=False).items()
    texts = [f"{number(mean)} nats for {names[model]}" for model, mean in tightest]
    return f"By the tightest bound, log p(x) is at least {listed(texts)}." if texts else ""


def _of_deterministic(found: FairBounds, names: Mapping[str, str], hebae: str) -> str:
    """How far models with a deterministic encoder are from HEBAE, by the one bound they have."""
    tightest, texts = found.means["tightest"], []
    for model, apart in (tightest[found.deterministic] - tightest[hebae]).dropna().items():
        where = "above" if apart > 0 else "below" if apart < 0 else "from"
        texts.append(f"{names[model]} is {number(abs(apart))} nats {where} {names[hebae]}")
    return f" By the tightest bound {listed(texts)}." if texts else ""


def _paper_text(found: FairBounds, experiment: Experiment, dataset: str) -> list[str]:
    """What the paper plots and what it leaves out."""
    if not found.leaving:
        return []
    names, means = titles(experiment, dataset), found.means
    others = listed(names[model] for model in found.of_paper if model not in found.leaving)
    leaving = listed(names[model] for model in found.leaving)
    left_out = means.loc[found.of_paper, "left_out"].dropna()
    texts = [f"{number(mean)} nats for {names[model]}" for model, mean in left_out.items()]
    shorter = means["left_out"] < means["information"]
    return [
        "“What the paper plots”: −(reconstruction + R). The regulariser R is "
        + f"the mean KL(q(z|x) ‖ p) for {others}, and " * bool(others)
        + "the KL divergence of the Gaussian that is fitted to all images’ mean codes for "
        f"{leaving}.",
        "“What it leaves out”: the part of mean KL(q(z|x) ‖ p) = I(n; z) + KL(q(z) ‖ p) that R "
        "does not count" + f", {listed(texts)}" * bool(texts) + ".",
        f"A bound on log p(x) has to count it, so −(reconstruction + R) of {leaving} is no bound.",
        "Dark: I(n; z), the information between image and code. Light: the rest, which is there "
        "because q(z), the distribution of all codes, is not that Gaussian."
        * bool(means["information"].notna().any()),
        "Where R is larger than KL(q(z) ‖ p), the bar is shorter than I(n; z)."
        * bool(shorter[found.leaving].any()),
        "The paper has no such figure: it compares −(reconstruction + R) of HEBAE, which is no "
        "bound, with a VAE’s bound.",
    ]


def _gaps_text(found: FairBounds, experiment: Experiment, dataset: str) -> str:
    """Which models lack a mean that the figure would show."""
    names = titles(experiment, dataset)
    gaps = found.means["tightest"].isna()
    gaps |= found.means["per_sample"].isna() & ~gaps.index.isin(found.deterministic)
    gaps[found.of_paper] |= (
        found.means.loc[found.of_paper, ["paper", "left_out", "information"]].isna().any(axis=1)
    )
    gone = listed(names[model] for model in found.models if gaps[model])
    return f"“Not finite”, or no mark: a seed of {gone} has no finite value." if gone else ""


def _grey_text(experiment: Experiment, dataset: str) -> str:
    models = experiment.datasets[dataset].models.values()
    if all(model.reconstruction != "bernoulli" for model in models):
        return ""
    return "Grey values count as probabilities, so p(x|z) is not normalised over grey images."


def _left_out_text(experiment: Experiment, dataset: str, shown: Sequence[str]) -> str:
    """Which models have no bound and why; nothing where all have one."""
    reasons: dict[str, list[str]] = {}
    for model, name in titles(experiment, dataset).items():
        if model not in shown:
            term = experiment.datasets[dataset].models[model].reconstruction
            reason = "the reconstruction term is no likelihood"
            if RECONSTRUCTIONS[term].likelihood:  # of a table without deterministic encoders
                reason = "deterministic encoder"
            reasons.setdefault(reason, []).append(name)
    texts = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"No bound: {'; '.join(texts)}." if reasons else ""
