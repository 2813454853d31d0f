"""The whole workflow on a tiny config, run the way a person runs it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from tests.project import (
    TINY,
    checkpoint_each,
    complain,
    copy_project,
    files_below,
    made,
    plan,
    snakemake,
    unactivated,
)

from hebae.config.registry import FEATURES

TABLES = {
    "elbo_by_epoch": "epoch split reconstruction regulariser elbo_paper elbo elbo_widened "
    "noise_deviation seconds",
    "elbo_by_weight": "elbo_paper elbo elbo_widened noise_deviation reconstruction regulariser",
    "fid": "n_generated n_reference features fid common_weight accuracy warning",
    "covariance": "which i j covariance correlation",
    "mutual_information": "protocol dimension mic tic",
    "index_code_information": "nats log_n kl_aggregate",
    "bounds": "samples bound standard_error n_images width widened widened_error n_pilot",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("project with spaces"))


@pytest.fixture
def editable(project):
    """The project, put back after the test: content and times."""
    source = project / "src"
    before = {path: (path.read_bytes(), path.stat()) for path in source.rglob("*.py")}
    yield project
    for path, (content, stat) in before.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_every_figure_and_table_is_there(project):
    for figure in TINY["figures"]:
        assert (project / f"figures/tiny/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (project / f"figures/tiny/{figure}.png").read_bytes().startswith(b"\x89PNG")
    for name, columns in TABLES.items():
        table = pd.read_csv(project / f"results/tiny/tables/{name}.csv")
        identity = ["dataset", "model", "latent_dim", "weight", "seed"]
        assert list(table.columns[:5]) == identity
        assert set(columns.split()) <= set(table.columns)
        assert set(table.model) == {"VAE", "HEBAE", "WAE"}
        # the bounds of a model without one are the only fields that may be empty, and what is
        # measured of the test split alone
        empty = ["elbo", "elbo_paper", "elbo_widened", "noise_deviation"]
        assert (
            table.drop(columns=empty, errors="ignore")
            .query("model != 'WAE'")
            .notna()
            .all(axis=None)
        )


def test_distances_say_what_they_are_of(project):
    table = pd.read_csv(project / "results/tiny/tables/fid.csv")
    # 3 models x 2 seeds at the default weight, 6 samplings each; samples of the prior of 2 others
    assert len(table) == 6 * 6 + 2
    assert table.groupby("sampling").size().to_dict() == dict.fromkeys(
        ("gaussian", "midpoints", "mixture", "real", "reconstruction"), 6
    ) | {"prior": 8}
    assert set(table.features) == {"classifier of digits"}
    assert (table.accuracy > 0.9).all() and (table.fid > 0).all()
    assert set(table.warning) == {"rank-deficient: 60 generated images < 64 features"}
    assert (table.common_weight == table.weight).all()  # cross entropy has no other scale
    # the reference of one dataset, split, count and network is kept for other experiments, and
    # the real images that are compared with it
    cached = sorted(path.name for path in (project / "results/cache").glob("*.npz"))
    assert [name.rpartition("-")[0] for name in cached] == [
        "digits-test-200-classifier", "digits-train-60-classifier",
    ]  # fmt: skip


def test_tables_hold_every_run_once(project):
    tables = {name: pd.read_csv(project / f"results/tiny/tables/{name}.csv") for name in TABLES}
    runs = ["model", "weight", "seed"]
    by_weight = tables["elbo_by_weight"]
    # 3 models x 2 seeds at the default weight, and one more weight for two models, one seed
    assert len(by_weight) == len(by_weight[runs].drop_duplicates()) == 8
    by_epoch = tables["elbo_by_epoch"]
    assert len(by_epoch) == 6 * 2 * 2
    last = by_epoch.query("epoch == 2 and split == 'test'").astype({"weight": float})
    last = last.merge(by_weight, on=runs)
    assert len(last) == 6
    assert last.reconstruction_x.equals(last.reconstruction_y)
    assert len(tables["covariance"]) == 6 * 2 * 9
    bounds = tables["bounds"]
    assert bounds.samples.tolist() == [1, 10] * 6 and set(bounds.n_images) == {50}
    assert set(bounds.n_pilot) == {50}
    of_wae = bounds.query("model == 'WAE'")
    assert of_wae.bound.isna().all() and of_wae.widened.notna().all()
    information = tables["index_code_information"]
    assert len(information) == 6
    assert information.query("model == 'WAE'").nats.to_list() == pytest.approx(
        information.query("model == 'WAE'").log_n.to_list()
    )


def test_runs_that_are_trained_together_are_the_same_runs(project):
    """A change of packs makes nothing again."""
    kept = project / "results/.trained"
    kept.rename(project / "kept")  # else they are taken, not trained
    config = {**TINY, "experiment": "packed", "figures": {}, "pack": 3}
    (project / "packed.yaml").write_text(yaml.safe_dump(config))
    snakemake(project, config="packed.yaml")
    shutil.rmtree(kept)
    (project / "kept").rename(kept)
    packs = json.loads((project / "results/packed/plan.json").read_text())["packs"]
    assert sorted(map(len, packs)) == [2, 3, 3]  # WAE has one weight, the others three runs
    columns = ["reconstruction", "regulariser", "elbo"]
    tables = [
        pd.read_csv(project / f"results/{name}/tables/elbo_by_weight.csv")[columns].to_numpy()
        for name in ("tiny", "packed")
    ]
    np.testing.assert_allclose(*tables, rtol=1e-4)
    runs = (project / "results/packed/runs").rglob("run.json")
    assert sorted(json.loads(path.read_text())["packed"] for path in runs) == [2] * 2 + [3] * 6
    (project / "packed.yaml").write_text(yaml.safe_dump({**config, "pack": 1}))
    assert plan(project, config="packed.yaml") == {}
    snakemake(project, "--forcerun", "collect", config="packed.yaml")
    assert json.loads((project / "results/packed/plan.json").read_text())["packs"] == []


def test_bounds_in_the_tables(project):
    table = pd.read_csv(project / "results/tiny/tables/elbo_by_weight.csv")
    vae, hebae, wae = (table.query(f"model == '{model}'") for model in ("VAE", "HEBAE", "WAE"))
    assert vae.elbo.to_list() == pytest.approx(vae.elbo_paper.to_list())
    assert (hebae.elbo != hebae.elbo_paper).all()
    for model in (vae, hebae):
        bound = -(model.reconstruction + model.regulariser)
        assert bound.to_list() == pytest.approx(model.elbo_paper.to_list())
    assert wae.elbo.isna().all() and wae.elbo_paper.isna().all()


def test_the_record_of_a_run_carries_its_provenance(project):
    path = project / "results/tiny/runs/digits/HEBAE/z3/w0.1/s0/run.json"
    record = json.loads(path.read_text())
    assert record["run"]["lam"] == 0.1
    assert record["run"]["training"]["epochs"] == 2
    manifest = json.loads((project / "results/tiny/data/digits/dataset.json").read_text())
    assert record["dataset_checksum"] == manifest["checksum"]
    for key in (
        "versions",
        "commit",
        "device",
        "threads",
        "precision",
        "wall_seconds",
        "peak_memory_bytes",
    ):
        assert key in record
    # tests/project.py copies the project to a folder that is no checkout
    assert record["commit"] is None
    assert record["commit_note"] in ("not a git checkout", "git is not installed here")
    figure = json.loads((project / "figures/tiny/fig2a.json").read_text())
    assert figure["config_files"] == ["tiny.yaml"]
    notes = figure["trained"]["commit_note"]
    assert (figure["commit"], figure["commit_note"]) == (None, *notes)


def test_a_second_call_does_nothing_and_says_where_everything_is(project):
    before = files_below(project)
    done = snakemake(project)
    assert "Nothing to be done" in done.stderr
    assert re.search(
        r"^  figures +\d+ in figures/tiny/ \(pdf and png\)$", done.stderr, re.MULTILINE
    )
    assert re.search(r"^  tables +\d+ in results/tiny/tables/$", done.stderr, re.MULTILINE)
    assert files_below(project) == before


def test_a_run_in_a_pipe_is_told_in_plain_lines(project):
    for name in ("figures/tiny/fig2a.pdf", "figures/tiny/fig2c.png"):
        (project / name).unlink()
    done = snakemake(project)
    lines = done.stderr.splitlines()
    assert "\x1b" not in done.stdout + done.stderr and len(lines) < 12
    assert any(line.startswith("2 jobs to do: figures 2; ") for line in lines)
    assert any(line.startswith("[0/2] figures, 2 jobs: Figure 2") for line in lines)
    assert re.match(r"Done in (\d+ min )?\d+ s: 2 jobs\.$", lines[-5])
    assert lines[-2].startswith("  claims    ")
    assert lines[-1].startswith("  next      snakemake pages")  # no Makefile is here
    # all of Snakemake's own words are in its log
    log = max((project / ".snakemake/log").iterdir())
    assert re.search(r"^fig2a +1$", log.read_text("utf-8"), re.MULTILINE)
    (project / "figures/tiny/fig2a.pdf").unlink()
    assert "Job stats:" in snakemake(project, "fig2a", "--printshellcmds").stderr


def test_a_run_at_a_terminal_shows_a_bar_and_leaves_the_screen_in_order(project):
    (project / "figures/tiny/fig2a.pdf").unlink()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "fig2a", "--configfile"]
    main, other = os.openpty()
    process = subprocess.Popen(
        [*command, "tiny.yaml"], cwd=project, env=unactivated() | {"TERM": "xterm"},
        stdin=other, stdout=other, stderr=other,
    )  # fmt: skip
    os.close(other)
    shown = b""
    # at the end there is nobody at the other side
    with contextlib.suppress(OSError):
        while read := os.read(main, 65536):
            shown += read
    os.close(main)
    assert process.wait() == 0
    text = shown.decode()
    assert "0 of 1 job" in text and "Figure 2a" in text and "Job stats" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()[-2:]
    assert re.match(r"Done in (\d+ min )?\d+ s: 1 job\.$", last[0])
    assert last[1] == "  figures   figures/tiny/fig2a.pdf, figures/tiny/fig2a.png"


def test_a_plan_that_a_person_reads(project):
    def read_plan(*arguments: str) -> str:
        command = [sys.executable, "-m", "hebae.workflow.dry_run", "--cores", "2", *arguments]
        done = subprocess.run(
            [*command, "--configfile", "tiny.yaml"], cwd=project, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": "src"},
        )  # fmt: skip
        assert done.returncode == 0 and "Job stats" not in done.stdout + done.stderr
        return done.stdout

    before = files_below(project)
    assert "Nothing to be done: everything is there." in read_plan()
    said = read_plan("--config", "replace=True", "--forcerun", "train", "--until", "train")
    runs = len(list((project / "results/tiny/runs").rglob("run.json")))
    assert re.search(r"\n  prepare +– +1\n", said)
    assert re.search(rf"\n  train +{runs} +– +(a few seconds|about .*)\n", said)
    assert re.search(rf"\n{runs} jobs; .* with 2 cores, judging from earlier runs\.\n", said)
    assert files_below(project) == before


@pytest.mark.parametrize("target", ["fig2a", "figures/tiny/fig2a.pdf"])
def test_one_figure_by_rule_or_by_file(project, target):
    for suffix in ("pdf", "png"):
        (project / f"figures/tiny/fig2a.{suffix}").unlink()
    assert plan(project, target) == {"fig2a": 1}
    snakemake(project, target)
    assert plan(project) == {}


EDIT = "\nEDITED = True\n"
REPLACE = ("--config", "replace=True")


def test_after_a_figure_is_edited_only_it_is_redrawn(editable):
    path = editable / "src/hebae/figures/fig1a.py"
    path.write_text(path.read_text() + EDIT)
    assert plan(editable) == {"fig1a": 1}


def test_after_a_loss_is_edited_its_runs_are_retrained(editable):
    path = editable / "src/hebae/models/objectives/vae.py"
    text = path.read_text()
    edited = text.replace(
        "posterior_kl(mean, log_sigma).mean()", "1.0 * posterior_kl(mean, log_sigma).mean()"
    )
    assert edited != text
    path.write_text(edited)
    line = complain(editable, "--dry-run")
    assert "error: 3 finished trainings of tiny, " in line
    assert "\n  other code in models/objectives/vae.py\n" in line and "replace=True" in line
    jobs = plan(editable, *REPLACE)
    assert jobs["train"] == 3  # VAE: two seeds, and one more weight
    assert jobs["encode"] == 2 and jobs["fig1a"] == 1 and "prepare" not in jobs
    shared = editable / "src/hebae/models/divergences/gaussian.py"
    shared.write_text(shared.read_text() + EDIT)
    assert plan(editable, *REPLACE)["train"] == 8


def test_a_changed_config_retrains_what_it_changes(project):
    changed = {**TINY, "models": {**TINY["models"]}}
    changed["models"]["HEBAE"] = {"objective": "hebae", "reparameterisation": "diagonal"}
    (project / "changed.yaml").write_text(yaml.safe_dump(changed))
    assert plan(project, *REPLACE, config="changed.yaml")["train"] == 3


@pytest.mark.parametrize("setting", ["data_dir=elsewhere", "device=cpu", "device=cuda"])
def test_where_and_on_what_it_runs_remakes_nothing(project, setting):
    done = snakemake(project, "--dry-run", "--config", setting)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_gpu_that_is_not_there(project, monkeypatch):
    """It is an error if runs are to be trained here; nothing is known about other machines."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (project / "new.yaml").write_text(yaml.safe_dump({**TINY, "seeds": [0, 1, 2]}))
    for options in [("--config", "device=cuda"), ("-n", "--config", "device=cuda")]:
        output = complain(project, *options, config="new.yaml")
        assert "error: device: cuda was asked for, but" in output.splitlines()[-1]
        assert "use device: auto or cpu" in output and "Traceback" not in output
    assert snakemake(
        project, "--dry-run", "--config", "device=cuda", "--profile", "profiles/slurm",
        config="new.yaml",
    )  # fmt: skip
    assert "error" not in snakemake(project, "-n", config="new.yaml").stderr


