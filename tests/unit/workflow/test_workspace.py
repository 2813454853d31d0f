"""A folder of results: one process at a time, and no lock outlives its process."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

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
