"""Whatever asks for a finished training again gets it back, and nothing replaces it unasked."""

import json
import shutil
import time
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from tests.project import TINY, complain, copy_project, made, plan, snakemake

REPLACE = ("--config", "replace=True")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("project"))


@pytest.fixture
def finished(project, tmp_path) -> Path:
    """A copy of the project with its results, to be changed."""
    for name in ("results", "figures", ".snakemake"):
        shutil.copytree(project / name, tmp_path / name, symlinks=True)
    copy_project(tmp_path, project)
    shutil.copy(project / "tiny.yaml", tmp_path)
    return tmp_path


def trained_now(folder: Path, seconds: float) -> int:
    """How many runs were trained since, and not taken."""
    logs = [*(folder / "results/tiny/logs").rglob("train.log")]
    return sum("epoch 1/" in log.read_text() for log in logs if log.stat().st_mtime >= seconds)


def test_prepared_data_that_was_deleted_trains_nothing_but_what_is_new(finished):
    shutil.rmtree(finished / "results/tiny/data")
    assert plan(finished) == {}
    config = json.loads(json.dumps(TINY)) | {"seeds": [0, 1, 2]}
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    before = {path: path.read_bytes() for path in finished.rglob("results/tiny/runs/**/weights.pt")}
    started = time.time()
    targets = [f"results/tiny/tables/{name}.csv" for name in ("elbo_by_weight", "runs")]
    done = snakemake(finished, *targets)
    assert "8 finished trainings found and used, not trained again." in done.stderr
    assert trained_now(finished, started) == 3
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_run_s_folder_that_was_deleted_is_had_again(finished):
    folder = finished / "results/tiny/runs/digits/VAE/z3/w1/s0"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    started = time.time()
    names = ["weights.pt", "covariance.csv"]
    snakemake(finished, *(f"results/tiny/runs/digits/VAE/z3/w1/s0/{name}" for name in names))
    assert trained_now(finished, started) == 0
    for name in ("weights.pt", "history.csv", "run.json", "covariance.csv"):
        assert (folder / name).read_bytes() == before[name]


def test_another_branch_and_back_trains_each_once(finished):
    """The code of a loss is edited, its runs are replaced, and the edit is taken back."""
    path = finished / "src/hebae/models/objectives/vae.py"
    text = path.read_text()
    run = "results/tiny/runs/digits/VAE/z3/w1/s0"
    target = f"{run}/run.json"
    before = {name: (finished / run / name).read_bytes() for name in ("weights.pt", "run.json")}
    kl = "posterior_kl(mean, log_sigma).mean()"
    assert kl in text
    path.write_text(text.replace(kl, f"2.0 * {kl}"))
    snakemake(finished, target, *REPLACE)
    other = (finished / run / "weights.pt").read_bytes()
    assert other != before["weights.pt"]
    path.write_text(text)
    started = time.time()
    snakemake(finished, target)
    assert {name: (finished / run / name).read_bytes() for name in before} == before
    path.write_text(text.replace(kl, f"2.0 * {kl}"))
    snakemake(finished, target)
    assert (finished / run / "weights.pt").read_bytes() == other
    assert trained_now(finished, started) == 0


def refused(folder: Path, *arguments: str) -> str:
    """What is said of finished runs that would be trained again, by a call and by a dry run."""
    said = [complain(folder, *arguments, *dry) for dry in ((), ("--dry-run",))]
    said = [text[text.index("error: ") :].strip() for text in said]
    assert said[0] == said[1] and "would be trained again; nothing was changed" in said[0]
    assert said[0].endswith("To train them again, add --config replace=True.")
    return said[0]