def test_without_conda_an_edited_environment_remakes_nothing(project):
    files = [project / "envs/torch.yaml", project / "envs/torch.post-deploy.sh"]
    before = [path.read_text() for path in files]
    for path, text in zip(files, before, strict=True):
        path.write_text(text + "# edited\n")
    assert plan(project) == {}
    for path, text in zip(files, before, strict=True):
        path.write_text(text)


def test_a_changed_panel_draws_new_images_only(project):
    changed = json.loads(json.dumps(TINY))
    changed["datasets"]["digits"]["panels"]["samples"] = [2, 2]
    (project / "changed.yaml").write_text(yaml.safe_dump(changed))
    jobs = plan(project, config="changed.yaml")
    assert jobs["images"] == 3 and jobs["appendix_c"] == 1
    assert not {"train", "encode", "covariance", "mutual_information"} & set(jobs)


def test_a_changed_count_measures_distances_again_and_trains_nothing(project):
    changed = json.loads(json.dumps(TINY))
    changed["datasets"]["digits"]["fid"]["n_generated"] = 70
    (project / "changed.yaml").write_text(yaml.safe_dump(changed))
    jobs = plan(project, config="changed.yaml")
    assert jobs["fid"] == 8 and jobs["fig1b"] == 1
    assert not {"train", "encode", "images", "classifier", "reference"} & set(jobs)


