"""The lock, the conda environments and the builder of `.venv` say the same."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()

# conda-forge's name for a package, where it differs from the index's
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_lock_pins_and_hashes_everything_and_names_no_address():
    assert "://" not in LOCK
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.split("\n", 2)[2])
    assert len(blocks) > 50
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_environments_pin_what_the_lock_pins(path):
    environment = yaml.safe_load(path.read_text())
    for dependency in environment["dependencies"]:
        name, version = dependency.split("=")
        if name != "python":
            pinned = f"{CONDA_NAMES.get(name, name)}=={version}"
            assert re.search(rf"^{re.escape(pinned)}[ \\]", LOCK, re.MULTILINE), pinned


def make_env(tmp_path, **changes):
    """Run the builder for a folder that has no environment yet."""
    return subprocess.run(
        [sys.executable, ROOT / "envs/make_env.py", "--venv", tmp_path / "venv"],
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_a_compiler_nothing_is_downloaded(tmp_path):
    done = make_env(tmp_path, PATH=str(tmp_path), CC="")
    assert done.returncode == 1
    assert "no C compiler found" in done.stderr and "build-essential" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_finished_environment_is_left_alone_and_a_changed_one_is_not(tmp_path):
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "envs/make_env.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    stamp = tmp_path / "venv/.complete"
    stamp.parent.mkdir()
    stamp.write_text(builder.fingerprint(tmp_path / "venv"))
    done = make_env(tmp_path, PATH=str(tmp_path), CC="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "up to date" in done.stdout

    # moved elsewhere, or made from another lock: without a compiler it gets as far as wanting one
    stamp.write_text(builder.fingerprint(tmp_path / "elsewhere"))
    assert "no C compiler" in make_env(tmp_path, PATH=str(tmp_path), CC="").stderr
