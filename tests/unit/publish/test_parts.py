"""Publishing an experiment of which some runs are not there yet."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import yaml

from hebae.claims.verdicts import Verdict, read_findings
from hebae.publish.results import read_experiment, verify, write

ROOT = Path(__file__).parents[3]


def test_a_seed_more_leaves_out_what_needs_it_and_decides_nothing(tmp_path):
    folder, config = tmp_path / "demo", tmp_path / "demo.yaml"
    shutil.copytree(ROOT / "docs/results/demo", folder)
    document = yaml.safe_load((folder / "config.yaml").read_text())
    before = read_findings(folder / "tables/claims.csv")
    config.write_text(yaml.safe_dump(document | {"seeds": [*document["seeds"], 99]}))
    left_out = write(config, tmp_path / "nothing", folder)
    figures = folder / "figures"
    drawn = {path.stem for path in figures.glob("*.png")}
    assert drawn == {path.stem for path in figures.glob("*.json")}  # none is half written
    assert "fig1a" not in drawn and "batch_bias" in drawn
    for said in ("table runs: ", "figure fig1a: tables/elbo_by_epoch.csv: ", "figure fig2a: "):
        assert any(line.startswith(said) for line in left_out), said
    found = read_findings(folder / "tables/claims.csv")
    assert len(found) == len(before)
    assert {one.verdict for one in found} <= {Verdict.UNDECIDED, Verdict.NOT_RUN}
    waiting = [one for one in found if one.dataset == "digits"]  # faces have seeds of their own
    assert waiting and all(one.note.startswith("waits for ") for one in waiting)
    assert verify(folder) == ([], len(drawn))


def test_a_training_that_is_under_way_is_not_published(tmp_path):
    """It has a history of some epochs, and no record yet."""
    folder, config = tmp_path / "digits", tmp_path / "digits.yaml"
    document = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    digits = document["datasets"]["digits"] | {"models": {"VAE": {"weight": 1}}}
    digits |= {"latent_dims": [8], "weight_latent_dims": [8]}
    small = {"seeds": [0, 1], "datasets": {"digits": digits}, "figures": {"fig2a": "digits"}}
    config.write_text(yaml.safe_dump(document | small))
    experiment = read_experiment(config)
    for run in experiment.runs():
        of_run = tmp_path / "results" / experiment.name / "runs" / run.path
        of_run.mkdir(parents=True)
        row = ",".join(map(str, (*run.identity.values(), 1, "test", -9.5)))
        text = f"dataset,model,latent_dim,weight,seed,epoch,split,elbo_paper\n{row}\n"
        (of_run / "history.csv").write_text(text)
    (of_run / "run.json").write_text(json.dumps({"run": asdict(run), "versions": {}}))
    left_out = write(config, tmp_path / "results", folder)
    assert "table elbo_by_epoch: 1 of 2 runs" in left_out
    for name in ("elbo_by_epoch", "elbo_by_weight"):
        assert list(pd.read_csv(folder / f"tables/{name}.csv")["seed"]) == [run.seed]