def test_rotation_features_are_proved_before_anything_is_measured_in_them(project):
    """`auto` is them until Inception's weights are there; their distances are not in the cache."""
    changed = json.loads(json.dumps(TINY))
    changed["datasets"]["digits"]["fid"]["features"] = "auto"
    changed["figures"] = {"fig1b": "digits"}
    changed["data_dir"] = "raw"
    (project / "turns.yaml").write_text(yaml.safe_dump(changed))
    jobs = plan(project, config="turns.yaml")
    assert (jobs["rotation"], jobs["distortions"], jobs["fid"]) == (1, 1, 8)
    assert not {"classifier", "inception"} & set(jobs)
    (project / "raw/inception").mkdir(parents=True)
    (project / "raw/inception" / FEATURES["inception"].weights).write_bytes(b"")
    jobs = plan(project, config="turns.yaml")
    assert (jobs["inception"], jobs["fid"]) == (1, 8)
    assert not {"classifier", "rotation", "distortions"} & set(jobs)


def test_after_the_classifier_is_edited_distances_are_measured_again(editable):
    path = editable / "src/hebae/measures/fid/features/classifier.py"
    path.write_text(path.read_text() + EDIT)
    jobs = plan(editable, *REPLACE)
    assert (jobs["classifier"], jobs["reference"], jobs["fid"]) == (1, 1, 8)
    assert not {"train", "encode", "prepare"} & set(jobs)


