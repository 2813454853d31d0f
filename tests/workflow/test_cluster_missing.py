"""``--profile profiles/slurm`` on a machine without SLURM."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from tests.project import TINY, copy_project


def test_without_slurm_nothing_is_tried(tmp_path):
    copy_project(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    # a PATH that surely has none
    commands = tmp_path / "commands"
    commands.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        for path in Path(folder).glob("*"):
            if path.name != "sbatch" and not (commands / path.name).is_symlink():
                (commands / path.name).symlink_to(path)
    call = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm"]
    call += ["--configfile", "tiny.yaml"]

    def run(*options: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PATH": str(commands)}
        return subprocess.run(
            [*call, *options], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    done = run()
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("error: jobs were to be sent to SLURM, but")
    assert done.stderr.count("error") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
    assert run("--dry-run").returncode == 0  # to look is allowed
