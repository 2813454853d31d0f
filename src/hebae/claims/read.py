"""Reads the claims in ``config/claims.yaml``, and checks them once.

``workflow/schemas/claims.schema.yaml`` states the shape of that file. A claim is about one number
for each run, its measure. :mod:`.measures` takes it from the tables, :mod:`.statistics` tests it
over seeds, and :mod:`.judge` combines the three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hebae.base.checkout import CHECKOUT
from hebae.base.errors import UserError
from hebae.claims.measures import MEASURES
from hebae.config.registry import FIGURES, lookup
from hebae.config.schema import check_schema

CLAIMS = CHECKOUT / "config/claims.yaml"
CLAIMS_SCHEMA = CHECKOUT / "workflow/schemas/claims.schema.yaml"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper with its tests.

    It is judged on every dataset, and at every latent dimension, that has all of its models.

    In a chain of ``order``, each model has a higher measure than the one before, by more than
    ``margin``. Models of ``above`` have a measure above their value, models of ``below`` one below.
    The two models of ``equal`` differ by less than ``tolerance``, which may be ``relative`` to the
    second. In ``contrast`` (a, b, c, d), a − b is more than c − d, by more than ``margin``.
    """

    id: str
    statement: str
    where: str
    figures: tuple[str, ...]
    measures: tuple[str, ...]
    sources: tuple[str, ...]
    """The datasets that it is about, as in ``source``; if empty, any."""
    drawn: bool
    """Whether it is judged only on the datasets for which its figures are drawn."""
    seeds: int
    """The least number of seeds that decides it."""
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
        """The labels of the models that it names."""
        compared = [model for chain in (*self.order, *self.equal) for model in chain]
        return tuple(dict.fromkeys((*compared, *self.above, *self.below, *self.contrast)))


@dataclass(frozen=True)
class Claims:
    """A checked file of claims."""

    level: float
    """The chance of any false verdict among all claims of an experiment (Holm 1979)."""
    claims: tuple[Claim, ...]

    def check_named(self, names: Iterable[str]) -> None:
        """Raise UserError for a name that is not the id of a claim."""
        for name in names:
            lookup({claim.id: claim for claim in self.claims}, "claim", name)


def parse(document: Any, schema: Mapping[str, Any]) -> Claims:
    """Check a document against the schema, the registry and the measures.

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
        return parse(
            yaml.safe_load(path.read_text(encoding="utf-8")),
            yaml.safe_load(schema.read_text(encoding="utf-8")),
        )
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
        drawn=fields.get("drawn", False),
        seeds=fields.get("seeds", seeds),
        order=tuple(tuple(chain) for chain in fields.get("order", ())),
        above=dict(fields.get("above", {})),
        below=dict(fields.get("below", {})),
        equal=tuple(tuple(pair) for pair in fields.get("equal", ())),
        contrast=tuple(fields.get("contrast", ())),
        margin=fields.get("margin", 0.0),
        tolerance=next(iter(tolerance.values()), 0.0),
        relative="relative" in tolerance,
    )
