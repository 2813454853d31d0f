"""`make status` on planted files: what runs, what was killed, what waits and what failed."""

import contextlib
import dataclasses
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.project import heed_interrupts

from hebae.base import files, lock
from hebae.base.errors import UserError
from hebae.base.sources import ROOT
from hebae.config.fields import to_json
from hebae.training import status
from hebae.training.now import NAME, Now, RunNow
from hebae.training.plan import Plan, write_plan

A, B, C, D = (f"digits/VAE/z8/w1/s{seed}" for seed in range(4))
HERE = status.platform.node()


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """Time stands still, later than all that is written here: a slow disk is no age."""
    now = time.time() + 60
    monkeypatch.setattr(status.time, "time", lambda: now)


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    write_plan(folder / "tiny/plan.json", Plan(runs=(A, B, C, D)))
    return folder


@pytest.fixture
def locks():
    with contextlib.ExitStack() as stack:
        yield stack


def plant(results: Path, *runs: str, host=HERE, age: float = 0, locks=None, **fields) -> Path:
    """Write the file of a training with this age, and hold its lock if it is to be alive."""
    folder = results / "tiny/checkpoints" / (runs[0] if len(runs) == 1 else "packs/0")
    scored = tuple(RunNow(run, "bound", -98.2154) for run in runs)
    told = dataclasses.replace(Now(host, 4242, None, 100, 40.2, 2.0, scored), **fields)
    files.write_bytes(folder / NAME, to_json(told).encode())
    os.utime(folder / NAME, (time.time() - age,) * 2)
    if locks is None:
        (folder / "lock").touch()  # as a killed process leaves it
    else:
        locks.enter_context(lock.hold(folder / "lock"))
    return folder


def finish(results: Path, run: str) -> None:
    files.write_json(results / "tiny/runs" / run / "run.json", {})


def fail(results: Path, run: str, text: str, age: float = 0) -> None:
    log = results / "tiny/logs" / run / "train.log"
    files.write_bytes(log, text.encode())
    os.utime(log, (time.time() - age,) * 2)


def shown(results: Path, name: str | None = None, width: int | None = None) -> list[str]:
    return status.picture(results, name, width)


def row(lines: list[str], run: str) -> str:
    (found,) = [line for line in lines if line.split()[:1] == [run]]
    return found


def test_a_running_training_with_what_it_told(results, locks):
    plant(results, A, locks=locks)
    finish(results, B)
    lines = shown(results)
    assert lines[0] == "tiny: 1 of 4 runs finished, 1 training, 2 waiting"
    assert re.split("  +", row(lines, A)) == [
        "", A, "40.2/100", "bound -98.215", "2", "2 min 00 s", "process 4242",
    ]  # fmt: skip
    assert re.split("  +", lines[1].strip()) == list(status.HEADER)
    assert f"  waiting: {C}, {D}" in lines and "nothing is training" not in lines


def test_a_killed_one_is_not_believed_though_its_process_number_is_taken(results):
    plant(results, A, process=os.getpid(), age=700)
    lines = shown(results)
    assert lines[0] == "nothing is training"
    assert row(lines, A).endswith("killed, last sign 11 min 40 s ago")
    assert lines[2] == "tiny: 0 of 4 runs finished, 4 waiting"
    assert lines[-2].endswith(f"{C} and 1 more")
    assert lines[-1] == "  no Snakemake is running; to go on, give its command again"


def test_while_a_snakemake_is_at_it_nobody_is_asked_to_start_one(results, locks):
    locks.enter_context(lock.hold(results / "tiny/.lock"))
    assert shown(results)[-1] == f"  waiting: {A}, {B}, {C} and 1 more"


@pytest.mark.parametrize(
    ("age", "training", "said"),
    [
        (5, "1 training", "SLURM job 7 on node7"),
        (720, "1 silent", "SLURM job 7 on node7, no sign for 12 min 00 s"),
    ],
)
def test_another_machine_is_believed_for_a_while(age, training, said, results):
    plant(results, A, host="node7", slurm_job="7", age=age)
    lines = shown(results)
    assert row(lines, A).endswith(said)
    assert f"tiny: 0 of 4 runs finished, {training}, 3 waiting" in lines
    assert ("nothing is training" in lines) == (age > 60)


def test_a_lock_that_is_held_counts_on_another_machine_too(results, locks):
    plant(results, A, host="node7", age=720, locks=locks)
    lines = shown(results)
    assert row(lines, A).endswith("process 4242 on node7, no sign for 12 min 00 s")
    assert lines[0].startswith("tiny: 0 of 4 runs finished, 1 training")


def test_where_there_are_no_locks_age_counts(results, monkeypatch):
    plant(results, A, age=5)
    plant(results, B, age=720)

    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    assert shown(results)[0] == "tiny: 0 of 4 runs finished, 1 training, 1 silent, 2 waiting"


def test_each_run_of_a_pack_has_a_row(results, locks):
    scores = (RunNow(A, "bound", -1.5), RunNow(B, "reconstruction", 2.5), RunNow(C, failed=True))
    plant(results, A, B, C, locks=locks, runs=scores)
    lines = shown(results)
    assert lines[0] == "tiny: 0 of 4 runs finished, 3 training, 1 waiting"
    assert all(row(lines, run).endswith("process 4242, pack of 3") for run in (A, B, C))
    assert "bound -1.5 " in row(lines, A) and "error 2.5 " in row(lines, B)
    assert " failed " in row(lines, C)