def test_after_the_style_is_edited_every_figure_is_redrawn(editable):
    style = editable / "src/hebae/figures/paper.mplstyle"
    text = style.read_text()
    style.write_text(text + "# edited\n")
    assert plan(editable) == {name: 1 for name in TINY["figures"]}
    style.write_text(text)


def test_a_changed_entry_of_the_registry_is_another_run(editable):
    path = editable / "src/hebae/config/registry.py"
    text = path.read_text()
    entry = 'ObjectiveEntry("hebae.models.objectives.vae:vae", charges="posterior_kl")'
    assert entry in text
    path.write_text(text.replace(entry, entry[:-1] + ", bound=False)"))
    assert plan(editable, *REPLACE)["train"] == 3
    path.write_text(text.replace(entry, entry + ', "new": ' + entry))  # a model joins
    assert plan(editable) == {}


def test_a_target_that_no_config_means(project):
    folder = "results/tiny/runs/digits/VAE"
    for target in (f"{folder}/z3/wxx/s0/run.json", "results/tiny/data/foo/dataset.json"):
        assert f"No rule to produce {target}" in complain(project, target)


def test_comments_and_times_remake_nothing(editable):
    for path in (editable / "src").rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    for name in ("*.npy", "weights.pt"):
        for path in (editable / "results").rglob(name):
            path.touch()
    assert plan(editable) == {}


def test_a_fresh_checkout_beside_the_results_retrains_nothing(project, tmp_path):
    copy_project(tmp_path, project)  # new files, all newer than the results
    for name in ("results", "figures", ".snakemake"):
        shutil.copytree(project / name, tmp_path / name, symlinks=True)
    shutil.copy(project / "tiny.yaml", tmp_path)
    for path in (tmp_path / "src").rglob("*.py"):
        path.touch()
    assert plan(tmp_path) == {}


def test_another_checkout_of_the_same_code_remakes_nothing(project, tmp_path):
    """Snakemake is told the checkout, and works in the folder of the results."""
    other = tmp_path / "another checkout"
    other.mkdir()
    copy_project(other, project)
    done = snakemake(
        project, "--dry-run", "--snakefile", str(other / "Snakefile"), "--directory", str(project)
    )
    assert "Nothing to be done" in done.stdout + done.stderr


