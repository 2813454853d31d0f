"""An experiment: what a config asks for, as frozen dataclasses, and the runs that it has.

After :mod:`hebae.config.parse`, no code reads the config as a dictionary.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from hebae.config.fields import from_json
from hebae.config.protocols import (
    Bounds,
    Diagnostics,
    Fid,
    MutualInformation,
    Panels,
    Stability,
)
from hebae.config.registry import COMPARED, NOISES, PLAIN
from hebae.config.run import Run, Training


@dataclass(frozen=True)
class Model:
    """A model: its label in the config, its objective with parameters, and its name in figures."""

    name: str
    title: str
    objective: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How one model is trained on one dataset: weights λ, protocol, network, reconstruction.

    ``parameters`` are the parameters of the objective that differ on this dataset.
    """

    default: float
    grid: tuple[float, ...]
    parameters: dict[str, Any]
    training: Training
    network: str
    network_parameters: dict[str, Any]
    reconstruction: str
    reconstruction_parameters: dict[str, Any]
    latent_dims: tuple[int, ...] | None = None
    """Some of the dataset's latent dimensions, with the main one; None for all of them."""


@dataclass(frozen=True)
class Dataset:
    """One dataset of an experiment, with everything that is trained and measured on it.

    ``name`` is the label in the config, ``source`` the dataset whose images are used.
    """

    name: str
    source: str
    title: str
    latent_dims: tuple[int, ...]
    main_latent_dim: int
    seeds: tuple[int, ...]
    weight_seeds: tuple[int, ...]
    weight_latent_dims: tuple[int, ...]
    models: dict[str, Recipe]
    mutual_information: MutualInformation
    bounds: Bounds
    panels: Panels
    fid: Fid | None
    diagnostics: Diagnostics | None
    training_sizes: tuple[int, ...] = ()
    """Sizes of the smaller training sets for extra runs, at the main latent dimension."""
    stability: Stability | None = None


class Word(StrEnum):
    """What the user decided about finished trainings that differ from what is asked for."""

    ASK = "ask"
    """Nothing was decided: a finished training that would be repeated is an error."""
    KEEP = "keep"
    """Keep them as they are."""
    REPLACE = "replace"
    """Train them again."""
    RESTORE = "restore"
    """Train nothing: take any finished training of the same config on the same images."""


@dataclass(frozen=True)
class Execution:
    """How an experiment is executed; this changes no result."""

    data_dir: str
    """The folder of raw data."""
    device: str
    word: Word
    """What to do with finished trainings that differ from what is asked for."""
    pack: int
    """The largest number of runs that are trained as one stack."""
    figure_width: float
    """Of every figure, in inches."""