def test_what_was_killed_and_is_done_by_now_is_not_shown(results, locks):
    plant(results, A, B)  # a pack that was killed
    finish(results, A)
    plant(results, B, locks=locks)
    plant(results, "digits/VAE/z8/w1/s99")  # no longer asked for
    lines = shown(results)
    assert sum("killed" in line for line in lines) == 0
    assert lines[0] == "tiny: 1 of 4 runs finished, 1 training, 2 waiting"


def test_what_failed_since_the_last_call_says_why(results):
    fail(results, A, f"epoch 1/3\nerror: run {A} diverged in epoch 3")
    fail(results, B, "Traceback (most recent call last):\n  ...\nValueError: ours")
    fail(results, C, "error: of the call before", age=3600)
    fail(results, D, "epoch 1/3  test bound -3")
    lines = shown(results)
    assert f"  failed 0 s ago: run {A} diverged in epoch 3" in lines
    assert f"  failed 0 s ago: {B}: ValueError: ours" in lines
    assert "tiny: 0 of 4 runs finished, 2 waiting, 2 failed" in lines
    for run in (A, B, C, D):
        fail(results, run, "error: no luck")
    lines = shown(results)
    assert sum("no luck" in line for line in lines) == 3
    assert lines[-1] == "  and 1 more failed; results/tiny/logs has the reasons"


def test_damaged_files_are_passed_over(results, locks):
    plant(results, A, locks=locks)
    (plant(results, B) / NAME).write_bytes(b'{"host"')
    assert shown(results)[0].startswith("tiny: 0 of 4 runs finished, 1 training, 3 waiting")
    (results / "tiny/plan.json").write_bytes(b"\xff{")
    assert shown(results)[0] == "tiny: not planned by the workflow, 1 training"


def test_before_the_first_epoch_nothing_is_made_up(results, locks):
    plant(results, A, locks=locks, epoch=0.0, pace=None, runs=(RunNow(A),))
    assert row(shown(results), A).split() == [A, "0/100", "process", "4242"]


def test_all_experiments_or_one(results, locks):
    plant(results, A, locks=locks)
    write_plan(results / "other/plan.json", Plan(runs=(A,)))
    (results / ".trained").mkdir()
    summaries = [line for line in shown(results) if "finished" in line]
    assert [line.split(":")[0] for line in summaries] == ["other", "tiny"]
    assert shown(results, "other")[0] == "nothing is training"
    for nowhere in (shown(results, "unknown"), shown(results.parent / "nowhere")):
        assert nowhere == ["nothing is training"]


def test_a_config_names_its_experiment(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("experiment: tiny\nseeds: [0]\n")
    assert status.named_in(config) == "tiny"
    config.write_text("seeds: [0]\n")
    with pytest.raises(UserError, match="it names no experiment"):
        status.named_in(config)
    with pytest.raises(UserError, match="no such config"):
        status.named_in(tmp_path / "d.yaml")


def test_a_training_that_ends_meanwhile_takes_its_folder_away(results, monkeypatch):
    plant(results, A)
    gone = plant(results, B)
    scandir = os.scandir

    def removing(path):
        if os.fspath(path) == os.fspath(gone):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removing)
    lines = shown(results)
    assert row(lines, A) and not any(line.split()[:1] == [B] for line in lines)


def test_on_a_narrow_terminal_names_lose_their_beginnings(results, locks):
    wide = "celeba-aligned/" + "HEBAE-diagonal-" * 8 + "/z64/w0.001/s0"
    plant(results, wide, locks=locks)
    full = row(shown(results), wide)
    narrow = [line for line in shown(results, width=100) if "process 4242" in line]
    assert len(narrow[0]) <= 100 < len(full)
    assert narrow[0].startswith("  …") and "/z64/w0.001/s0  40.2/100" in narrow[0]


def command(results: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "hebae.training.status", "--results", str(results), *arguments]


def used() -> float:
    """Seconds of a core that children of this process took."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def test_it_is_there_at_once_and_imports_nothing_heavy(results):
    plant(results, A)
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'numpy', 'pandas', 'yaml')));"
    code = f"{blocked} from hebae.training import status; status.main(sys.argv[1:])"
    before, started = used(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "--results", results],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert used() - before < 3  # of a core, which others may have meanwhile
    assert time.monotonic() - started < 60
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("nothing is training\n") and "\033" not in done.stdout


def test_watching_redraws_and_ends_with_ctrl_c(results):
    ours, theirs = pty.openpty()
    plant(results, A)
    process = subprocess.Popen(
        command(results, "--watch"), stdout=theirs, stderr=theirs, preexec_fn=heed_interrupts
    )
    os.close(theirs)
    drawn = b""
    while drawn.count(b"\033[H") < 2:
        drawn += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert b"Traceback" not in drawn and drawn.count(b"nothing is training") >= 1
    os.close(ours)
