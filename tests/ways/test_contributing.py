"""CONTRIBUTING.md: its recipes, followed to the letter in a copy of the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.colors
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from tests.project import ROOT, copy_project, plan, snakemake

from hebae.claims.verdicts import Verdict
from hebae.figures.looks import looks

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
CONFIG = "config/mine.yaml"
PLACES = {"model": 3, "dataset": 3, "figure": 4, "measure": 3, "claim": 1}
# what tells of a name that stands in one place and is missing in another
TESTS = [
    "claims/test_claims.py",
    "config/test_config.py",
    "measures/test_measures.py",
    "publish/test_readme_table.py",
    "report/test_report_pages.py",
    "test_imports.py",
    "test_names.py",
    "workflow/test_environment.py",
]
NOT_OF_NAMES = "threads or sigma or noise or finished or compiler or against"


class Edit(NamedTuple):
    """A file to create, or lines to add above or below the one line that begins so."""

    path: str
    side: str
    anchor: str
    text: str

    def apply(self, folder: Path) -> None:
        path = folder / self.path
        if not self.anchor:
            assert not path.exists(), f"{self.path} is there already"
            path.write_text(self.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        found = [n for n, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        assert len(found) == 1, f"{self.path}: {len(found)} lines begin with {self.anchor}"
        at = found[0] + (self.side == "below")
        path.write_text("".join([*lines[:at], self.text, *lines[at:]]))


BLOCK = r"\n\n```\w+\n(.*?)^```$"
EDIT = re.compile(
    rf"(?:^Create|[Ii]n) `([^`]+)`(?:, (above|below) `([^`]+)`)?:{BLOCK}", re.MULTILINE | re.DOTALL
)


def edits(text: str) -> list[Edit]:
    return [Edit(path, side, anchor, lines) for path, side, anchor, lines in EDIT.findall(text)]


START, *SECTIONS = re.split("^## How to add an? ", GUIDE, flags=re.MULTILINE)
RECIPES = {section.split()[0]: section for section in SECTIONS}
RECIPES["claim"] = RECIPES["claim"].partition("\n## ")[0]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
    )


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """A checkout in which all recipes were followed, and the config's figures drawn."""
    folder = tmp_path_factory.mktemp("followed")
    copy_project(folder)
    for name in ("tests", "docs", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    (start,) = edits(START)
    start.apply(folder)
    for recipe in RECIPES.values():
        for edit in edits(recipe):
            edit.apply(folder)
    (images,) = re.findall(f"run with `python`:{BLOCK}", RECIPES["dataset"], re.M | re.S)
    done = python(folder, "-c", images)
    assert done.returncode == 0, done.stderr
    snakemake(folder, config=CONFIG)
    return folder


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"results/mine/tables/{name}.csv")


def codes_of_rae(folder: Path, seed: int) -> np.ndarray:
    """The encoder is deterministic: its means are the codes."""
    path = folder / f"results/mine/runs/digits/RAE/z4/w0.1/s{seed}/posterior.npz"
    return np.load(path)["mean"].astype(float)


def test_each_recipe_touches_as_many_places_as_it_says_and_no_test():
    assert list(RECIPES) == list(PLACES)
    words = {1: "in one place", 3: "in three places", 4: "in four places"}
    for name, places in PLACES.items():
        touched = {edit.path for edit in edits(RECIPES[name])}
        assert len(touched) == places and words[places] in " ".join(RECIPES[name].split())
        assert not [path for path in touched if path.startswith("tests/")]
        # nothing is shown as code that is not followed here
        blocks = RECIPES[name].count("```") // 2
        assert blocks == len(edits(RECIPES[name])) + ("run with `python`:" in RECIPES[name])


def test_the_model_is_trained_by_its_own_loss(followed):
    rows = table(followed, "elbo_by_weight").query("model == 'RAE'")
    assert sorted(rows.seed) == [0, 1, 2] and rows.elbo.isna().all()
    for row in rows.itertuples():
        codes = np.load(
            followed / f"results/mine/runs/digits/RAE/z4/w0.1/s{row.seed}/posterior.npz"
        )
        expected = (codes["mean"].astype(float) ** 2).sum(1).mean() / (2 * 2)  # prior_variance: 2
        assert row.regulariser == pytest.approx(expected, rel=1e-4) and expected > 0


