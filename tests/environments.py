"""The lock, the conda environments and the rules, as tests compare them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker

from hebae.base.sources import closure
from hebae.config import registry

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"


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


def packages_of(env: Path) -> list[str]:
    """What the script beside an environment installs, by the index's names."""
    script = env.with_suffix(".post-deploy.sh").read_text().replace("\\\n", " ")
    return re.findall(r"--lock [0-9a-f]{64} (.*)", script)[0].split()


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
        if hasattr(entry, "__dict__")  # not the parameters of entries
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
