"""Checks documents against JSON schemas, with errors of one line, and fills in defaults.

``workflow/schemas/config.schema.yaml`` states the shape of a config: names, types, bounds and
defaults. The registry states the parameters of its entries.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import reduce
from math import isfinite
from operator import getitem
from typing import Any

import jsonschema
import yaml

from hebae.base.errors import UserError


def _is_integer(_: Any, value: Any) -> bool:
    """Whether a value is an int. JSON Schema would accept 2.0; ``range`` and argparse would not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    """Whether a value is a finite number. YAML's .nan and .inf are not hyper-parameters."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def check_schema(document: Any, schema: Mapping[str, Any], what: str) -> None:
    """Check a document, called `what` in messages, against a JSON schema.

    Raises:
        UserError: naming the key that is wrong, in one line.
    """
    try:
        _check_keys(document)
        _check(document, schema)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None


def check_parameters(
    where: str,
    what: str,
    given: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    required: Collection[str] = (),
) -> None:
    """Check the parameters given to an entry of the registry, called `what`, at the key `where`.

    Raises:
        UserError: for a parameter that is unknown, missing, or does not match its schema.
    """
    for key in given:
        if key not in known:
            names = ", ".join(known) or "none"
            raise UserError(f"{where}: {what} has no parameter {key!r}; it has: {names}")
    for key in required:
        if key not in given:
            raise UserError(f"{where}: {what} needs {key!r}")
    _check(given, {"properties": known}, where)


def _check_keys(value: Any, where: str = "") -> None:
    """Refuse keys that are not text, which YAML allows."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"{where or 'the top level'}: key {key!r} is not text")
            _check_keys(inner, f"{where}.{key}".lstrip("."))


def _check(document: Any, schema: Mapping[str, Any], where: str = "") -> None:
    errors = _Validator(schema).iter_errors(document)
    error = jsonschema.exceptions.best_match(errors)
    if error is None:
        return
    where = ".".join(filter(None, [where, *map(str, error.absolute_path)])) or "the top level"
    hint = f"; write {written}" if (written := _meant(error)) else ""
    if error.validator == "additionalProperties":
        hint = f"; known here: {', '.join(error.schema['properties'])}"
    message = " ".join(str(error.message).split())
    raise UserError(f"{where}: {message[:300]}{hint}")


def _meant(error: jsonschema.ValidationError) -> str | None:
    """What to write instead of a value of the wrong type, if that is known."""
    value = error.instance
    if error.validator != "type" or not isinstance(value, str | float):
        return None
    meant: list[Any] = []
    with suppress(ValueError, OverflowError):
        meant = [int(float(value))] if float(value).is_integer() else [float(value)]
    if isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text, because a number needs a point; so does the command line.
        meant.append({"true": True, "false": False}.get(value.lower()))
    for other in meant:
        if other is not None and _Validator(error.schema).is_valid(other):
            return str(yaml.safe_dump(other)).splitlines()[0]
    return None


def with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """The document with the schema's defaults filled in; a new object."""
    if reference := schema.get("$ref"):
        schema = reduce(getitem, reference.split("/")[1:], root)
    if not isinstance(value, Mapping):
        return value
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", {})
    filled = {
        key: with_defaults(inner, known.get(key, other if isinstance(other, dict) else {}), root)
        for key, inner in value.items()
    }
    for key, inner in known.items():
        if key not in filled and "default" in inner:
            filled[key] = with_defaults(inner["default"], inner, root)
    return filled