def test_another_pytorch_is_refused_kept_or_replaced(finished, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("packages")
    (other / "torch-99.0.dist-info").mkdir()
    (other / "torch-99.0.dist-info/METADATA").write_text("Name: torch\nVersion: 99.0\n")
    monkeypatch.setenv("PYTHONPATH", str(other))
    assert "9 finished trainings of tiny, " in (said := refused(finished))
    version = metadata.version("torch")
    assert f"  torch was {version}, is now 99.0\n" in said
    assert plan(finished, *REPLACE)["train"] == 8

    target = "results/tiny/runs/digits/VAE/z3/w1/s0/run.json"
    weights = (finished / target).with_name("weights.pt").read_bytes()
    started = time.time()
    snakemake(finished, target, "--config", "keep=True")
    assert trained_now(finished, started) == 0
    assert (finished / target).with_name("weights.pt").read_bytes() == weights


def test_kept_runs_say_so_and_are_replaced_on_request(finished):
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["training"]["epochs"] = 3
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert "\n  training.epochs was 2, is now 3\n" in refused(finished)
    target = "results/tiny/runs/digits/VAE/z3/w1/s0/run.json"
    snakemake(finished, target, "--config", "keep=True")
    record = json.loads((finished / target).read_text())
    assert record["run"]["training"]["epochs"] == 2
    assert record["kept"]["differs"] == ["training.epochs was 2, is now 3"]
    assert plan(finished, target) == {}  # it was said once

    started = time.time()
    snakemake(finished, target, *REPLACE)
    record = json.loads((finished / target).read_text())
    assert record["run"]["training"]["epochs"] == 3 and "kept" not in record
    assert trained_now(finished, started) == 1
    assert plan(finished, target) == {} == plan(finished, target, *REPLACE)


def test_lost_notes_of_snakemake_do_not_hide_another_config(finished):
    """Without what it noted of a run, Snakemake takes any file for what was asked for."""
    shutil.rmtree(finished / ".snakemake")
    assert plan(finished) == {}
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["training"]["epochs"] = 3
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert "\n  training.epochs was 2, is now 3\n" in refused(finished)


@pytest.mark.parametrize("name", ["weights.pt", "history.csv"])
def test_a_run_that_lacks_a_file_is_still_not_replaced_unasked(finished, name):
    run = "results/tiny/runs/digits/VAE/z3/w1/s0"
    (finished / run / name).unlink()
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["training"]["epochs"] = 3
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    said = refused(finished, f"{run}/weights.pt")
    assert f"The first is {run}. " in said


@pytest.mark.parametrize("source", ["toyfaces", "digits in other order"])
def test_other_images_under_the_same_label_are_refused(finished, source):
    """Another source, or other code of it with nothing remembered of the images."""
    config = json.loads(json.dumps(TINY))
    if source == "toyfaces":
        config["datasets"]["digits"]["source"] = source
        config["datasets"]["digits"]["panels"]["interpolations"] = [[0, 1]]
    else:
        path = finished / "src/hebae/data/digits.py"
        text = path.read_text()
        assert "test_images, test_labels, (" in text
        path.write_text(
            text.replace("test_images, test_labels, (", "255 - test_images, test_labels, (")
        )
        for name in ("data", "raw"):
            shutil.rmtree(finished / "results/tiny" / name)
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    target = "results/tiny/runs/digits/VAE/z3/w1/s0/weights.pt"
    (finished / "results/tiny/runs/digits/VAE/z3/w1/s0/weights.pt").unlink()
    assert "\n  other images or another split\n" in refused(finished, target)
    kept = list((finished / "results/.trained").glob("*/weights.pt"))
    assert len(kept) == 9


def test_images_of_another_shape_cannot_be_kept(finished):
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["source"] = "toyfaces"
    config["datasets"]["digits"]["panels"]["interpolations"] = [[0, 1]]
    (finished / "tiny.yaml").write_text(yaml.safe_dump(config))
    target = "results/tiny/runs/digits/VAE/z3/w1/s0/run.json"
    done = snakemake(finished, target, "--config", "keep=True", check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "images of another shape, so it cannot be kept" in lines[0]
    assert len(list((finished / "results/.trained").glob("*/weights.pt"))) == 9
