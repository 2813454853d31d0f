"""A stand-in for the part of ``conda`` that Snakemake calls.

py-rattler solves and installs, as conda would, from local channels: folders of the names that
environment files give, in ``$CONDA_STANDIN_CHANNELS``. What it says where there is no solution
is py-rattler's own. Every call is appended to ``$CONDA_STANDIN_LOG``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import rattler
import yaml
from rattler import (
    Channel,
    Gateway,
    RepoDataRecord,
    VirtualPackage,
    VirtualPackageOverrides,
)
from rattler.exceptions import SolverError

VERSION = "25.9.1"
PLATFORMS = ("linux-64", "noarch")


def channel(name: str) -> Channel:
    folder = Path(os.environ["CONDA_STANDIN_CHANNELS"], name)
    if not folder.is_dir():
        sys.exit(f"UnavailableInvalidChannel: no local channel {name}")
    return Channel(folder.as_uri())


async def solve(environment: Path) -> list[RepoDataRecord]:
    """Records of an environment file. ``CONDA_OVERRIDE_CUDA`` means what it means to conda."""
    content = yaml.safe_load(environment.read_text())
    try:
        return await rattler.solve(
            sources=[channel(name) for name in content["channels"] if name != "nodefaults"],
            specs=content["dependencies"],
            gateway=Gateway(),
            platforms=PLATFORMS,
            virtual_packages=VirtualPackage.detect(VirtualPackageOverrides.from_env()),
        )
    except SolverError as error:
        sys.exit(f"LibMambaUnsatisfiableError: Encountered problems while solving:\n{error}")


async def find(pins: Path) -> list[RepoDataRecord]:
    """Records of an explicit pin file. Nothing is solved: virtual packages do not matter."""
    lines = [line for line in pins.read_text().splitlines() if "://" in line]
    names = {line.partition("#")[0].rpartition("/")[2] for line in lines}
    sources = {line.rpartition("/")[0].rpartition("/")[0] for line in lines}
    found = await Gateway().query(
        sources=[Channel(source) for source in sources],
        platforms=PLATFORMS,
        specs=[name.rsplit("-", 2)[0] for name in names],
        recursive=False,
    )
    return [record for records in found for record in records if record.file_name in names]


async def create(records: list[RepoDataRecord], prefix: Path) -> None:
    cache = Path(os.environ["CONDA_STANDIN_CHANNELS"], "pkgs")
    await rattler.install(records, prefix, cache_dir=cache, show_progress=False)
    (prefix / "conda-meta/history").touch()


def list_explicit(prefix: Path) -> None:
    print("# platform: linux-64\n@EXPLICIT")
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        record = json.loads(path.read_text())
        print(f"{record['url']}#{record['md5']}")


def main(arguments: Sequence[str]) -> None:
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
    listing = commands.add_parser("list")
    for option in ("--explicit", "--md5"):
        listing.add_argument(option, action="store_true", required=True)
    env_create = commands.add_parser("env").add_subparsers(required=True).add_parser("create")
    explicit_create = commands.add_parser("create")
    explicit_create.add_argument("--yes", action="store_true", required=True)
    for creating in (env_create, explicit_create):
        creating.add_argument("--file", type=Path, required=True)
        for option in ("--quiet", "--no-default-packages"):
            creating.add_argument(option, action="store_true")
    for with_prefix in (listing, env_create, explicit_create):
        with_prefix.add_argument("--prefix", type=Path, required=True)
    options = parser.parse_args(arguments)

    if options.command == "info":
        base = str(Path(sys.argv[0]).resolve().parent.parent)
        print(json.dumps({"conda_prefix": base, "platform": "linux-64", "conda_version": VERSION}))
    elif options.command == "config":
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif options.command == "list":
        list_explicit(options.prefix)
    elif options.command != "clean":  # nothing is kept in tarballs
        look_up = solve if options.command == "env" else find
        records = asyncio.run(look_up(options.file))
        asyncio.run(create(records, options.prefix))


if __name__ == "__main__":
    with Path(os.environ["CONDA_STANDIN_LOG"]).open("a") as log:
        print(*sys.argv[1:], file=log)
    status: int | str | None = 0
    try:
        main(sys.argv[1:])
    except SystemExit as error:
        status = error.code
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)  # py-rattler's threads may abort an interpreter that finalizes
