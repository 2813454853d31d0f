"""A local channel of stand-in packages, and a base installation of the stand-in conda.

The packages have the names and the locked versions of what ``envs/`` asks for, and depend on each
other as the real ones do, but are empty: see :mod:`python_standin` for what runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections import defaultdict
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from tests.environments import (
    CONDA_NAMES,
    CONDA_ONLY,
    ENVS,
    ROOT,
    canonical,
    conda_dependencies,
    locked_versions,
    post_deploy_requirements,
)

HERE = Path(__file__).parent
PLACEHOLDER = "/opt/standin_placeholder_" + "placehold_" * 20  # rattler writes the prefix there


def add_package(
    channel: Path, name: str, version: str, build: str, depends: list[str], files: dict[str, str]
) -> None:
    """A noarch package. Files in bin/ are executable; PLACEHOLDER becomes the prefix."""
    paths = []
    for path, content in files.items():
        entry = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
            "size_in_bytes": len(content.encode()),
        }
        if PLACEHOLDER in content:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        paths.append(entry)
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": depends,
        "subdir": "noarch",
        "noarch": "generic",
        "timestamp": 1_700_000_000_000,
    }
    info = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "".join(f"{path}\n" for path in files),
        "info/about.json": "{}",
    }
    folder = channel / "noarch"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{name}-{version}-{build}.tar.bz2", "w:bz2") as archive:
        for path, content in {**info, **files}.items():
            member = tarfile.TarInfo(path)
            member.size = len(content.encode())
            member.mode = 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(content.encode()))


def build_channel(channel: Path) -> None:
    """What ``envs/`` asks for and what the project needs, at the locked versions."""
    locked = locked_versions((ROOT / "requirements.lock").read_text())
    pip_adds: set[str] = set()
    asked_for = {"pytorch"}
    for path in ENVS.glob("*.yaml"):
        asked_for |= conda_dependencies(yaml.safe_load(path.read_text())).keys()
        pip_adds |= post_deploy_requirements(path).keys()
    # also what no environment asks for: jobs must not find it in their interpreter's
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {canonical(Requirement(text).name) for text in project["dependencies"]}
    by_package = {name: name for name in ours - pip_adds}
    by_package |= {canonical(CONDA_NAMES.get(name, name)): name for name in sorted(asked_for)}
    by_package["torch"] = "pytorch"

    modules = defaultdict(list)
    for module, distributions in packages_distributions().items():
        for distribution in distributions:
            if canonical(distribution) in by_package.keys() | ours:
                modules[canonical(distribution)].append(module)

    def marker(package: str) -> dict[str, str]:
        return {f"share/standin/{package}": ""}

    for package, name in by_package.items():
        if name in CONDA_ONLY or name == "pytorch":
            continue
        needed = [Requirement(text) for text in requires(package) or []]
        depends = [
            by_package[canonical(requirement.name)]
            for requirement in needed
            if canonical(requirement.name) in by_package
            and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        ]
        add_package(
            channel, name, locked[package], "py311_0", ["python", *depends], marker(package)
        )
    for build in ("cpu", "cuda"):
        string, torch = f"{build}_generic_py311_0", locked["torch"]
        depends = ["python", "numpy", *(["__cuda"] if build == "cuda" else [])]
        add_package(channel, "pytorch", torch, string, depends, marker("torch"))
        alias = "pytorch-gpu" if build == "cuda" else "pytorch-cpu"
        add_package(channel, alias, torch, string, [f"pytorch {torch} {build}*"], {})
    for name in (asked_for & CONDA_ONLY) - {"python"}:
        add_package(channel, name, "1.0", "0", ["python"], {})
    command = shlex.join([sys.executable, str(HERE / "python_standin.py")])
    python = f'#!/bin/sh\n# a stand-in\nexec {command} {PLACEHOLDER} "$@"\n'
    files = {"bin/python": python, "share/standin/modules.json": json.dumps(modules)}
    add_package(channel, "python", "3.11.9", "0_cpython", [], files)
    index(channel)


def index(channel: Path) -> None:
    """Write the channel's repodata, in a process that py-rattler's threads may abort at its end."""
    code = (
        "import asyncio, os, sys; from rattler.index import index_fs;"
        "asyncio.run(index_fs(sys.argv[1], write_zst=False, write_shards=False)); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, channel], check=True)


def install_base(base: Path) -> None:
    """bin/conda and bin/activate."""
    binaries = base / "bin"
    binaries.mkdir(parents=True)
    shutil.copy(HERE / "activate_standin.sh", binaries / "activate")
    copy = binaries / "conda_standin.py"
    shutil.copy(HERE / "conda_standin.py", copy)
    conda = binaries / "conda"
    # isolated: not the package of the tests, nor the user's
    conda.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", str(copy)])} "$@"\n')
    conda.chmod(0o755)
