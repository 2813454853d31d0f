"""The lock, the conda environments and the rules, as tests compare them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.markers import Marker

from hebae.base.sources import closure
from hebae.config import registry

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"

# conda-forge's name for a package, where it differs from the index's
CONDA_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",  # empty packages that ask for the one build of pytorch or the other
    "pytorch-gpu": "torch",
    "libtorch": "torch",
    "matplotlib-base": "matplotlib",
    "python-tzdata": "tzdata",
}
# not on the index, or something else of that name there
CONDA_ONLY = frozenset({"python", "pip", "c-compiler", "tzdata"})


def canonical(name: str) -> str:
    """A package's name as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions(lock: str, python: str = "3.11") -> dict[str, str]:
    """Version of every package in a lock, those for another Python left out."""
    versions = {}
    for line in re.findall(r"^[A-Za-z0-9][^\n]*==[^\n]*$", lock, re.MULTILINE):
        pinned, _, marker = line.removesuffix("\\").partition(";")
        name, version = pinned.strip().split("==")
        here = {"python_version": python, "python_full_version": f"{python}.9"}
        if not marker.strip() or Marker(marker.strip()).evaluate(here):
            versions[canonical(name)] = version
    return versions


def conda_dependencies(environment: Mapping[str, Any]) -> dict[str, str]:
    """Version by package of an environment file; empty where none is asked for."""
    found = {}
    for dependency in environment["dependencies"]:
        assert isinstance(dependency, str), f"only conda packages here: {dependency}"
        name, _, version = dependency.partition("=")
        found[name] = version
    return found


def pinned_packages(text: str) -> dict[str, str]:
    """Version by package of a pin file: addresses, or ``name-version-build``, one a line."""
    found = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith(("#", "@")):
            continue
        file = line.partition("#")[0].rpartition("/")[2]
        name, version, _ = re.sub(r"\.(conda|tar\.bz2)$", "", file).rsplit("-", 2)
        found[name] = version
    return found


def disagreements(packages: Mapping[str, str], lock: Mapping[str, str]) -> list[str]:
    """Where conda packages have another version than the lock; those it lacks are passed over."""
    wrong = []
    for name, version in packages.items():
        locked = lock.get(canonical(CONDA_NAMES.get(name, name)))
        if name not in CONDA_ONLY and locked is not None and version != locked:
            wrong.append(f"{name}: {version or 'no version'}, locked {locked}")
    return wrong


def post_deploy_requirements(env: Path) -> dict[str, str]:
    """Version by package of what the script beside an environment adds with pip."""
    script = env.with_suffix(".post-deploy.sh")
    text = script.read_text() if script.exists() else ""
    return dict(re.findall(r"([\w.-]+)==([\w.]+) --hash=sha256:[0-9a-f]{64}", text))


def packages_of(env: Path) -> set[str]:
    """What an environment carries, by the index's names."""
    names = conda_dependencies(yaml.safe_load(env.read_text()))
    return {
        canonical(CONDA_NAMES.get(name, name)) for name in (*names, *post_deploy_requirements(env))
    }


_LIST_RULES = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

with SnakemakeApi(OutputSettings()) as api:
    workflow = api.workflow(
        ResourceSettings(cores=1),
        ConfigSettings(config=json.loads(sys.argv[2]), configfiles=[Path("config/demo.yaml")]),
        snakefile=Path("Snakefile"),
    )._workflow
    rules = [
        [
            rule.name,
            rule.conda_env(None) if callable(rule.conda_env) else rule.conda_env,
            str(rule.basedir),
            rule.shellcmd,
        ]
        for rule in workflow.rules
    ]
    Path(sys.argv[1]).write_text(json.dumps(rules))
"""


class Rule(NamedTuple):
    """A rule as Snakemake reads it."""

    name: str
    env: Path | None
    """Its environment file."""
    module: str | None
    """What its command runs."""


def read_rules(checkout: Path, output: Path, **config: str) -> list[Rule]:
    """The rules of the demo; ``output`` is a file to pass them through."""
    subprocess.run(
        [sys.executable, "-c", _LIST_RULES, output, json.dumps(config)], cwd=checkout, check=True
    )
    return [
        Rule(name, env and Path(folder, env).resolve(), module_of(command))
        for name, env, folder, command in json.loads(output.read_text())
    ]


def module_of(command: str | None) -> str | None:
    """The module that a rule's command runs, by itself or through the process with PyTorch."""
    found = re.search(r"python -m (?:hebae\.workflow\.step )?([\w.]+)", command or "")
    return found and found[1]


def _names(tree: ast.AST) -> set[str]:
    """Names that a module uses, with or without a module before them."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def looked_up_modules(modules: Collection[str]) -> set[str]:
    """Modules of the registry's entries that a step resolves: no import leads to them."""
    of_files = [_names(ast.parse(path.read_bytes())) for path in closure(modules)]
    # a file that resolves entries of a table names both
    names = set().union(*(names for names in of_files if "resolve" in names))
    tables = [
        getattr(registry, name) for name in names if name.isupper() if hasattr(registry, name)
    ]
    return {
        value.partition(":")[0]
        for table in tables
        for entry in table.values()
        for value in vars(entry).values()
        if isinstance(value, str) and ":" in value
    }


def _top_level_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


_distributions = cache(packages_distributions)


def third_party_packages(module: str) -> dict[str, str]:
    """Packages that a step may import, by the index's names, each with a file that does."""
    found = {}
    for path in closure({module} | looked_up_modules({module})):
        for name in _top_level_imports(ast.parse(path.read_bytes())):
            if name != "hebae" and name not in sys.stdlib_module_names:
                found[canonical(_distributions()[name][0])] = path.name
    return found
