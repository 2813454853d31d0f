"""What machines and people do to a workflow: a line that says so, and nothing lost.

``make test-hostile``; what needs a small disk of its own is skipped where none can be mounted.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.project import (
    TINY,
    checkpoint_each,
    copy_project,
    files_below,
    heed_interrupts,
    plan,
    snakemake,
    text_of,
)

EXPERIMENT = json.loads(json.dumps(TINY)) | {"seeds": [0], "figures": {"fig2a": "digits"}}
EXPERIMENT["datasets"]["digits"]["models"] = {"HEBAE": {"weight": 1}, "WAE": {"weight": 10}}
EXPERIMENT["datasets"]["digits"].pop("fid")

RUN = "results/tiny/runs/digits/HEBAE/z3/w1/s0"
CHECKPOINTS = "results/tiny/checkpoints/digits/HEBAE/z3/w1/s0"


def new_project(folder: Path, config: dict = EXPERIMENT, checkpoint_seconds: float = 10) -> Path:
    folder.mkdir(exist_ok=True)
    copy_project(folder)
    write(folder, config)
    checkpoint_each(folder, checkpoint_seconds)
    return folder


def write(folder: Path, config: dict) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))


def changed(**training) -> dict:
    """The experiment, one model of it, trained otherwise."""
    config = json.loads(json.dumps(EXPERIMENT))
    config["datasets"]["digits"]["training"].update(training)
    config["datasets"]["digits"]["models"].pop("WAE")
    return config


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores=2", *arguments, "--configfile=tiny.yaml"],
        cwd=folder, start_new_session=True, preexec_fn=heed_interrupts, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def until(happened, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 500
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(process.stdout.read())
        time.sleep(0.01)


def fails(folder: Path, *arguments: str) -> str:
    """The one line of a call that must fail, without a traceback."""
    done = snakemake(folder, *arguments, check=False)
    return only_line(done.stdout + done.stderr, done.returncode)


def only_line(output: str, status: int) -> str:
    assert status != 0 and "Traceback" not in output, output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, output
    return lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project in which the experiment has been made."""
    folder = new_project(tmp_path_factory.mktemp("finished"))
    snakemake(folder)
    return folder


