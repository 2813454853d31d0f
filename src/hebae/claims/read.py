"""What the papers claim, read from ``config/claims.yaml`` and checked once, at the door.

The shape of that file is stated in ``workflow/schemas/claims.schema.yaml``. A claim says something
of one number a run, its measure: :mod:`.measures` takes it from the tables, :mod:`.statistics` says
what seeds make of it, :mod:`.judge` brings the three together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hebae.base.errors import UserError
from hebae.config.registry import FIGURES, lookup
from hebae.config.schema import check_schema


@dataclass(frozen=True)
class Measure:
    """One number a run, and how it is read."""

    function: str
    """The one of :mod:`hebae.claims.measures` that takes it from the tables."""
    tables: tuple[str, ...]
    text: str
    """What tables and pages call it, with its unit."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reading: str = "paper"
    """Whether it is what the paper looks at, or what is fair where the paper's is not."""
    log: bool = False
    """Whether values compare by their ratio: they are above 0 and spread in proportion."""
    resolution: float = 0.0
    """The step in which it comes: an epoch, or what is left of Monte Carlo error."""


def _bound(column: str, text: str, reading: str) -> dict[str, Measure]:
    """What the paper says of a bound, for one of the bounds."""
    of_run, by_weight = ("elbo_by_epoch",), ("elbo_by_weight",)
    given = {"parameters": {"column": column}, "reading": reading}
    return {
        column: Measure("final", by_weight, f"{text} (nats)", **given),
        f"{column}_epochs": Measure(
            "epochs_to_converge",
            of_run,
            f"epochs until the {text} stays within 1 % of its last",
            **given,
            resolution=1,
        ),
        f"{column}_spread": Measure(
            "spread_over_weights",
            by_weight,
            f"highest less lowest {text} over the weights λ (nats)",
            **given,
        ),
        f"{column}_lost": Measure(
            "lost_at_largest_weight",
            by_weight,
            f"{text} at the default λ less that at the largest (nats)",
            **given,
        ),
    }


def _moments(which: str, of: str, reading: str) -> dict[str, Measure]:
    """How far second moments are from those of the prior."""
    given = {"tables": ("covariance",), "parameters": {"which": which}, "reading": reading}
    return {
        f"covariance_{which}": Measure(
            "covariance_distance", text=f"‖Cov({of}) − I‖", log=True, **given
        ),
        f"correlation_{which}": Measure(
            "off_diagonal_correlation",
            text=f"root mean square correlation of {of} off the diagonal",
            log=True,
            **given,
        ),
    }


def _mean(table: str, column: str, text: str) -> Measure:
    return Measure(
        "mean_over_dimensions",
        (table,),
        text,
        parameters={"table": table, "column": column},
        resolution=0.001,
    )


MEASURES = {
    **_bound("elbo_paper", "paper’s bound", "paper"),
    **_bound("elbo", "per-sample bound", "fair"),
    "importance_weighted": Measure(
        "importance_weighted",
        ("bounds",),
        "importance-weighted bound of most codes (nats)",
        parameters={"column": "bound"},
        reading="fair",
    ),
    "importance_weighted_widened": Measure(
        "importance_weighted",
        ("bounds",),
        "importance-weighted bound of most codes, q widened (nats)",
        parameters={"column": "widened"},
        reading="fair",
    ),
    "reconstruction": Measure(
        "final",
        ("elbo_by_weight",),
        "reconstruction error",
        parameters={"column": "reconstruction"},
    ),
    "fid_range": Measure(
        "fid_range",
        ("fid",),
        "largest over smallest Fréchet distance on the grid of λ",
        log=True,
    ),
    "fid_near_zero": Measure(
        "fid_near_zero",
        ("fid",),
        "Fréchet distance at the smallest λ over that at the default",
        log=True,
    ),
    "fid_best": Measure("fid_best", ("fid",), "lowest Fréchet distance on the grid of λ", log=True),
    "fid_best_inception": Measure(
        "fid_best",
        ("fid",),
        "lowest FID on the grid of λ, in Inception’s features",
        parameters={"features": "inception"},
        log=True,
    ),
    "smallest_variance": Measure(
        "smallest_variance",
        ("active_units",),
        "smallest variance of a latent variable’s mean",
        log=True,
        resolution=0.001,
    ),
    "noise_deviation": Measure(
        "noise_deviation",
        ("active_units",),
        "standard deviation of z given x, root mean square",
        log=True,
    ),
    **_moments("mean", "μ", "paper"),
    **_moments("sample", "z", "fair"),
    "mic": _mean("mutual_information", "mic", "average MIC"),
    "tic": _mean("mutual_information", "tic", "average TIC"),
    "index_code_information": _mean("index_code_information", "nats", "I(n; z) (nats)"),
    "prior_mmd": Measure(
        "distance_to_prior",
        ("diagnostics",),
        "MMD² of the codes of all training images to the prior",
        parameters={"column": "mmd"},
    ),
    "prior_log_det": Measure(
        "distance_to_prior",
        ("diagnostics",),
        "|log det| of the covariance of the codes of all training images",
        parameters={"column": "log_det"},
    ),
}


