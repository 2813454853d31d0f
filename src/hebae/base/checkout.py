"""The checkout that this package is run from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hebae.base import files

CHECKOUT = Path(__file__).parents[3]
LOCK = CHECKOUT / "requirements.lock"


def commit() -> str | None:
    """The checked-out commit of this project, "-dirty" where files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            describe, cwd=CHECKOUT, capture_output=True, encoding="utf-8", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # not a checkout, or no git: an installed package
    return done.stdout.strip()


def lock_sha256() -> str | None:
    """SHA-256 of requirements.lock; None where the package is not in its checkout."""
    return files.sha256(LOCK) if LOCK.is_file() else None