def test_steps_are_forked_from_a_process_with_torch(editable):
    """Without forking they only take longer, so no other test would notice."""
    for step in ("codes/encode", "measures/measure"):
        path = editable / f"src/hebae/{step}.py"
        path.write_text(path.read_text() + "    import sys\n    print(sys.orig_argv)\n")
    snakemake(editable, "results/tiny/tables/covariance.csv")
    logs = editable / "results/tiny/logs/digits"
    for step in ("encode", "measure"):
        printed = [path.read_text() for path in logs.rglob(f"{step}.log")]
        assert len(printed) == 6 and all("hebae.workflow.fork_server" in text for text in printed)


SMALL = {"encoder_widths": [16], "decoder_widths": [16]}
INFOVAE = {
    "experiment": "infovae",
    "models": {
        "VAE": {"objective": "vae"},
        "InfoVAE": {
            "objective": "infovae",
            "alpha": 0.5,
            "divergence": {"name": "adversarial", "widths": [8]},
        },
    },
    "datasets": {
        "twice": {
            "source": "digits",
            "network": {"name": "dense", **SMALL},
            "reconstruction": {"name": "binary"},
            "latent_dims": [3],
            "training": {"epochs": 1},
            "models": {
                "VAE": {"weight": 1},
                "InfoVAE": {
                    "weight": 2,
                    "network": {"name": "pixelcnn", "channels": 4, "layers": 2, **SMALL},
                },
            },
            "mutual_information": {"indices": 4, "draws": 10, "sets": 2},
            "bounds": {"samples": [1, 5], "images": 20},
            "panels": {"samples": [3, 4], "steps": 5},
            "diagnostics": {"training_sizes": [60], "permutations": 50},
        }
    },
    "figures": dict.fromkeys(
        ["infovae_diagnostics", "infovae_decoder", "infovae_samples", "fair_bounds"], "twice"
    ),
}


def test_infovae_from_config_to_figures(editable):
    """A label for a dataset, a divergence with an adversary, another decoder, a subset."""
    (editable / "info.yaml").write_text(yaml.safe_dump(INFOVAE))
    snakemake(editable, config="info.yaml")
    for figure in INFOVAE["figures"]:
        assert (editable / f"figures/infovae/{figure}.png").read_bytes().startswith(b"\x89PNG")
    tables = editable / "results/infovae/tables"
    diagnostics = pd.read_csv(tables / "diagnostics.csv")
    columns = ["dataset", "model", "latent_dim", "weight", "seed", "n_train", "split"]
    assert list(diagnostics.columns[:7]) == columns
    assert {"mmd", "null_low", "null_high", "p_value", "log_det"} <= set(diagnostics.columns)
    expected = [
        ("twice", model, 3, weight, 0, n_train, split)
        for n_train in (1297, 60)
        for model, weight in (("InfoVAE", 2), ("VAE", 1))  # as safe_dump sorts them
        for split in ("train", "test")
    ]
    assert list(diagnostics[columns].itertuples(index=False, name=None)) == expected
    assert diagnostics.n_codes.tolist() == [1297, 500] * 2 + [60, 500] * 2
    for table in ("covariance", "mutual_information", "index_code_information"):
        assert set(pd.read_csv(tables / f"{table}.csv").model) == {"VAE", "InfoVAE"}
    # the other table is of the runs on all images
    assert len(pd.read_csv(tables / "elbo_by_weight.csv")) == 2
    assert plan(editable, config="info.yaml") == {}

    divergence = editable / "src/hebae/models/divergences/adversarial.py"
    divergence.write_text(divergence.read_text() + EDIT)
    assert plan(editable, *REPLACE, config="info.yaml")["train"] == 2
    path = editable / "src/hebae/config/registry.py"
    text = path.read_text()
    entry = '"hebae.models.divergences.adversarial:adversarial",'
    assert entry in text
    divergence.write_text(divergence.read_text().removesuffix(EDIT))
    path.write_text(text.replace(entry, entry.replace(':adversarial"', ':Discriminator"')))
    assert plan(editable, *REPLACE, config="info.yaml")["train"] == 2
    # what a config may set decides nothing about a run that does not set it
    path.write_text(text.replace(entry, entry + ' parameters={"slope": {"type": "number"}},'))
    assert plan(editable, config="info.yaml") == {}


