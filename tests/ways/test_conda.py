"""``--use-conda`` from end to end, with a stand-in conda.

Snakemake, its calls of conda, the post-deploy scripts and the packages they install are real;
``conda`` itself and ``activate`` are stand-ins (:mod:`tests.conda_standin`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from tests import conda_standin
from tests.environments import ENVS, ROOT, canonical, locked_versions
from tests.project import copy_project

CONFIG = {
    "experiment": "conda",
    "seeds": [0],
    "models": {"VAE": {"objective": "vae"}, "HEBAE": {"objective": "hebae"}},
    "datasets": {
        "digits": {
            "network": {"name": "dense", "encoder_widths": [16], "decoder_widths": [16]},
            "latent_dims": [3],
            "training": {"epochs": 1},
            "models": {"VAE": {"weight": 1}, "HEBAE": {"weight": 1}},
            "mutual_information": {"indices": 4, "draws": 10, "sets": 1},
            "bounds": {"samples": [1, 10]},
            "fid": {"features": "classifier", "n_generated": 60, "n_reference": 200},
            "diagnostics": {"training_sizes": [], "permutations": 20},
        }
    },
    "figures": {"fig2c": "digits", "distorted_images": "digits"},
}
# which environment a module's jobs belong in
ENVIRONMENT_OF = {
    "hebae.data.prepare": "torch",
    "hebae.training.train": "torch",
    "hebae.codes.encode": "torch",
    "hebae.measures.bounds": "torch",
    "hebae.measures.smoothness": "torch",
    "hebae.measures.fid.features.classifier": "torch",
    "hebae.measures.fid.distortions": "torch",
    "hebae.measures.fid.reference": "torch",
    "hebae.measures.fid.fid": "torch",
    "hebae.measures.measure": "measures",
    "hebae.measures.diagnostics": "measures",
    "hebae.tables.collect": "figures",
    "hebae.claims.judge": "figures",
    "hebae.figures.draw": "figures",
}

STEP, SERVER = "hebae.workflow.step", "hebae.workflow.fork_server"
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2")


class Conda(NamedTuple):
    """The stand-in conda, and how to run Snakemake with it."""

    base: Path
    log: Path

    def snakemake(
        self, folder: Path, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the tiny experiment, conda at the head of an otherwise plain PATH."""
        done = subprocess.run(
            [*SNAKEMAKE, "--use-conda", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                # as someone has it who has activated conda's base, and then .venv
                "PATH": f"{Path(sys.executable).parent}:{self.base}/bin:/usr/bin:/bin",
                "CONDA_PREFIX": str(self.base),
                "CONDA_STANDIN_LOG": str(self.log),
                **environment,
            },
            timeout=1500,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done


def environments(folder: Path) -> dict[str, Path]:
    """Prefix of each environment made, by name; Snakemake leaves a copy of its file beside it."""
    names = {path.read_bytes(): path.stem for path in ENVS.glob("*.yaml")}
    return {
        names[path.read_bytes()]: path.with_suffix("")
        for path in (folder / ".snakemake/conda").glob("*.yaml")
        if path.with_suffix(".env_setup_done").exists()
    }


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> Conda:
    folder = tmp_path_factory.mktemp("conda-standin")
    conda_standin.install(folder / "base")
    return Conda(folder / "base", folder / "calls.log")


def checkout(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    copy_project(folder)
    shutil.copy(ROOT / "requirements.lock", folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """Another hebae, which may be on a user's PYTHONPATH."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "hebae").mkdir()
    (folder / "hebae/__init__.py").write_text("raise SystemExit('another package of the name')\n")
    return folder


@pytest.fixture(scope="module")
def project(conda, foreign, tmp_path_factory) -> Path:
    """A checkout in which the tiny experiment was run with the stand-in conda."""
    # no spaces here: conda itself, and Snakemake's post-deploy scripts, fail below such a folder
    folder = checkout(tmp_path_factory.mktemp("with-standin-conda"))
    conda.snakemake(folder, PYTHONPATH=str(foreign))
    return folder


@pytest.fixture
def edited(project) -> Iterator[Path]:
    """The project, its environment files put back after the test."""
    before = {path: path.read_bytes() for path in (project / "envs").iterdir() if path.is_file()}
    yield project
    for path in (project / "envs").iterdir():
        if path in before:
            path.write_bytes(before[path])
        elif path.is_file():
            path.unlink()


def module_of(command: list[str]) -> str | None:
    """The module that a job's command runs, by itself or through the process with PyTorch."""
    ours = [word for word in command if word.startswith("hebae.") and word != STEP]
    return ours[0] if ours else None


def test_each_job_runs_in_its_environment_with_this_package(project):
    prefixes = environments(project)
    assert (
        set(prefixes) == {"torch", "measures", "figures"} == {p.stem for p in ENVS.glob("*.yaml")}
    )
    modules = {}
    for name, prefix in prefixes.items():
        for job in lines_of(prefix / "jobs.jsonl"):
            if (module := module_of(job["command"])) in (None, SERVER):
                continue  # of pip, when the environment was made
            assert job["activated"] == str(prefix)
            # before .venv, which Snakemake runs from
            assert job["first_in_path"] == str(prefix / "bin/python")
            assert job["paths"] == str(project / "src")
            assert job["no_user_site"] == "1"
            modules[module] = name
    assert modules == ENVIRONMENT_OF


def test_jobs_are_forked_from_one_process_in_each_environment(project):
    for name, prefix in environments(project).items():
        commands = [job["command"] for job in lines_of(prefix / "jobs.jsonl")]
        servers = [command for command in commands if SERVER in command]
        assert len(servers) == (name != "figures")
        by_themselves = [job["command"] for job in lines_of(prefix / "ended.jsonl")]
        assert not [command for command in by_themselves if STEP in command]
        assert (name == "figures") != any(STEP in command for command in commands)


def test_an_environment_has_the_locks_packages_and_no_others(project):
    locked = locked_versions((ROOT / "requirements.lock").read_text())
    for name, prefix in environments(project).items():
        listed = subprocess.run(
            [prefix / "bin/python", "-m", "pip", "list", "--format=json"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        found = {canonical(package["name"]): package["version"] for package in json.loads(listed)}
        found.pop("pip")
        if name == "figures":
            found.pop("setuptools", None)  # a venv of Python 3.11 has one
        assert found and found.items() <= locked.items()


def test_changes_no_result(project, tmp_path):
    folder = checkout(tmp_path / "plain")
    runs = [f"results/conda/runs/digits/{model}/z3/w1/s0" for model in CONFIG["models"]]
    names = ("elbo_by_epoch", "mutual_information", "diagnostics")
    tables = [f"results/conda/tables/{name}.csv" for name in names]
    figure = "figures/conda/fig2c.pdf"
    subprocess.run([*SNAKEMAKE, figure, *tables], cwd=folder, check=True, capture_output=True)
    for path in [*(f"{run}/weights.pt" for run in runs), figure]:
        assert (folder / path).read_bytes() == (project / path).read_bytes(), path
    for path in tables:
        plain, in_conda = (
            pd.read_csv(place / path).drop(columns="seconds", errors="ignore")
            for place in (folder, project)
        )
        pd.testing.assert_frame_equal(plain, in_conda)


def test_a_second_call_does_nothing(conda, project):
    calls = conda.log.read_text()
    done = conda.snakemake(project)
    assert "Nothing to be done" in done.stderr
    assert "create" in calls and "create" not in conda.log.read_text().removeprefix(calls)


def test_conda_is_asked_once_what_activating_an_environment_does(conda, project):
    calls = len(conda.log.read_text().splitlines())
    conda.snakemake(project, "--forcerun", "measure", "collect")
    new = conda.log.read_text().splitlines()[calls:]
    prefixes = environments(project)
    # for scripts after an environment was made Snakemake asks too
    activated = [line.split()[-1] for line in new if "activate" in line]
    assert sorted(activated) == sorted(str(prefixes[name]) for name in ("measures", "figures"))


def test_a_script_that_another_lock_was_written_for_is_refused(conda, edited):
    before = environments(edited)
    path = edited / "envs/figures.post-deploy.sh"
    path.write_text(path.read_text().replace("pandas ", ""))
    done = conda.snakemake(edited, "--forceall", check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    lines = output.splitlines()
    assert lines[-2] == "The conda environment envs/figures.yaml could not be made:"
    assert lines[-1].startswith("error: envs/*.post-deploy.sh were not written for this req")
    assert environments(edited) == before


def test_without_a_package_index_one_line_says_what_to_do(tmp_path):
    """No variable that a user set for pip reaches it, and a failed activation does not matter."""
    prefix = tmp_path / "a prefix"
    conda_standin.create(ENVS / "figures.yaml", prefix)
    script = tmp_path / "a prefix.post-deploy.sh"
    script.write_bytes((ENVS / "figures.post-deploy.sh").read_bytes())
    hostile = {
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_USER": "1",
        "PIP_PREFIX": "/nowhere",
        "PYTHONPATH": str(tmp_path),
        "HEBAE_ROOT": str(ROOT),
    }
    (tmp_path / "argparse.py").write_text("raise SystemExit('of the user')\n")

    def deploy(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", script], env=os.environ | hostile | variables, capture_output=True, text=True
        )

    nowhere = "http://127.0.0.1:9/simple"
    done = deploy(
        PIP_INDEX_URL=nowhere, PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1",
        UV_DEFAULT_INDEX=nowhere, UV_INDEX_URL=nowhere, UV_NO_CACHE="1", UV_HTTP_RETRIES="0",
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: packages of requirements.lock could not be installed: ERROR")
    assert "envs/README.md" in last
    done = deploy()
    assert done.returncode == 0, done.stderr
    run = [prefix / "bin/python", "-c", "import pandas; print(pandas.__file__)"]
    where = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert Path(where).is_relative_to(prefix) and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["a checkout", "someone's", "a&b"])
def test_a_folder_that_conda_cannot_use_is_refused_before_anything_is_made(conda, tmp_path, name):
    folder = checkout(tmp_path / name)
    done = conda.snakemake(folder, "--dry-run", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "in its name; add --conda-prefix DIR" in done.stderr.splitlines()[-1]
    prefix = str(tmp_path / "environments")
    planned = conda.snakemake(folder, "--dry-run", "--conda-prefix", prefix).stdout
    assert "Conda environment envs/figures.yaml will be created" in planned