def test_the_dataset_is_prepared_and_measured_and_other_images_are_noticed(followed):
    prepared = np.load(followed / "results/mine/data/blobs/train_images.npy")
    paths = [followed / f"data/blobs/{split}_images.npy" for split in ("train", "test")]
    before = [np.load(path) for path in paths]
    assert np.array_equal(prepared, before[0]) and prepared.shape == (1000, 16, 16, 1)
    for name in ("elbo_by_weight", "covariance", "kurtosis"):
        assert set(table(followed, name).query("dataset == 'blobs'").model) == {"VAE"}
    assert plan(followed, config=CONFIG) == {}
    try:
        np.save(paths[0], before[0][::-1])  # of the same size
        assert plan(followed, "--config", "replace=True", config=CONFIG)["prepare"] == 1
        for path, images in zip(paths, before, strict=True):
            np.save(path, images[:, :8])
        target = "results/mine/data/blobs/dataset.json"
        done = snakemake(followed, target, config=CONFIG, check=False)
        (line,) = re.findall("^error: .*", done.stdout + done.stderr, re.MULTILINE)
        assert "blobs: images are (8, 16, 1)" in line and "says (16, 16, 1)" in line
    finally:
        for path, images in zip(paths, before, strict=True):
            np.save(path, images)


def test_the_figure_is_drawn(followed):
    image = matplotlib.image.imread(followed / "figures/mine/active_units.png")[..., :3]
    for look in looks(["VAE", "HEBAE", "RAE"]).values():
        share = np.isclose(image, matplotlib.colors.to_rgb(look.color), atol=0.01).all(-1).mean()
        assert share > 0.0001, look
    said = json.loads((followed / "figures/mine/active_units.json").read_text())["caption"]
    assert said.startswith("The models use ") and "mean over 3 seeds" in said
    done = python(followed, ".ci/check_outputs.py", CONFIG)
    assert done.returncode == 0, done.stderr


def test_the_measure_has_a_table(followed):
    rows = table(followed, "kurtosis")
    assert len(rows) == 3 * (3 * 4 + 2)  # seeds; models and dimensions of digits, and of blobs
    codes = codes_of_rae(followed, 1)
    found = rows.query("model == 'RAE' and seed == 1").sort_values("dimension")
    assert found["kurtosis"].to_list() == pytest.approx(scipy.stats.kurtosis(codes), rel=1e-6)


def test_the_claim_has_a_verdict(followed):
    (row,) = table(followed, "claims").query("claim == 'lighter-tails'").itertuples()
    assert (row.dataset, row.latent_dim) == ("digits", 4)  # where its models are
    assert row.figure == "active_units" and row.measure == "kurtosis" and row.n_seeds == 3
    assert row.verdict in set(Verdict) - {Verdict.NOT_RUN} and np.isfinite(row.estimate)
    measured = table(followed, "kurtosis").query("dataset == 'digits'")
    average = measured.groupby("model")["kurtosis"].mean()
    assert row.estimate == pytest.approx(average["VAE"] - average["HEBAE"])


def test_no_test_has_to_be_edited(followed):
    arguments = ("-q", "-x", "-p", "no:cacheprovider", "-k", f"not ({NOT_OF_NAMES})")
    done = python(followed, "-m", "pytest", *arguments, *(f"tests/unit/{name}" for name in TESTS))
    assert done.returncode == 0, done.stdout


def test_what_is_added_is_as_we_format_it(followed):
    files = sorted({edit.path for text in RECIPES.values() for edit in edits(text)})
    files = [path for path in files if path.endswith(".py")]
    for command in (("ruff", "check"), ("ruff", "format", "--check")):
        done = python(followed, "-m", *command, *files)
        assert done.returncode == 0, done.stdout
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint], cwd=followed, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(followed / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
