"""`make doctor`: a report of this machine that never fails and names nobody."""

import ast
import getpass
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hebae.base.sources import closure

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "envs/doctor.py"


@pytest.fixture
def doctor(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("doctor", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(script: Path = SCRIPT, **environment: str) -> dict[str, str]:
    """The lines of the command, by title."""
    text = script.read_text(encoding="utf-8")
    patient = text.replace("\nSECONDS = 5.0\n", "\nSECONDS = 60.0\n")
    assert patient != text
    names = {"__name__": "__main__", "__file__": str(script)}
    code = f"exec(compile({patient!r}, {str(script)!r}, 'exec'), {names!r})"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],  # no packages, as for a Python of the system
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "\033" not in done.stdout
    lines = re.findall(r"^(\S+) +(.+)$", done.stdout, re.MULTILINE)
    assert len(lines) == len(done.stdout.splitlines())
    return dict(lines)


def test_a_report_says_what_is_here():
    from hebae import __version__

    said = report(OMP_NUM_THREADS="3", PYTHONHASHSEED="0")
    assert said["hebae"] == __version__ and said["commit"]
    assert platform.python_version() in said["Python"]
    assert {"OMP_NUM_THREADS", "PYTHONHASHSEED"} <= set(said["cleared"].split(", "))
    assert re.match(r"\d+, \d+ usable", said["cores"]) and "bfloat16" in said["processor"]
    assert re.fullmatch(r".+ GB free of .+ GB, \w.*", said["results/"])
    assert not [line for line in said.values() if line.startswith("unknown:")]
    if (ROOT / ".venv/.complete").exists():
        import torch

        assert f"torch {torch.__version__.split('+')[0]}," in said["packages"]
        assert f"PyTorch built for CUDA {torch.version.cuda};" in said["CUDA"]


def test_it_names_nobody(tmp_path):
    """Neither home, checkout, user nor host, although programs and variables speak of them."""
    home = tmp_path / "people/ann"
    project = home / "secret project"
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "envs", project / "envs")
    (project / ".venv").mkdir()
    (project / ".venv/.complete").touch()
    programs = home / "bin"
    programs.mkdir()
    chatty = f"#!/bin/sh\necho 'ann, {platform.node()}, {home}/conda {project} 24.1'\n"
    for name in ("conda", "sbatch", "cc", "git"):
        (programs / name).write_text(chatty)
        (programs / name).chmod(0o755)
    said = report(
        project / "envs/doctor.py",
        **{"HOME": str(home), "PATH": str(programs), "LANG": f"{home}.UTF-8"},
        **dict.fromkeys(("LOGNAME", "USER"), "ann"),
    )
    text = "\n".join(said.values())
    assert said["conda"] == "<user>, <host>, ~/conda . 24.1; mamba absent"
    for name in ("ann", platform.node(), str(home), str(tmp_path), "secret"):
        assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text), text
    # a damaged environment is said to be one
    assert said[".venv"].startswith("unknown: FileNotFoundError: ")
    assert said["packages"].startswith("torch absent, ")


def test_names_are_replaced_as_words_and_paths_before_names(doctor):
    names = {"/home/ann": "~", "ann": "<user>"}
    text = "/home/ann/x annual ann /home/ann: joann ann-laptop"
    assert doctor.without(text, names) == "~/x annual <user> ~: joann <user>-laptop"
    assert getpass.getuser() in doctor.secrets() and platform.node() in doctor.secrets()


def test_without_any_program_the_rest_is_said(tmp_path):
    said = report(PATH=str(tmp_path))
    assert said["conda"] == "conda absent; mamba absent"
    assert said["SLURM"] == "sbatch absent" and said["compiler"].startswith("absent")
    assert said["commit"] == "unknown, git is not installed here" and " GB" in said["memory"]


def test_a_program_that_hangs_or_fails_has_a_line(doctor, tmp_path, monkeypatch):
    scripts = {
        "conda": "exec /bin/sleep 60",
        "mamba": "echo broken; exit 3",
        "sbatch": "",
        "git": "printf 'git\\377\\n\\nmore'",
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "cc").write_bytes(b"\x7fELF")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "SECONDS", 1.5)
    assert doctor.first_line("conda", "--version") == "does not answer"
    monkeypatch.setattr(doctor, "SECONDS", 61)
    said = [doctor.first_line(name, "--version") for name in ("mamba", "sbatch", "git", "cc")]
    assert said[:3] == ["broken (exit status 3)", "says nothing", "git\ufffd"]
    assert said[3].startswith("cannot be run: ")


def test_a_probe_that_hangs_or_breaks_ends_nothing(doctor):
    def broken():
        raise SystemExit("no such\nluck")

    probes = (("slow", lambda: time.sleep(30)), ("broken", broken), ("fine", lambda: "fine"))
    started = time.monotonic()
    assert doctor.answers(probes, 1) == [
        ("slow", "unknown: it takes too long"),
        ("broken", "unknown: SystemExit: no such\nluck"),
        ("fine", "fine"),
    ]
    assert time.monotonic() - started < 20


def test_an_incomplete_environment_is_told_from_none_and_another(doctor, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "VENV", tmp_path / "venv")
    assert doctor.venv() == "absent: make env"
    doctor.VENV.mkdir()
    (doctor.VENV / "pyvenv.cfg").write_text("home = /x\nversion = 3.11.9\n")
    assert doctor.venv() == "Python 3.11.9, incomplete: make env"
    (doctor.VENV / ".complete").write_text("other")
    assert "complete, of another lock, Python or place" in doctor.venv()
    sys.path.insert(0, str(ROOT / "envs"))
    from make_env import fingerprint

    (doctor.VENV / ".complete").write_text(fingerprint(doctor.VENV))
    assert doctor.venv() == "Python 3.11.9, complete, of the present lock"


def test_an_old_python_can_read_it():
    """What it imports of ours too: another Python than asked for is what it may have to report."""
    modules = ("hebae.base.checkout", "hebae.base.cpu", "hebae.workflow.environment")
    for path in (SCRIPT, *closure(modules)):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
