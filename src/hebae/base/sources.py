"""Which source files a result depends on, and what they compute.

A workflow that reruns a step when its code changes must know the modules that the step imports.
They are found by reading import statements. Nothing is imported, so this takes milliseconds and no
torch. Only what a module computes counts; its comments, docstrings and formatting do not.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# These modules change no result: version, commit, error messages, locks, progress, fingerprints of
# code, stores and plans of trainings, notes about raw files, reading of descriptions, tables of
# names. The description of a run and its entries of the registry are compared separately.
NOT_A_SOURCE = frozenset(
    {
        "hebae",
        "hebae.base.checkout",
        "hebae.base.errors",
        "hebae.base.lock",
        "hebae.base.progress",
        "hebae.base.sources",
        "hebae.config.fields",
        "hebae.config.registry",
        "hebae.data.raw",
        "hebae.training.finished",
        "hebae.training.plan",
    }
)


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this package that a module imports, at its top level or anywhere else."""
    path = _path(module)
    found: set[str] = set()
    if path is None:
        return frozenset()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            # `from hebae.models.networks import dense` names a module too
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] == "hebae" and _path(name))


def closure(modules: Iterable[str]) -> list[Path]:
    """Source files of the modules and of all our modules that they import, sorted.

    Raises:
        ValueError: for a module that does not exist; otherwise what depends on it would never be
            rerun.
    """
    seen: set[str] = set()
    todo = list(modules)
    if unknown := [module for module in todo if _path(module) is None]:
        raise ValueError(f"no such module: {', '.join(unknown)}")
    while todo:
        module = todo.pop()
        if module not in seen and module not in NOT_A_SOURCE:
            seen.add(module)
            todo.extend(_imports(module))
            todo.append(module.rpartition(".")[0])  # importing a module runs its package
    return sorted(path for name in seen if (path := _path(name)))


@cache
def _digest(path: Path) -> str:
    """A hash of what a file computes, in hexadecimal."""
    said: list[str] = []
    _say(_tree(path), said)
    return hashlib.sha256("".join(said).encode(errors="surrogatepass")).hexdigest()[:16]


def _say(node: object, said: list[str]) -> None:
    """Spell out a syntax tree, without line numbers and without strings that are statements.

    :func:`ast.dump` does not serve, because Python 3.13 writes empty fields in another way.
    """
    if isinstance(node, list):
        said.append("[")
        for item in node:
            docstring = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
            if not docstring:
                _say(item, said)
        said.append("]")
    elif isinstance(node, ast.AST):
        said.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                said.append(f"{name}=")
                _say(value, said)
            elif value is None and name == "value" and isinstance(node, ast.Constant):
                said.append("None")
        said.append(")")
    else:
        said.append(f"{node!r},")


def digests(modules: Iterable[str]) -> dict[str, str]:
    """A hash of what each file of :func:`closure` computes, by its path below the package."""
    return dict(_digests(tuple(modules)))


@cache
def _digests(modules: tuple[str, ...]) -> dict[str, str]:
    return {path.relative_to(ROOT / "hebae").as_posix(): _digest(path) for path in closure(modules)}


def fingerprint(modules: Iterable[str]) -> str:
    """SHA-256 over :func:`digests`; independent of where the package lies."""
    return hashlib.sha256(json.dumps(digests(modules)).encode()).hexdigest()