def add_infovae(config: dict, recipe: dict, **divergence) -> None:
    config["models"]["InfoVAE"] = {
        "objective": "infovae",
        "divergence": {"name": "mmd", **divergence},
    }
    config["datasets"]["digits"]["models"]["InfoVAE"] = recipe


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["models"]["VAE"].update(objective="gan"), "unknown objective 'gan'"),
        (lambda c: c["datasets"]["digits"]["models"].update(GAN={"weight": 1}), "model 'GAN'"),
        (lambda c: c["datasets"].update(cifar=c["datasets"]["digits"]), "dataset 'cifar'"),
        (lambda c: c.update(epochs=3), "'epochs' was unexpected"),
        (lambda c: c["figures"].update(fig9="digits"), "unknown figure 'fig9'"),
        (lambda c: c.update(claims=["tic"]), "unknown claim 'tic'"),
        (lambda c: c["datasets"]["digits"]["models"]["VAE"].update(weight=-2), "-2 is less than"),
        (lambda c: c["datasets"]["digits"].update(latent_dims=[3, 200]), "latent_dim 200 needs"),
        (lambda c: c["datasets"]["digits"]["training"].update(batch_size=5000), "5000 is more"),
        (lambda c: c["datasets"]["digits"]["mutual_information"].update(indices=501), "501 is"),
        (lambda c: c["datasets"]["digits"]["panels"].update(interpolations=[[7, 99]]), "class 99"),
        (lambda c: c.pop("experiment"), "'experiment' is a required property"),
        (lambda c: add_infovae(c, {"weight": 0}), "needs a λ above 0, not 0"),
        (
            lambda c: add_infovae(c, {"weight": 0.3, "parameters": {"alpha": 0.5}}),
            "α + λ − 1 must not be below 0",
        ),
        (lambda c: add_infovae(c, {"weight": 1}, name="kl"), "unknown divergence 'kl'"),
        (lambda c: add_infovae(c, {"weight": 1}, kernel="rbf"), "'rbf' is not one of"),
        (
            lambda c: add_infovae(c, {"weight": 1, "network": {"name": "pixelcnn", **SMALL}}),
            "the decoder of 'pixelcnn' needs the reconstruction binary, not 'bernoulli'",
        ),
    ],
    ids=[
        "model",
        "dataset model",
        "dataset",
        "key",
        "figure",
        "claim",
        "weight",
        "latent_dim",
        "batch_size",
        "indices",
        "class",
        "no experiment",
        "no lambda",
        "alpha and lambda",
        "divergence",
        "kernel",
        "decoder",
    ],
)
def test_a_bad_config_is_one_line(project, edit, message):
    config = json.loads(json.dumps(TINY))
    edit(config)
    (project / "bad.yaml").write_text(yaml.safe_dump(config))
    output = complain(project, config="bad.yaml")
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]


