"""A copy of the project with a tiny config, and how a person runs it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from hebae.base.errors import UserError
from hebae.config.parse import parse
from hebae.config.registry import FIGURES

ROOT = Path(__file__).parents[1]
PROJECT = ("Snakefile", "config", "envs", "profiles", "src", "workflow")

TINY = {
    "experiment": "tiny",
    "seeds": [0, 1],
    "models": {
        "VAE": {"objective": "vae"},
        "HEBAE": {"objective": "hebae"},
        "WAE": {"objective": "wae_mmd", "title": "WAE-MMD"},
    },
    "datasets": {
        "digits": {
            "network": {"name": "dense", "encoder_widths": [32], "decoder_widths": [32]},
            "latent_dims": [3],
            "weight_seeds": [0],
            "training": {"epochs": 2},
            "models": {
                "VAE": {"weight": 1, "weights": [0.1, 1]},
                "HEBAE": {"weight": 1, "weights": [0.1, 1]},
                "WAE": {"weight": 10},
            },
            "mutual_information": {"indices": 4, "draws": 10, "sets": 2},
            "bounds": {"samples": [1, 10], "images": 50},
            "panels": {"samples": [3, 4], "steps": 5},
            "fid": {"features": "classifier", "n_generated": 60, "n_reference": 200},
        }
    },
}


def drawable(config: dict) -> list[str]:
    """The figures that a config of digits can draw."""
    schema = yaml.safe_load(
        (ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
    )
    figures = []
    for figure in FIGURES:
        try:
            parse({**config, "figures": {figure: "digits"}}, schema)
        except UserError:
            continue
        figures.append(figure)
    return figures


TINY["figures"] = dict.fromkeys(drawable(TINY), "digits")


def unactivated() -> dict[str, str]:
    """The environment of someone who has not activated anything."""
    return {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}


def text_of(path: Path) -> str:
    """What a file says; nothing where it is not there, or has just been removed."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def heed_interrupts() -> None:
    """In a child process: what was started in the background ignores Ctrl-C, and so do its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def snakemake(folder: Path, *arguments: str, config: str = "tiny.yaml", check: bool = True):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", config],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # what is printed is in the locale
        env=unactivated(),
        timeout=1500,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def copy_project(folder: Path, checkout: Path = ROOT) -> None:
    for name in PROJECT:
        source = checkout / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)


def made(folder: Path, config: dict = TINY) -> Path:
    """A checkout in which a tiny experiment has been run."""
    copy_project(folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    snakemake(folder)
    return folder


def checkpoint_each(folder: Path, seconds: float = 0) -> None:
    """Let the trainings of a copy write checkpoints more often, at most one each epoch.

    Those of a test last seconds. Real ones last hours, and have a checkpoint each 10 s.
    """
    smk = folder / "workflow/rules/train.smk"
    text = smk.read_text(encoding="utf-8")
    command = "hebae.training.train "
    assert command in text
    smk.write_text(
        text.replace(command, f"{command}--checkpoint-seconds {seconds} "), encoding="utf-8"
    )


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("results", "figures")
        for path in sorted((folder / name).rglob("*"))
        # of the last call: the processes that had the results, and what it planned
        if path.is_file() and path.suffix != ".lock" and path.name not in (".lock", "plan.json")
    }


def plan(folder: Path, *targets: str, config: str = "tiny.yaml") -> dict[str, int]:
    """What a dry run would do: number of jobs by rule."""
    done = snakemake(folder, "--dry-run", *targets, config=config)
    if "Nothing to be done" in done.stdout + done.stderr:
        return {}
    table = (done.stdout + done.stderr).split("Job stats:")[1].split("total")[0]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    jobs.pop("all", None)
    return jobs


def complain(folder: Path, *arguments: str, config: str = "tiny.yaml") -> str:
    """The output of a call that must fail without a traceback, and leave everything as it was."""
    before = files_below(folder)
    done = snakemake(folder, *arguments, config=config, check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output
    after = files_below(folder)
    # logs may tell of the failure, what was seen of raw data is remembered, and a new experiment
    # gets as far as it can
    kept = [name for name in before if not re.search("/logs/|^results/[^/]+/raw/", name)]
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
    return output
