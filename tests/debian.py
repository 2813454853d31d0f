"""Programs that tests need from Debian's packages, installed where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Unavailable(Exception):
    """Something that tests need is not available here."""


def install(packages: Sequence[str]) -> None:
    """Debian packages, without starting the daemons they bring.

    Raises:
        Unavailable: where there is no way to install them.
    """
    if not shutil.which("apt-get"):
        raise Unavailable(f"no {' or '.join(packages)} here, and no apt-get to install it")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    try:
        for attempt in (install, ["apt-get", "update"], install):
            try:
                done = subprocess.run(
                    attempt, env=environment, capture_output=True, text=True, timeout=900
                )
            except subprocess.TimeoutExpired:
                raise Unavailable(f"{' '.join(attempt)} takes too long") from None
            if attempt is install and done.returncode == 0:
                return
        raise Unavailable(f"cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    finally:
        if ours:
            policy.unlink(missing_ok=True)


def install_missing(programs: Mapping[str, Sequence[str]]) -> None:
    """The packages of which programs are missing.

    Args:
        programs: of each package, those that it is needed for.
    """
    missing = [package for package, names in programs.items() if not all(map(shutil.which, names))]
    if missing and os.geteuid() != 0:
        raise Unavailable(f"no {' or '.join(missing)} here; installing it needs root")
    if missing:
        install(missing)
