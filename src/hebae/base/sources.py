"""Which source files a result depends on.

A workflow that reruns a step when its code changes must know the modules the step imports.
They are found by reading the import statements, not by importing, so that looking costs
milliseconds and no torch.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The version, commit, error messages, locks, progress, tables of names and what was seen of raw
# files before decide nothing about a
# result. What a run takes from the registry (Run.entries) is compared by itself.
NOT_A_SOURCE = frozenset(
    {
        "hebae",
        "hebae.base.checkout",
        "hebae.base.errors",
        "hebae.base.lock",
        "hebae.base.progress",
        "hebae.config.registry",
        "hebae.data.raw",
    }
)


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this package that a module names in its import statements, anywhere in it."""
    path = _path(module)
    found: set[str] = set()
    if path is None:
        return frozenset()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            # `from hebae.models.networks import dense` names a module too
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] == "hebae" and _path(name))


def closure(modules: Iterable[str]) -> list[Path]:
    """Source files of the modules and of everything of ours that they import, sorted.

    Raises:
        ValueError: for a module that is not there: what depends on it would never be made again.
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


def fingerprint(modules: Iterable[str]) -> str:
    """SHA-256 over the content of :func:`closure`; independent of where the package lies."""
    digest = hashlib.sha256()
    for path in closure(modules):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
