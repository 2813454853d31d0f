"""Frozen dataclasses to JSON, and from what JSON or YAML makes of them, by dacite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import dacite

from hebae.base.errors import UserError

T = TypeVar("T")

_CONFIG = dacite.Config(cast=[tuple], strict=True)  # tuples are lists there


def from_fields(cls: type[T], fields: Mapping[str, Any]) -> T:
    """A dataclass from its fields.

    Raises:
        UserError: for a field that is missing, unknown or of another type, in one line.
    """
    try:
        return dacite.from_dict(cls, fields, _CONFIG)
    except (dacite.DaciteError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"not the description of a {cls.__name__}: {reason:.300}") from None


def from_json(cls: type[T], text: str) -> T:
    """A dataclass from JSON. Raises UserError where it is something else."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UserError(f"not the description of a {cls.__name__}: {error}") from None
    return from_fields(cls, fields)


def to_json(value: Any) -> str:
    """A dataclass as one line of JSON with sorted keys: their order in a config does not matter."""
    return json.dumps(asdict(value), separators=(",", ":"), sort_keys=True)
