"""What ``python`` is in an environment of the stand-in conda: its packages carry no code.

The interpreter that runs the tests, which has everything, made to look like the environment's:
what the channel has and the environment has not cannot be imported. Each job leaves a line in
``jobs.jsonl`` in the prefix: where it ran, and with which package.

``-m pip`` and ``-m cython`` are stand-ins too, enough for the scripts in ``envs/``: the real ones
would need a package index, and would install into the environment of the tests.
"""

from __future__ import annotations

import argparse
import importlib.abc
import json
import os
import runpy
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path


class Absent(importlib.abc.MetaPathFinder):
    """Finds none of the named modules, wherever they lie."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def note(prefix: Path, file: str, **content: object) -> None:
    with (prefix / file).open("a") as stream:  # one short write: jobs run side by side
        stream.write(json.dumps(content) + "\n")


def absent_modules(prefix: Path) -> set[str]:
    """Of the packages that the channel has, or pip may add, those not in this environment."""
    standin = prefix / "share/standin"
    known = json.loads((standin / "modules.json").read_text())
    return {
        module
        for package, modules in known.items()
        if not (standin / package).exists()
        for module in modules
    }


def pip(prefix: Path, arguments: Sequence[str]) -> None:
    """Hashes are noted, not checked: the files are made up."""
    parser = argparse.ArgumentParser(prog="pip")
    parser.add_argument("command", choices=["download", "install"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("-r", dest="requirements", type=Path)
    parser.add_argument("-d", dest="target", type=Path)
    parser.add_argument("--no-binary")
    for flag in ("quiet", "no-deps", "require-hashes", "no-build-isolation", "no-cache-dir"):
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    requirement = options.requirements.read_text() if options.requirements else ""
    note(prefix, "pip.jsonl", arguments=list(arguments), requirement=requirement)
    pinned = requirement.split(" ")[0].replace("==", "-") or options.folder.name
    if options.command == "install":
        # built from source: Cython has been there
        if options.folder and not (options.folder / "minepy/mine.c").exists():
            sys.exit("pip (stand-in): mine.c has not been made")
        (prefix / "share/standin" / pinned.rpartition("-")[0]).touch()
        return
    source = options.target / "sdist" / pinned / "minepy/mine.pyx"
    source.parent.mkdir(parents=True)
    source.touch()
    with tarfile.open(options.target / f"{pinned}.tar.gz", "w:gz") as archive:
        archive.add(options.target / "sdist" / pinned, pinned)


def cython(prefix: Path, arguments: Sequence[str]) -> None:
    Path(arguments[-1]).with_suffix(".c").touch()


def job(prefix: Path, module: str, arguments: Sequence[str]) -> None:
    sys.path[0] = str(Path.cwd())  # as python -m has it, in place of this file's folder
    sys.meta_path.insert(0, Absent(absent_modules(prefix)))
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        package = sys.modules.get(module.partition(".")[0])
        note(
            prefix,
            "jobs.jsonl",
            module=arguments[0] if module == "hebae.workflow.step" else module,
            activated=os.environ.get("CONDA_PREFIX"),
            first_in_path=shutil.which("python"),
            package=getattr(package, "__file__", None),
            user_site=os.environ.get("PYTHONNOUSERSITE") != "1",
        )


if __name__ == "__main__":
    where, dash, name, *rest = sys.argv[1:]
    if dash != "-m":
        sys.exit(f"python (stand-in): only -m MODULE, not {dash}")
    prefix = Path(where)
    if name in ("pip", "cython"):
        {"pip": pip, "cython": cython}[name](prefix, rest)
    else:
        job(prefix, name, rest)