TABLES = frozenset(table for measure in MEASURES.values() for table in measure.tables)
"""Those that any measure is taken from."""

OURS = "ours"
"""``where`` of a claim that neither paper makes."""


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper with a test: all that is set of the last five has to hold.

    At each latent dimension that it is made at, for each pair of neighbours in a chain of
    ``order`` the second has the higher measure, by more than ``margin``; models of ``above`` have
    more than that value, of ``below`` less; the two of ``equal`` differ by less than ``tolerance``,
    a share of the second's where ``relative``; and in ``contrast`` (a, b, c, d) a − b is more than
    c − d, by more than ``margin``.
    """

    id: str
    statement: str
    where: str
    figures: tuple[str, ...]
    measures: tuple[str, ...]
    sources: tuple[str, ...]
    """The datasets that it is made for, as in ``source``; any where empty."""
    every_latent_dim: bool
    seeds: int
    """Fewer decide nothing."""
    interval: str = "t"
    """How intervals are taken, t or bootstrap (:mod:`hebae.claims.statistics`)."""
    order: tuple[tuple[str, ...], ...] = ()
    above: Mapping[str, float] = field(default_factory=dict)
    below: Mapping[str, float] = field(default_factory=dict)
    equal: tuple[tuple[str, ...], ...] = ()
    contrast: tuple[str, ...] = ()
    margin: float = 0.0
    tolerance: float = 0.0
    relative: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """Labels of the models it speaks of."""
        compared = [model for chain in (*self.order, *self.equal) for model in chain]
        return tuple(dict.fromkeys((*compared, *self.above, *self.below, *self.contrast)))


@dataclass(frozen=True)
class Claims:
    """A checked file of claims."""

    level: float
    """Of false verdicts in the family of all claims of an experiment (Holm 1979)."""
    claims: tuple[Claim, ...]

    def check_named(self, names: Iterable[str]) -> None:
        """Refuse a name that is no claim's id, by a UserError."""
        for name in names:
            lookup({claim.id: claim for claim in self.claims}, "claim", name)


def parse(document: Any, schema: Mapping[str, Any]) -> Claims:
    """Check a document against the schema and against what there is.

    Raises:
        UserError: naming what is wrong, in one line.
    """
    check_schema(document, schema, "claims")
    seen: set[str] = set()
    claims = []
    for fields in document["claims"]:
        where = f"claims: {fields['id']}"
        if fields["id"] in seen:
            raise UserError(f"{where}: two claims have this id")
        seen.add(fields["id"])
        try:
            for figure in fields["figures"]:
                lookup(FIGURES, "figure", figure)
            for measure in fields["measures"]:
                lookup(MEASURES, "measure", measure)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        claims.append(_claim(where, fields, document["seeds"]))
    return Claims(document["level"], tuple(claims))


def read_claims(path: Path, schema: Path) -> Claims:
    """The claims of a YAML file, checked."""
    try:
        return parse(yaml.safe_load(path.read_text()), yaml.safe_load(schema.read_text()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def _claim(where: str, fields: Mapping[str, Any], seeds: int) -> Claim:
    tolerance = fields.get("tolerance", {})
    for key in fields.get("above", {}).keys() & fields.get("below", {}).keys():
        if fields["above"][key] >= fields["below"][key]:
            raise UserError(f"{where}: nothing is above and below that for {key}")
    if any(
        MEASURES[measure].log and value <= 0
        for measure in fields["measures"]
        for value in (*fields.get("above", {}).values(), *fields.get("below", {}).values())
    ):
        raise UserError(f"{where}: a measure that compares by ratio needs values above 0")
    return Claim(
        id=fields["id"],
        statement=fields["statement"],
        where=fields["where"],
        figures=tuple(fields["figures"]),
        measures=tuple(fields["measures"]),
        sources=tuple(fields.get("datasets", ())),
        every_latent_dim=fields.get("latent_dims") == "all",
        seeds=fields.get("seeds", seeds),
        interval=fields.get("interval", "t"),
        order=tuple(tuple(chain) for chain in fields.get("order", ())),
        above=dict(fields.get("above", {})),
        below=dict(fields.get("below", {})),
        equal=tuple(tuple(pair) for pair in fields.get("equal", ())),
        contrast=tuple(fields.get("contrast", ())),
        margin=fields.get("margin", 0.0),
        tolerance=next(iter(tolerance.values()), 0.0),
        relative="relative" in tolerance,
    )