TRAINED_TWICE = """
datasets:
  digits:
    training: {epochs: 1}
    latent_dims: [3]
    training: {epochs: 7}
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [1,\n b", "bad.yaml, line 1: the [ is not closed"),
        ("a:\n\tb: 1\n", "bad.yaml, line 2: a tab"),
        (b"a: m\xf6glich\n", "bad.yaml, line 1: byte 0xf6 is not UTF-8"),
        (TRAINED_TWICE, "bad.yaml, line 6: datasets.digits.training is given in line 4 already"),
        ("only text", "bad.yaml, line 1: no keys at the top level"),
        ("", "bad.yaml, line 1: no keys at the top level"),
        (None, "cannot read the config bad.yaml: No such file"),
    ],
    ids=["bracket", "tab", "encoding", "twice", "text", "empty", "missing"],
)
def test_a_config_that_cannot_be_read(project, content, said):
    (project / "bad.yaml").unlink(missing_ok=True)
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (project / "bad.yaml").write_bytes(content)
    output = complain(project, "--dry-run", config="bad.yaml")
    assert output.splitlines()[-1].startswith(f"error: {said}")
    assert output.count("error") == 1


def test_a_key_that_stands_twice_without_our_profile(project):
    (project / "bad.yaml").write_text(yaml.safe_dump(TINY) + TRAINED_TWICE)
    output = complain(project, "--workflow-profile", "none", config="bad.yaml")
    assert "error: bad.yaml, line " in output and "datasets is given in line" in output


def test_values_within_values_on_the_command_line(project):
    """They are merged into the config, numbers as numbers."""
    nested = "datasets={'digits': {'models': {'VAE': {'weights': [0.1, 1, 2]}}}}"
    done = snakemake(project, "--dry-run", "--config", nested, "seeds=[0, 1]")
    assert re.search(r"^train +1$", done.stdout, re.MULTILINE)
    nested = "datasets={'digits': {'training': {'epochs': 'two'}}}"
    output = complain(project, "--dry-run", "--config", nested)
    assert "error: config: datasets.digits.training.epochs: 'two' is not of type" in output


def test_two_configs_are_merged_and_named(project):
    (project / "more.yaml").write_text("seeds: [0, 1, 2]\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--configfile", "tiny.yaml", "more.yaml"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "Config: tiny.yaml and more.yaml, merged; where several set a key, the last" in done.stderr
    )
    assert re.search(r"^train +3$", done.stdout, re.MULTILINE)
    assert "merged" not in snakemake(project, "--dry-run").stderr


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("hebae.models.objectives.vae:vae", "hebae.models.objectives.vae:vea"), "has no vea"),
        (("hebae.measures.covariance:rows", "hebae.measures.kovariance:rows"), "there is no "),
    ],
)
def test_an_entry_of_the_registry_that_is_not_there(editable, edit, said):
    registry = editable / "src/hebae/config/registry.py"
    text = registry.read_text()
    assert edit[0] in text
    registry.write_text(text.replace(*edit))
    for options in [(), ("--dry-run",)]:
        (line,) = [
            line for line in complain(editable, *options).splitlines() if line.startswith("error: ")
        ]
        assert edit[1] in line and said in line


def test_an_unknown_figure_as_target(project):
    assert "No rule to produce fig9" in complain(project, "fig9")


def test_a_figure_the_experiment_does_not_have(project):
    config = {**TINY, "figures": {"fig1a": "digits"}}
    (project / "other.yaml").write_text(yaml.safe_dump(config))
    # Snakemake shows where an input function failed, so there is more than this line
    done = snakemake(project, "figures/tiny/fig2c.pdf", config="other.yaml", check=False)
    assert done.returncode != 0
    assert "tiny has no figure fig2c; its figures: fig1a" in done.stdout + done.stderr


def test_missing_and_corrupt_data_files_are_named(project):
    config = json.loads(json.dumps(TINY).replace("digits", "mnist"))
    config.update(experiment="broken", data_dir="raw")
    (project / "mnist.yaml").write_text(yaml.safe_dump(config))
    raw = project / "raw/MNIST/raw"
    raw.mkdir(parents=True)
    for content in (b"\x1f\x8b truncated", b"\0\0\x08\x03 not MNIST"):
        (raw / "train-images-idx3-ubyte.gz").write_bytes(content)
        output = complain(project, config="mnist.yaml")
        (line,) = (line for line in output.splitlines() if line.startswith("error: "))
        assert "train-images-idx3-ubyte.gz" in line
        assert (raw / "train-images-idx3-ubyte.gz").read_bytes() == content
    assert not list(project.glob("results/broken/data/mnist/*"))


def test_a_wrong_inception_file_is_named_and_stops_distances_alone(project):
    config = json.loads(json.dumps(TINY))
    config.update(experiment="inception", data_dir="weights", seeds=[0])
    config["datasets"]["digits"]["fid"]["features"] = "inception"
    config["datasets"]["digits"]["models"] = {"VAE": {"weight": 1}}
    config["figures"] = {"fig1b": "digits", "fig2a": "digits"}
    (project / "inception.yaml").write_text(yaml.safe_dump(config))
    wrong = project / "weights/inception/pt_inception-2015-12-05-6726825d.pth"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"<html>quota exceeded</html>")
    output = complain(project, config="inception.yaml")
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert wrong.name in line and "left as it is" in line
    assert wrong.read_bytes() == b"<html>quota exceeded</html>"
    assert (project / "figures/inception/fig2a.png").exists()
    assert not (project / "figures/inception/fig1b.png").exists()


def test_real_faces_from_a_folder(project):
    """A user's own images, convolutional networks, and a model trained otherwise than the rest."""
    config = json.loads(json.dumps(TINY))
    celeba = config["datasets"].pop("digits")
    celeba.pop("fid")
    celeba.update(
        network={"name": "convolutional", "width": 0.02, "batch_norm": "frozen"},
        reconstruction={"name": "squared_error"},
        training={"epochs": 2, "batch_size": 10},
        models={
            "HEBAE": {"weight": 0.001},
            "WAE": {
                "weight": 100,
                "parameters": {"prior_variance": 2},
                "reconstruction": {"name": "squared_error", "reduction": "sum", "factor": 0.05},
                "training": {"epochs": 1, "adam_beta1": 0.5},
            },
        },
        panels={"interpolations": [[0, 1]], "end_points": "image", "samples": [2, 2], "steps": 3},
    )
    photos = """it's "the" {photos} & $HOME"""
    config.update(experiment="faces", data_dir=photos, seeds=[0])
    config["datasets"]["celeba"] = celeba
    config["figures"] = {"fig2b": "celeba", "fig2d": "celeba", "fig3": "celeba"}
    (project / "faces.yaml").write_text(yaml.safe_dump(config))
    folder = project / photos / "celeba/img_align_celeba"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (61, 5, 5, 3), dtype=np.uint8)
    for i, image in enumerate(colours[:60]):
        Image.fromarray(image).resize((178, 218)).save(folder / f"{i:06}.jpg")
    parts = [f"{i:06}.jpg {2 * (i % 3 == 0)}" for i in range(61)]
    (folder.parent / "list_eval_partition.txt").write_text("\n".join(parts))

    snakemake(project, config="faces.yaml")
    for figure in config["figures"]:
        assert (project / f"figures/faces/{figure}.png").read_bytes().startswith(b"\x89PNG")
    tables = project / "results/faces/tables"
    by_weight = pd.read_csv(tables / "elbo_by_weight.csv")
    assert by_weight[["elbo", "elbo_paper"]].isna().all(axis=None)  # a mean square is no likelihood
    assert by_weight.reconstruction.between(0, 4).all()
    epochs = pd.read_csv(tables / "elbo_by_epoch.csv").groupby("model").epoch.max()
    assert epochs.to_dict() == {"HEBAE": 2, "WAE": 1}
    assert not (tables / "fid.csv").exists()
    # what is to be known of the images stands beside what was made of them
    said = "list_eval_partition.txt names 1 images that are not there, the first 000060.jpg; 60 are"
    paths = [next((project / "results/faces/runs").rglob("run.json"))]
    for path in [*paths, project / "figures/faces/fig2b.json"]:
        assert json.loads(path.read_text())["dataset_notes"] == [f"celeba/{said}"]
    assert plan(project, config="faces.yaml") == {}

    # another set of images is other data, wherever it lies
    shutil.move(project / photos, project / "moved")
    config["data_dir"] = "moved"
    (project / "faces.yaml").write_text(yaml.safe_dump(config))
    assert plan(project, config="faces.yaml") == {}
    Image.fromarray(colours[60]).resize((178, 218)).save(
        project / "moved/celeba/img_align_celeba/000060.jpg"
    )
    assert plan(project, *REPLACE, config="faces.yaml")["prepare"] == 1


