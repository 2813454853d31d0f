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


def archive(folder: Path, *arguments: str) -> str:
    """The command of hebae.publish.archive, as make calls it."""
    done = subprocess.run(
        [sys.executable, "-m", "hebae.publish.archive", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(folder: Path) -> dict[str, bytes]:
    """Everything that does not tell of times, nor of what was kept in the place of what."""
    return {
        name: content
        for name, content in files_below(folder).items()
        if not {"logs", "benchmarks", "checkpoints", ".trained"} & set(Path(name).parts)
    }


def logs(folder: Path, name: str) -> list[str]:
    return [path.read_text() for path in folder.rglob(f"{name}.log")]


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
    assert missing.startswith("error: runs=restore trains nothing, and 3 of the 3 trainings ")
    assert "make import ARCHIVE=" in missing

    archive(folder, "import", str(trained / "exports/tiny.tar"))
    snakemake(folder, *RESTORE)
    return folder


def test_without_training_everything_is_as_it_was(trained, restored):
    before, after = results(trained), results(restored)
    assert after == before
    assert {"results/tiny/tables/fid.csv", f"results/tiny/runs/{RUN}/weights.pt"} <= set(after)
    assert {"figures/tiny/fig1a.pdf", "figures/tiny/appendix_c.png"} <= set(after)
    said = logs(restored, "train") + logs(restored, "classifier")
    assert len(said) == 3 and all("was trained already" in text for text in said)
    assert not any("epoch" in text for text in said)


def test_a_second_call_restores_nothing(restored):
    before = files_below(restored)
    assert "Nothing to be done" in snakemake(restored, *RESTORE).stderr
    assert files_below(restored) == before


def test_going_from_one_mode_to_the_other(trained, restored):
    for folder in (trained, restored):
        assert plan(folder) == plan(folder, *RESTORE) == {}


def test_an_import_is_taken_without_a_word(trained, tmp_path):
    """An imported run is taken without runs=restore too, which only promises not to train."""
    folder = checkout(tmp_path / "new", trained)
    archive(folder, "import", str(trained / "exports/tiny.tar"))
    done = snakemake(folder)
    assert "3 finished trainings found and used, not trained again." in done.stderr
    assert results(folder) == results(trained)
    assert not any("epoch" in text for text in logs(folder, "train"))


def last_line(folder: Path, config: dict, *arguments: str) -> str:
    """The one line of a config that asks for what the archive does not have."""
    (folder / "other.yaml").write_text(yaml.safe_dump(config))
    return complain(folder, *arguments, *RESTORE, config="other.yaml").splitlines()[-1]


def test_a_config_that_asks_for_other_runs(restored):
    config = json.loads(json.dumps(CONFIG))
    config["datasets"]["digits"]["training"]["epochs"] = 50
    for arguments in ((), ("--dry-run",)):
        line = last_line(restored, config, *arguments)
        assert "runs=restore trains nothing, and 2 of the 2 trainings" in line
        assert "/s0 (training.epochs was 2, is now 50), runs/" in line

    line = last_line(restored, {**CONFIG, "seeds": [0, 7]})
    assert (
        f"1 of the 1 trainings asked for are not among the finished ones in results: runs/{RUN}"[
            :-1
        ]
        in line
    )


def test_without_the_classifier(trained, tmp_path):
    folder = checkout(tmp_path / "lacking", trained)
    archive(folder, "import", str(trained / "exports/tiny.tar"))
    for path in (folder / "results/.trained").glob("*/features.json"):
        path.unlink()
    line = complain(folder, *RESTORE).splitlines()[-1]
    assert "1 of the 3 trainings" in line and "features/digits/classifier" in line


def test_weights_that_were_changed_and_images_that_are_others(trained, tmp_path):
    """The jobs that train find out, print one line each, and leave no run."""
    folder = checkout(tmp_path / "tampered", trained)
    archive(folder, "import", str(trained / "exports/tiny.tar"))
    runs = [f"results/tiny/runs/digits/HEBAE/z3/w{weight}/s0/run.json" for weight in ("1", "0.1")]
    (weights,) = (
        path.with_name("weights.pt")
        for path in (folder / "results/.trained").glob("*/run.json")
        if json.loads(path.read_text())["run"]["lam"] == 1
    )
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = snakemake(folder, *runs, *RESTORE, check=False)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: runs/{RUN}: runs=restore trains nothing, and there is no ")
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
    assert lines and all("runs=restore trains nothing" in line for line in lines)
    assert not (folder / features).exists()


def test_a_run_that_was_deleted_is_exported_after_the_advice_is_followed(trained, tmp_path):
    folder = checkout(tmp_path / "whole", trained)
    archive(folder, "import", str(trained / "exports/tiny.tar"))
    snakemake(folder)
    export = ("export", "--results", "results/tiny", "--output", "tiny.tar")
    archive(folder, *export)
    whole = (folder / "tiny.tar").read_bytes()
    weights = folder / f"results/tiny/runs/{RUN}/weights.pt"
    content = weights.read_bytes()
    for damage in (Path.unlink, lambda path: path.write_bytes(b"damaged")):
        damage(weights)
        with pytest.raises(AssertionError) as error:
            archive(folder, *export)
        advice = str(error.value)
        assert f"snakemake --cores 1 --configfile CONFIG results/tiny/runs/{RUN}/weights" in advice
        if "delete it" in advice:
            weights.unlink()
        snakemake(folder, f"results/tiny/runs/{RUN}/weights.pt")
        archive(folder, *export)
        assert weights.read_bytes() == content
        # what is damaged under both of its names is trained again, in other seconds
        assert ("delete it" in advice) == ((folder / "tiny.tar").read_bytes() != whole)
    for path in (folder / f"results/tiny/runs/{RUN}").iterdir():
        path.unlink()
    said = archive(folder, *export)
    assert f"1 of 2 runs (not finished and left out: {RUN})" in said
    assert "1 of 2 runs" in archive(folder, "verify", "tiny.tar")
