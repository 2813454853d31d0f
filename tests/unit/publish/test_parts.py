"""Publishing an experiment of which some runs are not there yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from hebae.claims.verdicts import Verdict, read_findings
from hebae.publish.results import verify, write

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
