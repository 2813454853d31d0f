"""Converts frozen dataclasses to JSON, and from JSON or YAML.

This is our own code, because a workflow is planned in an environment that may have only Snakemake.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hebae.base.errors import UserError

T = TypeVar("T")


def from_fields(cls: type[T], fields: Mapping[str, Any]) -> T:
    """Make a dataclass from its fields.

    The fields are numbers, texts, other dataclasses, and tuples, dictionaries and unions of these.
    Tuples are lists in JSON.

    Raises:
        UserError: for a field that is missing, unknown or of another type, in one line.
    """
    try:
        return _dataclass(cls, fields)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"not the description of a {cls.__name__}: {reason:.300}") from None


_hints = cache(get_type_hints)


def _dataclass(cls: type[T], fields: Any) -> T:
    if not isinstance(fields, Mapping):
        raise TypeError(f"{fields!r:.80} where its fields should be")
    kinds = _hints(cls)
    if unknown := sorted(fields.keys() - {field.name for field in dataclasses.fields(cls)}):
        raise TypeError(f"unknown: {', '.join(map(str, unknown))}")
    values = {}
    for name, value in fields.items():
        try:
            values[name] = _value(kinds[name], value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: {error}") from None
    return cls(**values)


def _value(kind: Any, value: Any) -> Any:
    """The value as this type. Raises TypeError or ValueError for one of another type."""
    origin, kinds = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _one_of(kinds, value)
    if is_dataclass(kind):
        return _dataclass(kind, value)
    if origin is tuple and isinstance(value, list | tuple):
        if kinds[1:] == (...,):
            kinds = (kinds[0],) * len(value)
        return tuple(_value(each, item) for each, item in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: _value(kinds[1], item) for key, item in value.items()}
    plain = (int, float) if kind is float else kind
    if (
        origin is not None
        or not isinstance(value, plain)
        or isinstance(value, bool) != (kind is bool)
    ):
        raise TypeError(f"{value!r:.80} is no {getattr(kind, '__name__', kind)}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return _value(kind, value)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{value!r:.80} is none of {', '.join(map(str, kinds))}")


def from_json(cls: type[T], text: str) -> T:
    """Make a dataclass from JSON. Raises UserError for anything else."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UserError(f"not the description of a {cls.__name__}: {error}") from None
    return from_fields(cls, fields)


def to_json(value: Any) -> str:
    """A dataclass as one line of JSON, with sorted keys, so that their order does not matter."""
    return json.dumps(asdict(value), separators=(",", ":"), sort_keys=True)
