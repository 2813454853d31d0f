"""``--use-conda`` from end to end, with a stand-in conda.

Snakemake, its calls of conda, the solver and the installer (py-rattler) are real; ``conda``
itself, ``activate`` and the packages are stand-ins (:mod:`tests.conda_standin`). So this shows that
every job runs in its environment and with this checkout's package, and that the environments carry
what is imported; not that conda-forge has the packages (envs/README.md).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from tests.environments import ENVS, ROOT, disagreements, locked_versions, pinned_packages
from tests.project import copy_project

pytest.importorskip("rattler", reason="py-rattler, the solver of the stand-in conda, is missing")

from tests.conda_standin.channel_standin import build_channel, install_base

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
    "figures": {"fig2c": "digits"},
}
# which environment a module's jobs belong in, where no GPU is used
ENVIRONMENT_OF = {
    "hebae.data.prepare": "torch",
    "hebae.training.train": "torch",
    "hebae.codes.encode": "torch",
    "hebae.measures.bounds": "torch",
    "hebae.measures.fid.features.classifier": "torch",
    "hebae.measures.fid.reference": "torch",
    "hebae.measures.fid.fid": "torch",
    "hebae.measures.measure": "measures",
    "hebae.measures.diagnostics": "measures",
    "hebae.tables.collect": "figures",
    "hebae.claims.judge": "figures",
    "hebae.figures.draw": "figures",
}

SNAKEMAKE = (sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2")


class Conda(NamedTuple):
    """The stand-in conda, and how to run Snakemake with it."""

    base: Path
    channels: Path
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
                # as someone has it who has activated .venv, and conda before that
                "PATH": f"{Path(sys.executable).parent}:{self.base}/bin:/usr/bin:/bin",
                "CONDA_STANDIN_CHANNELS": str(self.channels),
                "CONDA_STANDIN_LOG": str(self.log),
                **environment,
            },
            timeout=600,
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


def installed(prefix: Path) -> dict[str, str]:
    """Build by package of an environment."""
    records = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    return {record["name"]: record["build"] for record in records}


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> Conda:
    folder = tmp_path_factory.mktemp("conda-standin")
    build_channel(folder / "channels/conda-forge")
    install_base(folder / "base")
    return Conda(folder / "base", folder / "channels", folder / "calls.log")


def checkout(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    copy_project(folder)
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


def test_standin_conda_runs_each_job_in_its_environment_with_this_package(project):
    prefixes = environments(project)
    assert set(prefixes) == {"torch", "measures", "figures"}  # no GPU, no CUDA
    modules = {}
    for name, prefix in prefixes.items():
        for job in lines_of(prefix / "jobs.jsonl"):
            assert job["activated"] == str(prefix)
            # before .venv, which Snakemake runs from
            assert job["first_in_path"] == str(prefix / "bin/python")
            assert Path(job["package"]).is_relative_to(project / "src")
            assert not job["user_site"]
            modules[job["module"]] = name
    assert modules == ENVIRONMENT_OF
    build = {name: installed(prefix).get("pytorch") for name, prefix in prefixes.items()}
    assert build == {"torch": "cpu_generic_py311_0", "measures": None, "figures": None}


def test_standin_conda_adds_with_pip_what_the_lock_has(project):
    prefixes = environments(project)
    lock = (ROOT / "requirements.lock").read_text()
    for name, packages in (("torch", ["pytorch-fid"]), ("measures", ["minepy"]), ("figures", [])):
        wanted = [call["requirement"] for call in lines_of(prefixes[name] / "pip.jsonl")]
        wanted = [requirement for requirement in wanted if requirement]
        assert [requirement.partition("==")[0] for requirement in wanted] == packages
        for requirement in wanted:
            assert all(part in lock for part in requirement.split())


def test_standin_conda_changes_no_result(project, tmp_path):
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


def test_standin_conda_a_second_call_does_nothing(conda, project):
    calls = conda.log.read_text()
    done = conda.snakemake(project)
    assert "Nothing to be done" in done.stderr
    assert "create" in calls and "create" not in conda.log.read_text().removeprefix(calls)


def test_standin_conda_an_environment_without_a_solution(conda, edited):
    before = environments(edited)
    path = edited / "envs/figures.yaml"
    path.write_text(path.read_text().replace("pandas=", "pandas=9"))
    done = conda.snakemake(edited, "--conda-create-envs-only", "--forceall", check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    assert "Could not create conda environment from" in output and "envs/figures.yaml" in output
    assert re.search(r"no candidates were found for pandas.*9", output, re.IGNORECASE)
    assert environments(edited) == before


def test_standin_conda_installs_a_pin_file_made_from_an_environment(conda, edited):
    prefix = environments(edited)["figures"]
    done = subprocess.run(
        [conda.base / "bin/conda", "list", "--explicit", "--md5", "--prefix", prefix],
        env={**os.environ, "CONDA_STANDIN_LOG": str(conda.log)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pins = pinned_packages(done.stdout)
    locked = locked_versions((ROOT / "requirements.lock").read_text())
    assert pins["pandas"] == locked["pandas"] and disagreements(pins, locked) == []
    (edited / "envs/figures.linux-64.pin.txt").write_text(done.stdout)
    calls = conda.log.read_text()
    done = conda.snakemake(edited, "--conda-create-envs-only", "--forceall")
    assert "Using pinnings from" in done.stdout + done.stderr
    (call,) = (
        line for line in conda.log.read_text().removeprefix(calls).splitlines() if "create" in line
    )
    assert "pin.txt" in call
    (made,) = (edited / ".snakemake/conda").glob("*.pin.txt")
    assert installed(Path(str(made).removesuffix(".pin.txt"))) == installed(prefix)


@pytest.fixture
def nvidia_smi(tmp_path) -> str:
    """A PATH on which a GPU seems to be."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program.parent)


def test_standin_conda_makes_the_gpu_environment_where_a_gpu_is_used(conda, tmp_path, nvidia_smi):
    folder = checkout(tmp_path / "checkout")
    path = f"{nvidia_smi}:{conda.base}/bin:/usr/bin:/bin"
    done = conda.snakemake(folder, "--dry-run", "--quiet", PATH=path)
    planned = re.findall(r"environment envs/(\S+) will be created", done.stdout + done.stderr)
    assert sorted(planned) == ["figures.yaml", "measures.yaml", "torch-gpu.yaml", "torch.yaml"]

    # on a login node: no GPU there to solve for, and no CPU build instead of it
    target = "results/conda/runs/digits/VAE/z3/w1/s0/run.json"
    create = ("--conda-create-envs-only", target, "--config", "device=cuda")
    done = conda.snakemake(folder, *create, check=False, CONDA_OVERRIDE_CUDA="")
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    assert "__cuda" in done.stdout + done.stderr
    conda.snakemake(folder, *create, CONDA_OVERRIDE_CUDA="13.0")
    prefixes = environments(folder)
    assert set(prefixes) == {"torch", "torch-gpu"}  # the data are prepared without a GPU
    for name, build in (("torch", "cpu"), ("torch-gpu", "cuda")):
        assert installed(prefixes[name])["pytorch"].startswith(build)


def test_standin_conda_knows_every_environment():
    """The table above is of the environments there are."""
    assert set(ENVIRONMENT_OF.values()) | {"torch-gpu"} == {p.stem for p in ENVS.glob("*.yaml")}
