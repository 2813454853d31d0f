"""Checks that a config file can be read and repeats no key.

Snakemake reads the file, but its errors do not name it, and it silently uses the last of two equal
keys. This module imports nothing of ours, because it runs before Snakemake knows which checkout is
used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import yaml


def check_readable(path: Path) -> None:
    """Check a config file, YAML or JSON.

    Raises:
        ValueError: with the file, the line and what to do, in one line.
    """
    name = os.path.relpath(path)
    name = str(path) if name.startswith("..") else name
    try:
        text = _decoded(Path(path).read_bytes())
        if not _is_json(text):
            nodes = yaml.compose(text, Loader=yaml.SafeLoader)
            for problem in _repeated(nodes):
                raise ValueError(problem)
            if not isinstance(nodes, yaml.MappingNode):
                raise ValueError("line 1: no keys at the top level, as `experiment: name` is one")
    except OSError as error:
        raise ValueError(f"cannot read the config {name}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{name}, {_in_words(error)}") from None
    except ValueError as error:
        raise ValueError(f"{name}, {error}") from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line}: byte {content[error.start]:#x} is not UTF-8; save the file as UTF-8"
        ) from None


def _is_json(text: str) -> bool:
    """Whether Snakemake will read a text as JSON. Raises ValueError for a repeated key."""

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            repeated.append(twice[0])
        return dict(pairs)

    repeated: list[str] = []
    try:
        document = json.loads(text, object_pairs_hook=mapping)
    except ValueError:
        return False
    if repeated:
        raise ValueError(f"key {repeated[0]!r} is given twice in one mapping; keep one of them")
    return isinstance(document, dict)


def _repeated(
    node: yaml.Node | None, where: str = "", seen: frozenset[int] = frozenset()
) -> Iterator[str]:
    """Messages about repeated keys, in the order of the file."""
    if node is None or id(node) in seen:
        return
    seen |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for i, inner in enumerate(node.value):
            yield from _repeated(inner, f"{where}.{i}".lstrip("."), seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, inner in node.value:
            at = f"{where}.{key.value}".lstrip(".")
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if first := lines.get((key.tag, key.value)):
                    yield f"line {line}: {at} is given in line {first} already; keep one of them"
                lines[key.tag, key.value] = line
            yield from _repeated(inner, at, seen)


def _in_words(error: yaml.YAMLError) -> str:
    """An error of the YAML reader in words: the line, and what is wrong there."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.character:#x}, which YAML does not allow; delete it"
    problem, line = str(error.problem), error.problem_mark.line + 1
    if "'\\t'" in problem:
        return f"line {line}: a tab; YAML wants spaces"
    if error.context_mark is not None and ("flow" in error.context or "quoted" in error.context):
        begun = error.context_mark
        until = "to the end of the file" if "stream" in problem else f"up to line {line}"
        return f"line {begun.line + 1}: the {begun.buffer[begun.pointer]} is not closed {until}"
    return f"line {line}: {problem}{f' {error.context}' if error.context else ''}"