@dataclass(frozen=True)
class Experiment:
    """An experiment, from a checked config."""

    name: str
    models: dict[str, Model]
    datasets: dict[str, Dataset]
    figures: dict[str, str]
    """The dataset of each figure, by the figure's name."""
    claims: tuple[str, ...] = ()
    """Ids of the claims by which it is judged; if empty, all claims that it can judge."""

    def run(
        self,
        dataset: str,
        model: str,
        latent_dim: int,
        lam: float,
        seed: int,
        n_train: int | None = None,
    ) -> Run:
        """The run of a dataset, model, latent dimension, weight and seed."""
        data, label = self.datasets[dataset], self.models[model]
        trained = data.models[model]
        return Run(
            dataset=dataset,
            model=model,
            latent_dim=latent_dim,
            lam=lam,
            seed=seed,
            objective=label.objective,
            parameters={**label.parameters, **trained.parameters},
            network=trained.network,
            network_parameters=trained.network_parameters,
            reconstruction=trained.reconstruction,
            reconstruction_parameters=trained.reconstruction_parameters,
            training=trained.training,
            n_train=n_train,
        )

    def default_runs(self) -> Iterator[Run]:
        """Every model at its default weight, at every latent dimension and seed."""
        for data in self.datasets.values():
            for model, recipe in data.models.items():
                for latent_dim in recipe.latent_dims or data.latent_dims:
                    for seed in data.seeds:
                        yield self.run(data.name, model, latent_dim, recipe.default, seed)

    def default_runs_of(self, dataset: str) -> list[Run]:
        """Every model of a dataset at its default weight and main latent dimension, each seed."""
        latent_dim = self.datasets[dataset].main_latent_dim
        runs = self.default_runs()
        return [run for run in runs if (run.dataset, run.latent_dim) == (dataset, latent_dim)]

    def weight_runs(self) -> Iterator[Run]:
        """The runs on the grids of weights, including those at the default weight."""
        for data in self.datasets.values():
            for model, recipe in data.models.items():
                trained = recipe.latent_dims or data.latent_dims
                for latent_dim in data.weight_latent_dims:
                    for lam in recipe.grid if latent_dim in trained else ():
                        for seed in data.weight_seeds:
                            yield self.run(data.name, model, latent_dim, lam, seed)

    def diagnostics_runs(self) -> Iterator[Run]:
        """Default runs of datasets with diagnostics, and their runs on smaller training sets."""
        for run in self.default_runs():
            if self.datasets[run.dataset].diagnostics is not None:
                yield run
        for data in self.datasets.values():
            for model, recipe in data.models.items():
                for size in data.training_sizes:
                    for seed in data.seeds:
                        yield self.run(
                            data.name, model, data.main_latent_dim, recipe.default, seed, size
                        )

    def runs(self) -> list[Run]:
        """Every run of the experiment that uses all training images, once."""
        return list({run.path: run for run in (*self.default_runs(), *self.weight_runs())}.values())

    def fid_runs(self) -> Iterator[Run]:
        """Every run whose samples are compared with real images by Fréchet distance."""
        return (run for run in self.runs() if self.datasets[run.dataset].fid is not None)

    def fid_of(self, run: Run) -> Fid | None:
        """How a run's distances are measured: off the default weight, of the prior alone.

        A grid of weights asks how the prior's samples depend on the weight, and is large.
        """
        data = self.datasets[run.dataset]
        if data.fid is None or run.lam == data.models[run.model].default:
            return data.fid
        return replace(data.fid, samplings=())

    def smoothness_runs(self) -> Iterator[Run]:
        """Default runs whose decoder gives an image's mean from its code alone."""
        return (run for run in self.default_runs() if not run.entries.network.autoregressive)

    def bounds_runs(self) -> Iterator[Run]:
        """Default runs for which log p(x) can be bounded: those with a likelihood.

        A deterministic encoder has a bound too, with q(z|x) widened (docs/bounds.md).
        """
        return (run for run in self.default_runs() if run.entries.reconstruction.likelihood)

    def stability_runs(self) -> Iterator[Run]:
        """Default runs around which short ones are trained: at the main latent dimension."""
        for run in self.default_runs():
            data = self.datasets[run.dataset]
            if data.stability is not None and run.latent_dim == data.main_latent_dim:
                yield run

    def batch_sizes(self, dataset: str) -> dict[str, dict[int, str]]:
        """The models that are the same but for the batch size, by the first of them.

        Of each, the models by batch size, from the smallest on. The number of epochs and the decay
        of the learning rate may differ too, because they count in epochs, which have fewer steps
        where batches are larger. Models without such a twin are left out.
        """
        groups: dict[str, dict[int, str]] = {}
        first: dict[str, str] = {}
        for run in self.main_runs(dataset):
            by_steps = {"batch_size": 0, "epochs": 0, "learning_rate_decay": 1}
            training = replace(run.training, **by_steps, learning_rate_steps=())
            alike = replace(run, model="", training=training).to_json()
            sizes = groups.setdefault(first.setdefault(alike, run.model), {})
            sizes.setdefault(run.training.batch_size, run.model)
        return {
            model: dict(sorted(sizes.items())) for model, sizes in groups.items() if len(sizes) > 1
        }

    def noises_and_divergences(self, dataset: str) -> dict[tuple[str, str], str]:
        """The models that are a noise with a divergence and nothing else, by (noise, divergence).

        They are in the order of NOISES and of COMPARED of the registry. The L2 norm of codes
        without noise counts as the per-sample KL, of which it is what is left. Models with a
        parameter that is not PLAIN, and a second model of the same noise and divergence, are left
        out.
        """
        found: dict[tuple[str, str], str] = {}
        for run in self.main_runs(dataset):
            objective, *_, divergence = run.entries
            own = dict(run.parameters)
            asked = dict(own.pop("divergence", {}))
            name = asked.pop("name", None) or objective.charges
            if divergence is not None:
                name = divergence.stands_for or name
            plain = all(PLAIN.get(key, value) == value for key, value in (own | asked).items())
            if name in COMPARED and plain:
                found.setdefault((objective.noise, name), run.model)
        cells = itertools.product(NOISES, COMPARED)
        return {cell: found[cell] for cell in cells if cell in found}

    def main_runs(self, dataset: str) -> list[Run]:
        """One run of each model: main latent dimension, default weight, first seed."""
        data = self.datasets[dataset]
        return [
            self.run(dataset, model, data.main_latent_dim, recipe.default, data.seeds[0])
            for model, recipe in data.models.items()
        ]

    def to_json(self) -> str:
        """One line of JSON, from which :meth:`from_json` makes the same experiment."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """Read what :meth:`to_json` wrote."""
        return from_json(cls, text)
