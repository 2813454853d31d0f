"""A folder of results: one process at a time, no lock outlives its process, no config replaces
the runs of another."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from tests.runs import RUN, changed

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.run import differences
from hebae.workflow import workspace


def test_a_claim_names_the_experiment_and_who_has_it(tmp_path):
    with workspace.claim("demo", tmp_path), pytest.raises(UserError) as raised:
        workspace.claim("demo", tmp_path)
    message = str(raised.value)
    assert "demo is being made by another Snakemake" in message and str(os.getpid()) in message
    assert "\n" not in message


def test_only_locks_below_what_was_claimed_are_removed(tmp_path):
    content = {
        "0.output.lock": "results/demo/tables/fid.csv\nfigures/demo/fig1a.pdf\n",
        "0.input.lock": "src/hebae/training/train.py\nresults/demo/data/digits/dataset.json\n",
        "1.output.lock": "results/demo2/tables/fid.csv\n",
        "1.input.lock": "src/hebae/training/train.py\n",
    }
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    claimed = [Path("results/demo"), Path("figures/demo")]
    assert workspace.remove_stale_locks(tmp_path, claimed) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.input.lock", "1.output.lock"]
    assert workspace.remove_stale_locks(tmp_path / "none", claimed) == 0


def test_differences_name_nested_keys():
    there = {"a": 1, "training": {"epochs": 100, "steps": [[1, 2]]}, "parameters": {}}
    here = {"a": 1, "training": {"epochs": 50, "steps": ((1, 2),)}, "parameters": {"alpha": "x"}}
    assert differences(there, here) == [
        ("parameters.alpha", "unset", '"x"'),
        ("training.epochs", "100", "50"),
    ]
    assert differences(here, here) == []


def record(results: Path, run) -> None:
    files.write_json(results / "runs" / run.path / "run.json", {"run": vars(run) | {
        "training": vars(run.training)}})  # fmt: skip


def test_runs_of_another_config_are_found_and_named(tmp_path):
    runs = [changed(seed=0), changed(seed=1), changed(seed=2)]
    record(tmp_path, changed(seed=0))
    sources = {RUN.dataset: "digits"}
    workspace.check_same_config(tmp_path, runs, sources)  # the same, and some not yet trained
    record(tmp_path, changed(seed=1, epochs=77))
    record(tmp_path, changed(seed=2, epochs=78))
    with pytest.raises(UserError) as raised:
        workspace.check_same_config(tmp_path, runs, sources)
    message = str(raised.value)
    assert f"2 trained runs of another config: {runs[1].path} (training.epochs 77 there" in message
    assert "replace=True" in message and "\n" not in message
    assert RUN.training.epochs != 77


def test_a_record_of_an_earlier_version_is_of_the_same_run(tmp_path):
    """It has λ as text, under "weight"."""
    for run, text in ((RUN, "1"), (changed(seed=1), "2")):
        fields = json.loads(run.to_json())
        fields["weight"] = text
        del fields["lam"]
        files.write_json(tmp_path / "runs" / run.path / "run.json", {"run": fields})
    workspace.check_same_config(tmp_path, [RUN], {RUN.dataset: "digits"})
    with pytest.raises(UserError, match=r"lam 2\.0 there, 1\.0 here"):
        workspace.check_same_config(tmp_path, [changed(seed=1)], {RUN.dataset: "digits"})


def test_a_record_that_is_none_stops_nothing(tmp_path):
    path = tmp_path / "runs" / RUN.path / "run.json"
    for content in ("", "[]", '{"run": 3}', "{"):
        files.write_bytes(path, content.encode())
        workspace.check_same_config(tmp_path, [RUN], {RUN.dataset: "digits"})


def test_runs_on_other_images_under_the_same_label_are_another_config_s(tmp_path):
    record(tmp_path, RUN)
    files.write_json(tmp_path / "data" / RUN.dataset / "dataset.json", {"name": "mnist"})
    workspace.check_same_config(tmp_path, [RUN], {RUN.dataset: "mnist"})
    with pytest.raises(UserError, match='source "mnist" there, "digits" here'):
        workspace.check_same_config(tmp_path, [RUN], {RUN.dataset: "digits"})


def test_ended_trainings_are_forgotten_and_others_are_not(tmp_path):
    checkpoints, runs = tmp_path / "checkpoints", tmp_path / "runs"
    names = ("a/s0/key.finished/weights.pt", "a/s0/lock", "a/s1/key.pt", "b/s0/key.pt")
    for name in (*names, "b/s1/k.finished/x"):
        files.write_bytes(checkpoints / name, b"")
    files.write_bytes(runs / "a/s0/run.json", b"")
    files.write_bytes(runs / "a/s1/run.json", b"")  # where nothing can be linked
    noted = [runs / name for name in ("a/s0", "a/s1", "b/s0", "b/s1")]
    workspace.sweep(checkpoints, runs, noted)
    # one is not ended, the outputs of another are lost
    left = {path for path in checkpoints.rglob("*") if path.is_file()}
    assert left == {checkpoints / "b/s0/key.pt", checkpoints / "b/s1/k.finished/x"}
    assert not (checkpoints / "a").exists()
    files.write_bytes(runs / "b/s1/run.json", b"")
    workspace.sweep(checkpoints, runs, noted[:3])  # whole, but nobody has noted it
    assert (checkpoints / "b/s1").exists()
    workspace.sweep(checkpoints, runs, noted)
    assert not (checkpoints / "b/s1").exists() and (checkpoints / "b").exists()
    workspace.sweep(tmp_path / "none", runs, noted)


def test_files_from_the_future_are_dated_now(tmp_path):
    for name, seconds in (("old", -100), ("new", 1000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() + seconds,) * 2)
    (tmp_path / "link").symlink_to("nowhere")
    before = (tmp_path / "old").stat().st_mtime
    assert workspace.date_now([tmp_path, tmp_path / "none"]) == 1
    assert abs((tmp_path / "new").stat().st_mtime - time.time()) < 60
    assert (tmp_path / "old").stat().st_mtime == before
    assert workspace.date_now([tmp_path]) == 0


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = tmp_path / f".table.csv.{files.HOST}.{process.pid}.part"
    alive = tmp_path / f".table.csv.{files.HOST}.1.part"
    elsewhere = tmp_path / f".table.csv.other.{process.pid}.part"
    other = tmp_path / f".other.csv.{files.HOST}.{process.pid}.part"
    for path in (dead, alive, elsewhere, other):
        path.write_text("half")
    files.write_bytes(tmp_path / "table.csv", b"whole")
    assert not dead.exists() and alive.exists() and elsewhere.exists() and other.exists()
    assert (tmp_path / "table.csv").read_bytes() == b"whole"


def test_what_was_there_before_is_kept_where_asked(tmp_path):
    path, before = tmp_path / "a", tmp_path / "before"
    for content in (b"1", b"2", b"3"):
        with files.replacing(path, keep=before) as stream:
            stream.write(content)
    assert (path.read_bytes(), before.read_bytes()) == (b"3", b"2")
    with pytest.raises(KeyError), files.replacing(path, keep=before) as stream:
        raise KeyError
    assert (path.read_bytes(), before.read_bytes()) == (b"3", b"2")


def test_a_write_that_fails_says_where(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: .*/table.csv'"),
        files.replacing(tmp_path / "table.csv") as _,
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_written_a_row_at_a_time(tmp_path):
    """A sweep's history has millions of rows."""
    rows = ({"epoch": epoch, "elbo": -0.1, "note": None} for epoch in range(30_000))
    tracemalloc.start()
    try:
        files.write_csv(tmp_path / "table.csv", rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    lines = (tmp_path / "table.csv").read_bytes().split(b"\n")
    assert (lines[0], lines[1], lines[-2]) == (b"epoch,elbo,note", b"0,-0.1,", b"29999,-0.1,")
    assert len(lines) == 30_002 and lines[-1] == b"" and peak < 500_000


def test_rows_that_fail_leave_the_table_as_it_was(tmp_path):
    def rows():
        yield {"a": 1}
        raise UserError("no more")

    files.write_csv(tmp_path / "table.csv", [{"a": "ä"}])
    with pytest.raises(UserError):
        files.write_csv(tmp_path / "table.csv", rows())
    files.write_csv(tmp_path / "empty.csv", [])
    assert (tmp_path / "table.csv").read_text() == "a\nä\n"
    assert (tmp_path / "empty.csv").read_bytes() == b""
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "empty.csv"}
