"""Runs that were trained in one checkout, measured and drawn in another that trains nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.project import TINY, complain, copy_project, files_below, plan, snakemake

RESTORE = ("--config", "runs=restore")
CONFIG = json.loads(json.dumps(TINY))
CONFIG.update(seeds=[0], figures={"fig1a": "digits", "appendix_c": "digits"})
CONFIG["datasets"]["digits"]["models"] = {"HEBAE": {"weight": 1, "weights": [0.1, 1]}}
RUN = "digits/HEBAE/z3/w1/s0"
TRAINING = {"train", "classifier"}


def archive(folder: Path, *arguments: str) -> str:
    """The command of hebae.publish.archive, as make calls it."""
    done = subprocess.run(
        [sys.executable, "-m", "hebae.publish.archive", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(folder: Path) -> dict[str, bytes]:
    """Everything that does not tell of times."""
    return {
        name: content
        for name, content in files_below(folder).items()
        if not {"logs", "benchmarks", "checkpoints"} & set(Path(name).parts)
    }


def checkout(folder: Path, source: Path | None = None) -> Path:
    folder.mkdir()
    copy_project(folder, *([source] if source else []))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkout in which everything was trained, drawn and exported."""
    folder = checkout(tmp_path_factory.mktemp("here") / "trained")
    snakemake(folder)
    said = archive(folder, "export", "--results", "results/tiny", "--output", "exports/tiny.tar")
    assert said.startswith("exports/tiny.tar: 2 runs, ")
    return folder


@pytest.fixture(scope="module")
def restored(trained, tmp_path_factory) -> Path:
    """Another checkout, where the archive was imported and everything drawn from it."""
    folder = checkout(tmp_path_factory.mktemp("there") / "else where", trained)
    missing = complain(folder, *RESTORE).splitlines()[-1]
    assert missing.startswith("error: restored/tiny: no archive was imported here; ")

    archive(folder, "import", str(trained / "exports/tiny.tar"))
    jobs = plan(folder, *RESTORE)
    assert jobs["restore"] == 2 and jobs["restore_classifier"] == 1 and not TRAINING & set(jobs)
    snakemake(folder, *RESTORE)
    return folder


def test_without_training_everything_is_as_it_was(trained, restored):
    before, after = results(trained), results(restored)
    assert after == before
    assert {"results/tiny/tables/fid.csv", f"results/tiny/runs/{RUN}/weights.pt"} <= set(after)
    assert {"figures/tiny/fig1a.pdf", "figures/tiny/appendix_c.png"} <= set(after)
    assert not [path for name in TRAINING for path in restored.rglob(f"{name}.log")]


def test_a_second_call_restores_nothing(restored):
    before = files_below(restored)
    assert "Nothing to be done" in snakemake(restored, *RESTORE).stderr
    assert files_below(restored) == before


def test_the_rules_that_restore_are_clean(restored):
    assert "in a good condition" in snakemake(restored, "--lint", *RESTORE).stderr


def test_going_from_one_mode_to_the_other(trained, restored):
    jobs = plan(restored)
    assert jobs["train"] == 2 and jobs["classifier"] == 1 and "prepare" not in jobs
    # of themselves, tables and figures are the same in both modes
    drawing = ("all", "collect", *CONFIG["figures"])
    assert plan(restored, "--allowed-rules", *drawing) == {}
    archive(trained, "import", "exports/tiny.tar")
    jobs = plan(trained, *RESTORE)
    assert jobs["restore"] == 2 and jobs["restore_classifier"] == 1 and not TRAINING & set(jobs)


def last_line(folder: Path, config: dict, *arguments: str) -> str:
    """The one line of a config that asks for what the archive does not have."""
    (folder / "other.yaml").write_text(yaml.safe_dump(config))
    return complain(folder, *arguments, *RESTORE, config="other.yaml").splitlines()[-1]


def test_a_config_that_asks_for_other_runs(restored):
    config = json.loads(json.dumps(CONFIG))
    config["datasets"]["digits"]["training"]["epochs"] = 50
    line = last_line(restored, config)
    assert line.startswith(f"error: restored/tiny/runs/{RUN}/run.json: trained with ")
    assert "trained with training.epochs 2, the config says 50; change the config, or " in line

    config = {**CONFIG, "seeds": [0, 7]}
    line = last_line(restored, config)
    assert line == (
        f"error: restored/tiny lacks 1 of 3 runs: {RUN.replace('s0', 's7')}; "
        "runs=train trains what is not there"
    )


def test_an_archive_without_the_classifier(restored):
    record = restored / "restored/tiny/features/digits/classifier/features.json"
    content = record.read_bytes()
    record.unlink()
    line = last_line(restored, CONFIG)
    record.write_bytes(content)
    assert line == (
        "error: restored/tiny lacks the classifier of digits, which its fid is taken with; "
        "runs=train trains it"
    )


def test_weights_that_were_changed_and_images_that_are_others(trained, tmp_path):
    """Found by the jobs that restore, one line each, and the run is not there."""
    folder = checkout(tmp_path / "tampered", trained)
    archive(folder, "import", str(trained / "exports/tiny.tar"))
    weights = folder / f"restored/tiny/runs/{RUN}/weights.pt"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    runs = [f"results/tiny/runs/digits/HEBAE/z3/w{weight}/s0/run.json" for weight in ("1", "0.1")]
    output = complain(folder, *runs, *RESTORE)
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert line == (
        f"error: restored/tiny/runs/{RUN}/weights.pt: its SHA-256 is not the archive's; delete "
        "restored/tiny and import the archive again"
    )
    assert not (folder / runs[0]).exists() and (folder / runs[1]).exists()

    path = folder / "src/hebae/data/digits.py"
    text = path.read_text()
    assert "test_images, test_labels, (" in text
    path.write_text(
        text.replace("test_images, test_labels, (", "255 - test_images, test_labels, (")
    )
    features = "results/tiny/features/digits/classifier/features.json"
    done = snakemake(folder, runs[1], features, *RESTORE, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2 and all("trained on other images than digits here" in x for x in lines)
    assert not (folder / runs[1]).exists() and not (folder / features).exists()
