"""What reaches a job of what surrounds Snakemake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hebae.workflow.environment import THREADS, shell_prefix

HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_PROC_BIND": "close",
    "OMP_PLACES": "{0}",
    "KMP_AFFINITY": "granularity=fine,compact",
    "GOMP_CPU_AFFINITY": "0",
    "MKL_DYNAMIC": "FALSE",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
    "ATEN_CPU_CAPABILITY": "default",
    "NVIDIA_TF32_OVERRIDE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":0:0",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONPATH": "/nowhere",
    "PYTHONUTF8": "0",
    "LANG": "en_US.ISO-8859-1",
    "LANGUAGE": "fr",
    "LC_NUMERIC": "de_DE",
    **dict.fromkeys(THREADS, "64"),
}


def job(source: Path, with_conda: bool = False, **variables: str) -> dict[str, str]:
    """The environment of a job's command where these are set."""
    done = subprocess.run(
        ["bash", "-c", shell_prefix(source, with_conda) + "env -0"],
        env={"PATH": os.environ["PATH"], "CONDA_PREFIX": "/conda", **variables},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    lines = done.stdout.decode().split("\0")
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("_="))


@pytest.mark.parametrize("with_conda", [False, True])
def test_what_surrounds_snakemake_changes_nothing(with_conda, tmp_path):
    # what Snakemake sets for the threads of a job
    threads = dict.fromkeys(THREADS, "3")
    assert job(tmp_path, with_conda, **HOSTILE | threads) == job(tmp_path, with_conda, **threads)


def test_what_a_job_is_given(tmp_path):
    source = tmp_path / "a folder with 'quotes' and $signs"
    found = job(source, OMP_NUM_THREADS="3", **{name: "64" for name in THREADS[1:]})
    assert {name: found[name] for name in THREADS} == dict.fromkeys(THREADS, "3")
    assert (found["PYTHONPATH"], found["PYTHONUTF8"]) == (str(source), "1")
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_a_jobs_python_is_that_of_its_conda_environment(tmp_path):
    """Where .venv was activated after conda's base, its environment is the second in PATH."""
    venv, prefix = tmp_path / "venv/bin", tmp_path / "a prefix"
    found = job(tmp_path, True, PATH=f"{venv}:{prefix}/bin:/usr/bin:/bin", CONDA_PREFIX=str(prefix))
    assert found["PATH"].split(":")[0] == f"{prefix}/bin"
    command = ["bash", "-c", shell_prefix(tmp_path, True) + "true"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode != 0 and "CONDA_PREFIX: could not be activated" in done.stderr


def test_what_is_no_ones_business_is_kept(tmp_path):
    """Variables that assign GPUs or name the MKL of a conda environment are kept."""
    kept = {"CUDA_VISIBLE_DEVICES": "3", "MKL_INTERFACE_LAYER": "LP64,GNU", "HOME": "/home/x"}
    assert kept.items() <= job(tmp_path, True, **kept).items()
