#!/usr/bin/env python3
"""Write the post-deploy script of each conda environment: what requirements.lock has for it.

`make lock` runs this after it has written the lock. An environment's packages are a dependency
group of its name in pyproject.toml, and what those depend on.
"""

from __future__ import annotations

import subprocess
import textwrap

from make_env import LOCK, ROOT, digest, requirement_blocks

SCRIPT = """\
#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \\
    --lock %s \\
%s
"""


def script(names: list[str]) -> str:
    """The script that adds these packages."""
    wanted = digest(requirement_blocks(LOCK.read_text(encoding="utf-8")), names)
    lines = textwrap.wrap(" ".join(names), width=92, break_on_hyphens=False)
    return SCRIPT % (wanted, " \\\n".join(f"    {line}" for line in lines))


def packages(group: str) -> list[str]:
    """The packages of a dependency group, with what they depend on on any platform."""
    compiled = subprocess.run(
        [ROOT / ".venv/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version",
         "3.11", "--no-header", "--no-annotate", "--constraints", LOCK,
         "--group", f"pyproject.toml:{group}"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    return list(requirement_blocks(compiled.stdout))


if __name__ == "__main__":
    for env in (ROOT / "envs").glob("*.yaml"):
        path = env.with_suffix(".post-deploy.sh")
        path.write_text(script(packages(env.stem)), encoding="utf-8")
