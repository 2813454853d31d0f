"""The name of a report's file, and ``make report`` up to what it calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hebae.training.status import EXPERIMENT

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "hebae.report.file")


def name_of(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, config], capture_output=True, text=True)


def test_the_name_has_the_experiment_not_the_file(tmp_path):
    config = tmp_path / "my config.yaml"
    config.write_text("experiment: other\n")
    assert name_of(config).stdout == "report-other.html\n"


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"experiment: [", b"\xff", b"- 1\n", b"models: {}\n", b"experiment: a/b\n"),
        *(b"experiment: {a: 1}\n", b"experiment: 5\n", b"experiment: \n", b"experiment: -a\n"),
        *(b'experiment: "a\\n"\n', b"experiment: ../a\n", b"experiment: 2024-13-45\n"),
    ],
)
def test_a_config_without_a_name_is_an_error_in_one_line(tmp_path, content):
    config = tmp_path / "bad.yaml"
    if content is not None:
        config.write_bytes(content)
    for path in (config, tmp_path):
        done = name_of(path)
        assert done.returncode != 0 and done.stdout == ""
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert path.name in done.stderr


def test_a_name_is_what_the_schema_says():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    assert schema["properties"]["experiment"]["pattern"] == EXPERIMENT


def made(folder: Path, config: str) -> tuple[int, list[str]]:
    """The status of ``make report`` in a folder, and the calls of Snakemake."""
    tools = folder / "bin"
    tools.mkdir()
    for name, script in {
        "python": f'exec {sys.executable} "$@"',
        "snakemake": 'printf "%s|" "$@" >> calls; echo >> calls',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    settings = ("BIN=bin", "PYTHON=true", "CORES=2", f"CONFIG={config}")
    done = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "report", *settings],
        cwd=folder, env={**os.environ, "MAKEFLAGS": ""}, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, (folder / "calls").read_text().splitlines()


def test_make_report_names_it_by_the_experiment(tmp_path):
    (tmp_path / "my config.yaml").write_text("experiment: other\n")
    status, calls = made(tmp_path, "my config.yaml")
    assert status == 0
    assert calls == [
        "pages|--cores|2|--configfile|my config.yaml|",
        "--cores|1|--configfile|my config.yaml|--report|report-other.html|",
    ]


def test_make_report_ends_where_there_is_no_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("models: {}\n")
    status, calls = made(tmp_path, "mine.yaml")
    assert status != 0 and len(calls) == 1
