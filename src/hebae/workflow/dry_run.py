"""Prints what a run would do, for a person: ``python -m hebae.workflow.dry_run --cores 2 fig2a``.

The arguments are Snakemake's. Snakemake's own ``--dry-run`` lists every job with its reasons.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from hebae.base.errors import command
from hebae.workflow.forecast import VARIABLE


def main(arguments: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    call = [sys.executable, "-m", "snakemake", "--dry-run", *given]
    sys.exit(subprocess.run(call, env={**os.environ, VARIABLE: "1"}).returncode)


if __name__ == "__main__":
    command(main)
