"""A stand-in for ``conda``: the few calls that Snakemake makes of it, and its ``activate``.

An environment is a virtual one of the Python that runs the tests, with pip. So it takes what
envs/*.yaml may ask for, python, pip and c-compiler; the packages, which come from the post-deploy
scripts, are the real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import yaml

VERSION = "26.7.1"

# conda's bin/activate, which Snakemake sources: . activate PREFIX
ACTIVATE = 'eval "$(conda shell.posix activate "$1")"\n'

# Python runs it as it begins. Each process leaves a line in jobs.jsonl in the prefix; and one in
# ended.jsonl if it came to its own end, which a step that was handed over does not.
NOTE = """\
import atexit, json, os, shutil, sys
line = dict(command=sys.orig_argv, activated=os.environ.get("CONDA_PREFIX"),
            first_in_path=shutil.which("python"), paths=os.environ.get("PYTHONPATH"),
            no_user_site=os.environ.get("PYTHONNOUSERSITE"))
def note(file):
    with open(os.path.join(sys.prefix, file), "a") as stream:
        stream.write(json.dumps(line) + "\\n")
note("jobs.jsonl")
atexit.register(note, "ended.jsonl")
"""


def install(base: Path) -> None:
    """bin/conda and bin/activate."""
    binaries = base / "bin"
    binaries.mkdir(parents=True)
    (binaries / "activate").write_text(ACTIVATE)
    conda = binaries / "conda"
    # isolated: not the package of the tests, nor the user's
    conda.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{Path(__file__).resolve()}" "$@"\n')
    conda.chmod(0o755)


def create(file: Path, prefix: Path) -> None:
    """Make an environment."""
    wanted = yaml.safe_load(file.read_text())["dependencies"]
    names = {re.split("[=<> ]", package)[0] for package in wanted}
    if unknown := names - {"python", "pip", "c-compiler"}:
        sys.exit(f"PackagesNotFoundError: the stand-in has no {', '.join(sorted(unknown))}")
    subprocess.run([sys._base_executable, "-m", "venv", prefix], check=True)
    paths = sysconfig.get_paths(vars={"base": str(prefix), "platbase": str(prefix)})
    Path(paths["purelib"], "sitecustomize.py").write_text(NOTE)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/history").touch()
    if "c-compiler" in names:
        script = prefix / "etc/conda/activate.d/compiler.sh"
        script.parent.mkdir(parents=True)
        script.write_text(f"export CC={shutil.which('cc')}\n")


def activation(prefix: Path) -> list[str]:
    """What a shell does to activate an environment, which takes the place of one before in PATH."""
    path = os.environ["PATH"].split(":")
    before = f"{os.environ.get('CONDA_PREFIX')}/bin"
    at = path.index(before) if before in path else 0
    path[at : at + (before in path)] = [f"{prefix}/bin"]
    return [
        *(f"export {name}={prefix}" for name in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV")),
        "export CONDA_SHLVL=1",
        f"export PATH={':'.join(path)}",
        *(f'. "{script}"' for script in prefix.glob("etc/conda/activate.d/*.sh")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info").add_argument("--json", action="store_true", required=True)
    config = commands.add_parser("config")
    config.add_argument("--get", choices=["channel_priority"], required=True)
    config.add_argument("--json", action="store_true", required=True)
    clean = commands.add_parser("clean")
    for option in ("-y", "--tarballs"):
        clean.add_argument(option, action="store_true", required=True)
    making = commands.add_parser("env").add_subparsers(required=True).add_parser("create")
    for option in ("--file", "--prefix"):
        making.add_argument(option, type=Path, required=True)
    for option in ("--quiet", "--no-default-packages"):
        making.add_argument(option, action="store_true")
    shell = commands.add_parser("shell.posix").add_subparsers(required=True).add_parser("activate")
    shell.add_argument("prefix", type=Path)
    options = parser.parse_args()

    if log := os.environ.get("CONDA_STANDIN_LOG"):
        with Path(log).open("a") as stream:
            print(*sys.argv[1:], file=stream)
    if options.command == "info":
        # given by the caller's PATH, where this is the first conda
        base = str(Path(shutil.which("conda") or sys.exit("no conda")).parent.parent)
        print(json.dumps({"conda_prefix": base, "platform": "linux-64", "conda_version": VERSION}))
    elif options.command == "config":
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif options.command == "shell.posix":
        print(*activation(options.prefix), sep="\n")
    elif options.command == "env":
        create(options.file, options.prefix)


if __name__ == "__main__":
    main()
