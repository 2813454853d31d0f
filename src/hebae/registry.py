"""Names a config may use, and where each of them lives.

Entries are ``module:function`` strings, so that reading a config imports no torch, and so
that editing one objective retrains the runs of that objective alone (see
:mod:`hebae.sources`; this table itself is not counted as a source of any result).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hebae.errors import UserError


@dataclass(frozen=True)
class Objective:
    """A training objective, and what has to be known of it without importing it."""

    function: str
    stochastic: bool = True
    """Whether the encoder outputs a log σ beside the mean."""
    bound: bool = True
    """Whether −(reconstruction + regulariser) is what the paper plots as a bound."""
    needs_covariance: bool = False
    """Whether a batch must hold more images than the code has dimensions."""
    parameters: tuple[str, ...] = ()
    """Keyword arguments of the function that a config may set."""


OBJECTIVES = {
    "vae": Objective("hebae.objectives.vae:vae"),
    "hebae": Objective(
        "hebae.objectives.hebae:hebae", needs_covariance=True, parameters=("reparameterisation",)
    ),
    "wae_mmd": Objective(
        "hebae.objectives.wae:wae_mmd",
        stochastic=False,
        bound=False,
        parameters=("prior_variance", "scales"),
    ),
}

NETWORKS = {"dense": "hebae.networks.dense:build"}

RECONSTRUCTIONS = {"bernoulli": "hebae.reconstruction:bernoulli"}


@dataclass(frozen=True)
class Dataset:
    """A dataset, and what has to be known of it to check a config before anything is run."""

    function: str
    n_train: int
    n_test: int
    n_classes: int


DATASETS = {
    "digits": Dataset("hebae.datasets.digits:load", n_train=1297, n_test=500, n_classes=10),
    "mnist": Dataset("hebae.datasets.mnist:load", n_train=60_000, n_test=10_000, n_classes=10),
}


@dataclass(frozen=True)
class Figure:
    """A figure: the tables it is drawn from, and whether it needs a model with a bound."""

    tables: tuple[str, ...] = ()
    needs_bound: bool = False


FIGURES = {
    "fig1a": Figure(("elbo_by_epoch", "elbo_by_weight"), needs_bound=True),
    "fig2a": Figure(("covariance",)),
    "fig2c": Figure(("mutual_information",)),
    "appendix_c": Figure(),
}


def lookup(table: Mapping[str, Any], kind: str, name: str) -> Any:
    """The entry of a registry, or an error that lists the names there are."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; there are: {', '.join(table)}")
    return table[name]


def resolve(entry: str) -> Callable[..., Any]:
    """Import the function a ``module:function`` entry names."""
    return pkgutil.resolve_name(entry)
