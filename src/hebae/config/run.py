"""One run: everything that determines a trained model, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hebae.base.errors import UserError
from hebae.config.fields import from_fields, from_json
from hebae.config.registry import (
    DIVERGENCES,
    NETWORKS,
    OBJECTIVES,
    RECONSTRUCTIONS,
    DivergenceEntry,
    NetworkEntry,
    ObjectiveEntry,
    ReconstructionEntry,
    lookup,
)


def weight_text(lam: float) -> str:
    """λ as paths and tables write it: 0.1, 1, 1e-05."""
    return f"{lam + 0.0:.12g}"  # + 0.0: no minus zero


@dataclass(frozen=True)
class Training:
    """How runs are trained (paper, App. B).

    Each of ``learning_rate_steps`` is (epochs, divisor): after so many epochs the learning rate is
    divided by the divisor.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_decay: float
    learning_rate_steps: tuple[tuple[int, float], ...] = ()
    adam_beta1: float = 0.9
    precision: str = "float32"
    reset_optimiser: str = "never"
    """When Adam's moments are set back to 0: never, before each epoch, or before each step of
    ``learning_rate_steps``."""


LATER = {"reset_optimiser": "never"}
"""The keys of :class:`Training` that finished trainings may lack, with their defaults."""


class Entries(NamedTuple):
    """The entries of the registry that a run uses."""

    objective: ObjectiveEntry
    network: NetworkEntry
    reconstruction: ReconstructionEntry
    divergence: DivergenceEntry | None
    """The entry of the objective's divergence; None if it takes no divergence."""


@dataclass(frozen=True)
class Run:
    """One model on one dataset with one latent dimension, λ and seed.

    ``parameters`` are the objective's keyword arguments. Among them, ``divergence`` is the name of
    a divergence with its parameters. ``network_parameters`` are those of the network pair, and
    ``reconstruction_parameters`` those of the reconstruction term. ``n_train`` is the number of
    training images, None for all of them.
    """

    dataset: str
    model: str
    latent_dim: int
    lam: float
    seed: int
    objective: str
    parameters: dict[str, Any]
    network: str
    network_parameters: dict[str, Any]
    reconstruction: str
    reconstruction_parameters: dict[str, Any]
    training: Training
    n_train: int | None = None

    @property
    def path(self) -> str:
        """Folder of the run below ``runs/``."""
        subset = "" if self.n_train is None else f"/n{self.n_train}"
        model = f"{self.dataset}/{self.model}"
        return f"{model}/z{self.latent_dim}/w{weight_text(self.lam)}{subset}/s{self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that every table begins with."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "latent_dim": self.latent_dim,
            "weight": weight_text(self.lam),
            "seed": self.seed,
        }

    @property
    def divergence(self) -> tuple[DivergenceEntry, dict[str, Any]] | None:
        """The divergence that the objective is given, and its keyword arguments."""
        if "divergence" not in self.parameters:
            return None
        parameters = dict(self.parameters["divergence"])
        return lookup(DIVERGENCES, "divergence", parameters.pop("name")), parameters

    @property
    def entries(self) -> Entries:
        """The entries of the registry that the run uses."""
        return Entries(
            lookup(OBJECTIVES, "objective", self.objective),
            lookup(NETWORKS, "network", self.network),
            lookup(RECONSTRUCTIONS, "reconstruction", self.reconstruction),
            None if self.divergence is None else self.divergence[0],
        )

    @property
    def modules(self) -> list[str]:
        """The modules of :attr:`entries`, whose code decides the run too."""
        functions = [entry.function for entry in self.entries if entry is not None]
        divergence = self.entries.divergence
        if divergence is not None and divergence.adversary is not None:
            functions.append(divergence.adversary)
        return list(dict.fromkeys(function.split(":")[0] for function in functions))

    @property
    def bound(self) -> bool:
        """Whether the paper plots −(reconstruction + regulariser) of this run as a bound."""
        objective, _, reconstruction, divergence = self.entries
        bound = objective.bound and (divergence is None or divergence.bound)
        return bound and reconstruction.likelihood

    @property
    def needs_covariance(self) -> bool:
        """Whether a batch must hold more images than the code has dimensions."""
        divergence = self.entries.divergence
        of_divergence = divergence is not None and divergence.needs_covariance
        return self.entries.objective.needs_covariance or of_divergence

    def to_json(self) -> str:
        """One line of JSON, from which :meth:`from_json` makes the same run.

        The keys are sorted, so another order of a config's keys retrains nothing. Keys that came
        later are left out at their default, so that finished trainings keep their description.
        """
        fields = asdict(self)
        for key, default in LATER.items():
            if fields["training"][key] == default:
                del fields["training"][key]
        return json.dumps(fields, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what :meth:`to_json` wrote. Raises UserError for anything else."""
        return from_json(cls, text)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Run:
        """The run that a ``run.json`` describes. Raises UserError if it describes no run."""
        return from_fields(cls, described(record))


def described(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the run in a ``run.json``, under today's names.

    Earlier versions wrote λ as text, under "weight".

    Raises:
        UserError: for a record that has no such fields.
    """
    try:
        fields = dict(record["run"])
        if "weight" in fields:
            fields["lam"] = float(fields.pop("weight"))
        return fields
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(f"not the record of a run: {error!r}") from None


def read_run(path: Path) -> tuple[Run, dict[str, Any]]:
    """The run that a ``run.json`` describes, and the whole record.

    Raises:
        UserError: for a file that is missing or is no record of a run.
    """
    try:
        record = json.loads(path.read_bytes())
        return Run.from_record(record), record
    except FileNotFoundError:
        raise UserError(f"{path}: no such run; train it first") from None
    except PermissionError:
        raise  # the error says what is wrong, and training again would not help
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path}: not the record of a run ({error}); train it again") from None


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The keys in which two descriptions differ: key, value there, value here, as JSON or "unset".

    A key within another is "training.epochs". 1 and 1.0 are the same.
    """
    flat = dict(_leaves(there)), dict(_leaves(here))
    found = []
    for key in sorted(flat[0].keys() | flat[1].keys()):
        values = [own.get(key) for own in flat]
        if _number(values[0]) and _number(values[1]) and values[0] == values[1]:
            continue
        was, says = (
            json.dumps(own[key], ensure_ascii=False) if key in own else "unset" for own in flat
        )
        if was != says:
            found.append((key, was, says))
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