@pytest.fixture(scope="module")
def whole_weights(tmp_path_factory) -> bytes:
    """What 400 epochs make of HEBAE when nothing happens."""
    folder = new_project(tmp_path_factory.mktemp("whole"), changed(epochs=400))
    snakemake(folder, f"{RUN}/run.json")
    return (folder / RUN / "weights.pt").read_bytes()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[None]:
    """Mount a file system of this size at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return filler


def test_the_disk_is_full_in_mid_training(tmp_path, whole_weights):
    folder = new_project(tmp_path / "p", changed(epochs=400), checkpoint_seconds=0.5)
    with small_disk(folder / "results", 4):
        process = start(folder, f"{RUN}/run.json")
        until(lambda: list((folder / CHECKPOINTS).glob("[!.]*.pt")), process)
        filler = fill(folder / "results")
        output = process.communicate(timeout=500)[0]
        line = only_line(output, process.returncode)
        assert "No space left on device" in line and "make room" in line
        assert not (folder / RUN / "run.json").exists()
        assert list((folder / CHECKPOINTS).glob("[!.]*.pt"))

        filler.unlink()
        snakemake(folder, f"{RUN}/run.json")
        log = (folder / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log").read_text()
        assert "continuing digits/HEBAE/z3/w1/s0 after epoch" in log
        assert (folder / RUN / "weights.pt").read_bytes() == whole_weights


def test_no_space_for_a_checkpoint(tmp_path):
    config = changed(epochs=60)
    widths = {"encoder_widths": [600, 600], "decoder_widths": [600]}
    config["datasets"]["digits"]["network"].update(widths)
    folder = new_project(tmp_path / "p", config, checkpoint_seconds=0)
    with small_disk(folder / "results", 4):
        line = fails(folder, f"{RUN}/run.json")
        assert "no space for a checkpoint" in line and "make room" in line
        assert "is kept" not in line  # there is none yet
        remount(folder / "results", "size=64m")
        snakemake(folder, f"{RUN}/run.json")


def test_results_on_a_read_only_disk(tmp_path):
    folder = new_project(tmp_path / "p")
    with small_disk(folder / "results", 8):
        snakemake(folder, "results/tiny/data/digits/dataset.json")
        before = files_below(folder)
        remount(folder / "results", "ro")
        line = fails(folder)
        assert "cannot write below results/tiny" in line and "read-only" in line
        assert plan(folder)["train"] == 2  # looking is allowed
        assert files_below(folder) == before
        remount(folder / "results", "rw")
        snakemake(folder, f"{RUN}/run.json")


def test_results_of_another_config(finished):
    before = files_below(finished)
    try:
        write(finished, changed(epochs=3))
        for arguments in ((), ("--dry-run",)):
            done = snakemake(finished, *arguments, check=False)
            said = done.stdout + done.stderr
            assert only_line(said, done.returncode).startswith(
                "error: 1 finished training of tiny, which took "
            )
            assert "\n  training.epochs was 2, is now 3\n" in said
            assert "--config keep=True" in said and "--config replace=True" in said
            assert "rule train" not in said and "Job stats" not in said
            assert files_below(finished) == before
        assert plan(finished, "--config", "replace=True")["train"] == 1
        config = json.loads(json.dumps(EXPERIMENT)) | {"seeds": [0, 1]}
        write(finished, config)
        assert plan(finished)["train"] == 2  # more runs replace none
    finally:
        write(finished, EXPERIMENT)
    assert plan(finished) == {}


def test_runs_are_replaced_where_one_says_so(tmp_path):
    folder = new_project(tmp_path / "p", changed(epochs=1))
    snakemake(folder, f"{RUN}/run.json")
    write(folder, changed(epochs=3))
    assert "would be trained again" in fails(folder, f"{RUN}/run.json")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", f"{RUN}/run.json",
         "--configfile", "tiny.yaml", "--config", "replace=True"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / RUN / "run.json").read_text())["run"]["training"]["epochs"] == 3
    assert plan(folder, f"{RUN}/run.json") == {}


def test_of_deleted_intermediates_only_what_is_needed_is_remade(finished):
    before = files_below(finished)
    (finished / RUN / "posterior.npz").unlink()
    assert plan(finished) == {}  # nobody needs it
    (finished / RUN / "covariance.csv").unlink()
    assert plan(finished) == {}
    (finished / "results/tiny/tables/covariance.csv").unlink()
    # of this run alone, and what follows from it
    assert plan(finished) == {
        "encode": 1, "measure": 1, "bounds": 1, "collect": 6, "claims": 1, "fig2a": 1,
    }  # fmt: skip
    snakemake(finished)
    after = files_below(finished)
    assert [
        name
        for name in before
        if after.get(name) != before[name] and not re.match("results/tiny/(benchmarks|logs)/", name)
    ] == []


def test_two_at_once(tmp_path):
    """A second call for one experiment is refused; a call for another experiment is not."""
    folder = new_project(tmp_path / "p", changed(epochs=100_000))
    other = changed(epochs=1) | {"experiment": "other"}
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    first = start(folder, f"{RUN}/run.json")
    until((folder / RUN / "history.csv").exists, first)
    line = fails(folder)
    assert "tiny is being made by another Snakemake (process" in line
    assert str(first.pid) in line
    assert plan(folder)["train"] == 1
    target = f"{RUN}/run.json".replace("tiny", "other")
    snakemake(folder, target, config="other.yaml")
    rows = (folder / RUN / "history.csv").read_text().count("\n")
    until(lambda: (folder / RUN / "history.csv").read_text().count("\n") > rows, first)
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=300)
    snakemake(folder, "results/tiny/data/digits/dataset.json")


def test_killed_alone_its_jobs_live_and_are_not_doubled(tmp_path, whole_weights):
    """SIGKILL to Snakemake, not to its training; the next one waits for that and takes it over."""
    folder = new_project(tmp_path / "p", changed(epochs=400))
    first = start(folder, f"{RUN}/run.json")
    history = folder / RUN / "history.csv"
    until(lambda: history.exists() and history.read_text().count("\n") > 20, first)
    first.kill()
    first.wait()
    training = int((folder / CHECKPOINTS / "lock").read_text().split()[1])
    os.kill(training, signal.SIGSTOP)  # until the next one waits for it, however slow that is
    second = start(folder, f"{RUN}/run.json")
    path = folder / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log"
    waits = "digits/HEBAE/z3/w1/s0 is already being made by process"
    until(lambda: waits in text_of(path), second)
    os.kill(training, signal.SIGCONT)
    assert second.wait(timeout=500) == 0, second.stdout.read()
    log = path.read_text()
    assert "was trained already" in log and "epoch 1/" not in log.partition("already being made")[2]
    assert (folder / RUN / "weights.pt").read_bytes() == whole_weights


def test_a_training_that_ended_unnoted_is_not_forgotten_by_another_target(tmp_path, whole_weights):
    """Its Snakemake is dead; the next one makes something else, and ends well."""
    folder = new_project(tmp_path / "p", changed(epochs=400))
    first = start(folder, f"{RUN}/run.json")
    until((folder / RUN / "history.csv").exists, first)
    first.kill()
    first.wait()
    deadline = time.monotonic() + 500
    while not list((folder / "results/.trained").glob("[!.]*/run.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (folder / RUN / "run.json").exists()
    other = changed(epochs=400)
    other["datasets"]["digits"]["models"]["WAE"] = {"weight": 10, "training": {"epochs": 1}}
    write(folder, other)
    snakemake(folder, "results/tiny/runs/digits/WAE/z3/w10/s0/run.json")
    snakemake(folder, f"{RUN}/run.json")
    log = (folder / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log").read_text()
    assert "was trained already" in log and "epoch" not in log
    assert (folder / RUN / "weights.pt").read_bytes() == whole_weights
    assert not (folder / "results/tiny/checkpoints").exists()


def test_the_clock_is_set_back(tmp_path):
    """Earlier results are then dated two days in the future, and are still not made again."""
    folder = new_project(tmp_path / "p")
    snakemake(folder, f"{RUN}/posterior.npz")
    future = time.time() + 2 * 86400
    for name in ("results", ".snakemake"):
        for path in (folder / name).rglob("*"):
            os.utime(path, (future, future))
    jobs = plan(folder)
    assert (jobs["train"], jobs["encode"]) == (1, 1) and "prepare" not in jobs  # the other model's
    weights = (folder / RUN / "weights.pt").read_bytes()
    assert "files were dated in the future. They are dated now" in snakemake(folder).stderr
    assert (folder / RUN / "weights.pt").read_bytes() == weights
    assert plan(folder) == {}


def test_the_clock_is_set_back_in_mid_training(tmp_path, whole_weights):
    """Snakemake takes the outputs for older than the inputs, and deletes them."""
    folder = new_project(tmp_path / "p", changed(epochs=400))
    process = start(folder, f"{RUN}/run.json")
    until((folder / RUN / "history.csv").exists, process)
    future = time.time() + 2 * 86400
    for path in (folder / "results/tiny/data").rglob("*"):
        os.utime(path, (future, future))
    output = process.communicate(timeout=500)[0]
    assert process.returncode != 0 and "clock skew" in output
    assert not (folder / RUN / "run.json").exists()
    snakemake(folder, f"{RUN}/run.json")
    log = (folder / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log").read_text()
    assert "was trained already" in log and "epoch" not in log
    assert (folder / RUN / "weights.pt").read_bytes() == whole_weights
    assert not (folder / "results/tiny/checkpoints").exists()


def test_a_tmpdir_that_is_not_there(finished, monkeypatch):
    (finished / "figures/tiny/fig2a.pdf").unlink()
    monkeypatch.setenv("TMPDIR", "/nowhere/at all")
    snakemake(finished)
    assert (finished / "figures/tiny/fig2a.pdf").exists()
    log = (finished / "results/tiny/logs/figures/fig2a.log").read_text()
    assert log == ""  # matplotlib complains of a cache it cannot have


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("recorded", [False, True], ids=["put there", "with its checksum"])
def test_weights_that_are_a_malicious_pickle(recorded, finished, tmp_path):
    harm = tmp_path / "harm"
    run = finished / RUN
    remade = [run / "posterior.npz", run / "covariance.csv"]
    remade.append(finished / "results/tiny/tables/covariance.csv")
    before = {path: path.read_bytes() for path in (run / "weights.pt", run / "run.json", *remade)}
    content = pickle.dumps(Malicious(harm))
    (run / "weights.pt").write_bytes(content)
    if recorded:
        record = json.loads(before[run / "run.json"])
        record["weights_sha256"] = hashlib.sha256(content).hexdigest()
        (run / "run.json").write_text(json.dumps(record))
    for path in remade:
        path.unlink()
    try:
        # one job alone, of those that read the weights
        line = fails(finished, f"{RUN}/posterior.npz")
        assert f"cannot load {RUN}/weights.pt: " in line
        assert ("Weights only load failed" if recorded else "SHA-256 is not the one") in line
        assert not harm.exists()
        pickle.loads(content)
        assert harm.exists()  # it would have been done
    finally:
        for path, data in before.items():
            path.write_bytes(data)
        snakemake(finished)


def test_a_checkpoint_that_is_a_malicious_pickle(tmp_path):
    folder = new_project(tmp_path / "p", changed(epochs=400), checkpoint_seconds=0)
    process = start(folder, f"{RUN}/run.json")
    until(lambda: len(list((folder / CHECKPOINTS).glob("[!.]*.pt"))) == 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    harm = tmp_path / "harm"
    content = pickle.dumps(Malicious(harm))
    for path in (folder / CHECKPOINTS).glob("[!.]*.pt"):
        path.write_bytes(hashlib.sha256(content).digest() + content)
    snakemake(folder, f"{RUN}/run.json")
    log = (folder / "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log").read_text()
    assert log.count("removing a damaged checkpoint") == 2 and "epoch 1/400" in log
    assert not harm.exists()


@pytest.mark.parametrize("cores", ["1", "2"])
def test_a_disk_so_full_that_no_log_can_say_so(tmp_path, cores):
    """The log is empty; the terminal says why, once."""
    folder = new_project(tmp_path / "p", EXPERIMENT)
    with small_disk(folder / "results", 0.3):
        done = snakemake(folder, "--cores", cores, check=False)
        output = done.stdout + done.stderr
        line = only_line(output, done.returncode)
        assert "No space left on device" in line and "make room" in line
        remount(folder / "results", "size=64m")
        snakemake(folder, "--cores", cores)


def test_a_closed_folder_is_not_taken_for_an_empty_one(finished):
    """Nothing in it is planned, also for an administrator, who may look into every folder."""
    runs = finished / "results/tiny/runs"
    (finished / "results/tiny/tables/covariance.csv").unlink()  # else nobody needs them
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [sys.executable, "-m", "snakemake", "--cores=1", "--configfile=tiny.yaml"]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("an administrator may look into every folder")
        command = [*bound, *command]
    runs.chmod(0)
    try:
        for options in ([], ["--dry-run"]):
            done = subprocess.run(
                [*command, *options], cwd=finished, capture_output=True, text=True
            )
            line = only_line(done.stdout + done.stderr, done.returncode)
            assert line.startswith("error: results/tiny/runs is closed for this user")
    finally:
        runs.chmod(0o755)
    assert "train" not in plan(finished)
    snakemake(finished)
