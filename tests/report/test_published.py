"""Results as they are committed: what is written, what verifying finds, what is kept of before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from tests.project import ROOT, TINY, files_below, made

from hebae.publish import results
from hebae.publish.results import read_experiment, shareable_figures
from hebae.tables.collect import tables_of

PUBLISHED = [path.parts[-3] for path in sorted(ROOT.glob("docs/results/*/tables/runs.csv"))]
# each verifying draws every figure again
FIGURES = {"fig1a": "digits", "fig2c": "digits", "appendix_c": "digits"}
CONFIG = {**TINY, "figures": FIGURES}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("published"), CONFIG)


def published(project: Path, *arguments: str, check: bool = True):
    done = subprocess.run(
        [sys.executable, "-m", "hebae.publish.results", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def shelf(project) -> Path:
    """The tiny experiment, published."""
    published(project, "write", "--config", "tiny.yaml")
    return project / "docs/results/tiny"


@pytest.fixture
def alterable(shelf, tmp_path) -> Path:
    shutil.copytree(shelf.parent, tmp_path / "results")
    return tmp_path / "results"


def test_published_results_can_be_verified(project, shelf):
    done = published(project, "verify")
    assert done.stdout == f"tiny: as published, {len(FIGURES)} figures drawn again\n"
    for name in (*tables_of(read_experiment(project / "tiny.yaml")), "claims", "claim_parts"):
        made = pd.read_csv(project / f"results/tiny/tables/{name}.csv", dtype=str)
        kept = pd.read_csv(shelf / f"tables/{name}.csv", dtype=str)
        pd.testing.assert_frame_equal(made, kept)
    # figures are those of the workflow, and nothing is there that trained or that is data
    for figure in FIGURES:
        made = np.asarray(Image.open(project / f"figures/tiny/{figure}.png"))
        assert np.array_equal(made, np.asarray(Image.open(shelf / f"figures/{figure}.png")))
    kinds = {path.suffix for path in shelf.rglob("*") if path.is_file()}
    assert [path.name for path in shelf.glob("data/*/*")] == ["dataset.json"]
    assert kinds == {".csv", ".json", ".md", ".npz", ".png", ".yaml", ""}


def alter_number(shelf: Path) -> None:
    path = shelf / "tables/elbo_by_weight.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[0, "elbo_paper"] = "-1.0"
    table.to_csv(path, index=False)


def alter_verdict(shelf: Path) -> None:
    path = shelf / "tables/claims.csv"
    path.write_text(path.read_text().replace("undecided", "holds"))


def alter_picture(shelf: Path) -> None:
    path = shelf / "figures/fig2c.png"
    pixels = np.array(Image.open(path))
    pixels[10, 10, :3] = 255 - pixels[10, 10, :3]
    Image.fromarray(pixels).save(path)


def alter_caption(shelf: Path) -> None:
    path = shelf / "figures/fig2c.json"
    path.write_text(path.read_text().replace("lowest", "mean"))


def alter_page(shelf: Path) -> None:
    path = shelf / "README.md"
    path.write_text(path.read_text().replace("undecided", "decided"))


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (alter_number, ["elbo_by_weight.csv: changed since", "fig1a.png: drawn again, it looks"]),
        (alter_verdict, ["claims.csv: changed since", "the claims come out otherwise"]),
        (alter_page, ["README.md: not what the files beside it say"]),
        (lambda shelf: (shelf / "README.md").unlink(), ["README.md: not what the files beside"]),
        (alter_picture, ["fig2c.png: changed since", "fig2c.png: drawn again, it looks otherwise"]),
        (alter_caption, ["fig2c.json: changed since", "fig2c.json: drawn again, its caption"]),
        (
            lambda shelf: (shelf / "tables/elbo_by_epoch.csv").unlink(),
            ["elbo_by_epoch.csv: missing", "fig1a.png: cannot be drawn"],
        ),
        (lambda shelf: (shelf / "more").write_text(""), ["more: not in SHA256SUMS"]),
    ],
)
def test_what_was_altered_is_found(project, alterable, alter, says):
    alter(alterable / "tiny")
    done = published(project, "--published", alterable, "verify", check=False)
    assert done.returncode == 1 and "tiny: differs" in done.stdout
    for line in says:
        assert line in done.stderr
    # whoever writes new checksums does not get away with it
    sums = subprocess.run(
        "find . -type f ! -name SHA256SUMS ! -name README.md"
        " | cut -c3- | LC_ALL=C sort | xargs sha256sum",
        shell=True, cwd=alterable / "tiny", capture_output=True, text=True,
    )  # fmt: skip
    (alterable / "tiny/SHA256SUMS").write_text(sums.stdout)
    again = published(project, "--published", alterable, "verify", check=False)
    assert again.returncode == (0 if alter.__name__ == "<lambda>" and "more" in says[0] else 1)


def test_a_newer_claim_that_is_not_run_here_changes_nothing_and_one_that_is_does(project, shelf):
    path = project / "config/claims.yaml"
    before = path.read_text()
    new = (
        "\n  - {id: new, statement: s, where: ours, figures: [fig2c], measures: [mic], "
        "order: [[VAE, %s]]}\n"
    )
    try:
        path.write_text(before + new % "WAE-GAN")
        assert published(project, "verify").returncode == 0
        path.write_text(before + new % "WAE")
        assert "the claims come out otherwise" in published(project, "verify", check=False).stderr
    finally:
        path.write_text(before)


def test_results_may_come_in_parts(project, alterable, tmp_path):
    """Runs that are not here are kept, where the config still describes them."""
    here = tmp_path / "elsewhere/tiny/runs/digits"
    shutil.copytree(project / "results/tiny/runs/digits/HEBAE", here / "HEBAE")
    part = ("--results", tmp_path / "elsewhere")
    before = files_below(alterable / "tiny")
    done = published(
        project, "--published", alterable, "write", "--config", "tiny.yaml", *part
    )  # fmt: skip
    assert "left out" not in done.stdout
    assert files_below(alterable / "tiny") == before
    # of a changed model nothing is kept, and what cannot be drawn without is left out
    changed = {**CONFIG, "models": {**CONFIG["models"]}}
    changed["models"]["VAE"] = {"objective": "hebae", "reparameterisation": "diagonal"}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    done = published(
        project, "--published", alterable, "write", "--config", tmp_path / "changed.yaml", *part
    )  # fmt: skip
    assert "left out: table elbo_by_weight: 3 of 8 runs" in done.stdout
    assert "left out: figure fig1a: tables/elbo_by_epoch.csv: digits/VAE" in done.stdout
    table = pd.read_csv(alterable / "tiny/tables/elbo_by_weight.csv")
    assert set(table.model) == {"HEBAE", "WAE"}
    assert not (alterable / "tiny/figures/fig1a.png").exists()


def test_a_table_may_write_a_number_in_more_than_one_way():
    """A run's rows are kept if its weight is 10.0 in a table and 10 in the config."""
    experiment = read_experiment(ROOT / "config/demo.yaml")
    keys = set()
    for run in experiment.runs():
        row = {name: str(value) for name, value in run.identity.items()}
        row["weight"] = f"{float(row['weight']):.6f}"
        assert results._key(row, experiment) == results._key_of(run)
        keys.add(results._key_of(run))
    assert len(keys) == len(experiment.runs())


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_precision_is_chosen_for_has_one_at_each_seed(name):
    """``auto`` depends on the processor; a precision must not be mistaken for a model."""
    folder = ROOT / "docs/results" / name
    experiment = read_experiment(folder / "config.yaml")
    runs = [run for run in experiment.runs() if run.training.precision == "auto"]
    chosen = {results._key_of(run) for run in runs}
    table = pd.read_csv(folder / "tables/runs.csv", dtype=str)
    used: dict[tuple, set[str]] = {}
    for row in table.to_dict("records"):
        if results._key(row, experiment) in chosen:
            group = row["dataset"], row["latent_dim"], row["seed"]
            used.setdefault(group, set()).add(row["precision"])
    assert {group: found for group, found in used.items() if len(found) > 1} == {}


def test_no_face_is_published():
    experiment = read_experiment(ROOT / "config/celeba-cpu.yaml")
    assert "fig3" in experiment.figures and "fig2b" in experiment.figures
    assert "fig3" not in shareable_figures(experiment) and "fig2b" in shareable_figures(experiment)