def test_results_that_cannot_be_written(tmp_path):
    copy_project(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "results").write_text("a file where a folder should be\n")
    done = snakemake(tmp_path, check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    assert "cannot write below results/tiny" in output.splitlines()[-1]
    assert (tmp_path / "results").read_text() == "a file where a folder should be\n"


def test_a_diverged_run_stops_itself_and_no_other(project):
    config = json.loads(json.dumps(TINY))
    config["experiment"] = "diverged"
    config["datasets"]["digits"]["training"]["learning_rate"] = 1e30
    config["datasets"]["digits"]["models"] = {"VAE": {"weight": 1}}
    config["figures"] = {"fig2a": "digits"}
    (project / "diverged.yaml").write_text(yaml.safe_dump(config))
    output = complain(project, config="diverged.yaml")
    lines = [line for line in output.splitlines() if line.startswith("error: run ")]
    assert {"digits/VAE/z3/w1/s0", "digits/VAE/z3/w1/s1"} == {line.split()[2] for line in lines}
    assert all("diverged in epoch 1" in line for line in lines)


def test_a_workflow_killed_in_mid_training_ends_as_if_it_had_not(project, tmp_path):
    """SIGKILL to the whole process group; then the plain command again."""
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["training"]["epochs"] = 200
    config["datasets"]["digits"]["models"] = {"HEBAE": {"weight": 1}}
    config.update(seeds=[0], figures={"fig2a": "digits"})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        copy_project(folder, project)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
        checkpoint_each(folder)
    target = "results/tiny/runs/digits/HEBAE/z3/w1/s0/run.json"
    snakemake(whole, target)

    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", target, "--configfile", "tiny.yaml"],
        cwd=killed, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    history = (killed / target).with_name("history.csv")
    deadline = time.monotonic() + 500
    while not history.exists() or history.read_text().count("\n") < 40:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / target).exists()

    assert list((killed / ".snakemake/locks").iterdir())
    assert "An earlier Snakemake was killed here" in snakemake(killed, target).stderr
    assert not (killed / "results/tiny/checkpoints").exists()
    log = (killed / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log").read_text()
    assert "continuing digits/HEBAE" in log
    weights = [(folder / target).with_name("weights.pt").read_bytes() for folder in (whole, killed)]
    assert weights[0] == weights[1]


NOTHING_BESIDE = """
import importlib.machinery, pkgutil
find_spec, iter_modules = importlib.machinery.PathFinder.find_spec, pkgutil.iter_modules
def find(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked} else find_spec(name, path, target)
importlib.machinery.PathFinder.find_spec = find
pkgutil.iter_modules = lambda *given: (m for m in iter_modules(*given) if m.name not in {blocked})
"""


def packages_beside_snakemake() -> set[str]:
    """The modules here that a Snakemake, freshly installed, does not bring along."""
    brought, todo = set(), ["snakemake"]
    while todo:
        name = canonicalize_name(todo.pop())
        if name in brought:
            continue
        brought.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not brought & set(map(canonicalize_name, distributions))
    } - {"hebae", "pip", "setuptools", "_distutils_hack", "pkg_resources"}


def test_a_snakemake_with_nothing_beside_it_plans_and_runs(project, tmp_path):
    """Conda brings what the jobs need; here they have what this Python has."""
    beside = packages_beside_snakemake()
    assert {"torch", "numpy", "pandas", "matplotlib"} <= beside
    (tmp_path / "sitecustomize.py").write_text(NOTHING_BESIDE.format(blocked=beside))
    (project / "figures/tiny/fig2a.pdf").unlink()
    for options in (["--dry-run"], []):
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores=2", *options, "--configfile=tiny.yaml"],
            cwd=project, env={**unactivated(), "PYTHONPATH": str(tmp_path)}, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("dry-run" if options else "Done in") in done.stdout + done.stderr
