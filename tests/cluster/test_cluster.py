"""``--profile profiles/slurm`` on a real SLURM of one node (tests/cluster/slurm.py)."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests import conda_standin
from tests.cluster import slurm
from tests.project import (
    ROOT,
    TINY,
    checkpoint_each,
    copy_project,
    heed_interrupts,
    snakemake,
    text_of,
    unactivated,
)

from hebae.publish.results import read_experiment
from hebae.tables.collect import tables_of
from hebae.training.status import picture

pytestmark = pytest.mark.cluster

GPU_RULES = {"train", "encode", "bounds", "images", "classifier", "reference", "floor", "fid"}
GPU_RULES |= {"smoothness", "rotation", "distortions"}
FIGURES = ["fig1a", "fig1b", "fig2a", "appendix_c"]
RUN = "results/tiny/runs/digits/HEBAE/z3/w1/s0"
LOG = "results/tiny/logs/digits/HEBAE/z3/w1/s0/train.log"
MANIFEST = "results/tiny/data/digits/dataset.json"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """The cluster of all tests here, or the reason why there is none."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(slurm.cluster())
        except slurm.Unavailable as reason:
            pytest.skip(str(reason))
        yield


def write_config(folder: Path, *, epochs: int, seeds: int, figures: list[str]) -> None:
    """TINY with one model."""
    config = json.loads(json.dumps(TINY))
    config["datasets"]["digits"]["models"] = {"HEBAE": {"weight": 1}}
    config["datasets"]["digits"]["training"]["epochs"] = epochs
    config.update(seeds=list(range(seeds)), figures=dict.fromkeys(figures, "digits"))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))


def submit(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.Popen:
    """Start Snakemake with the cluster's profile, as a person at a terminal would.

    ``path`` is a folder of programs before all others.
    """
    environment = unactivated()
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.Popen(
        [
            sys.executable, str(Path(__file__).with_name("impatient.py")),
            "--profile", "profiles/slurm", *arguments, "--configfile", "tiny.yaml",
        ],
        cwd=folder,
        env=environment,
        start_new_session=True,
        preexec_fn=heed_interrupts,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def output_of(process: subprocess.Popen, seconds: float = 1500) -> str:
    """The output of a Snakemake, which must end."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        pytest.fail(f"still running after {seconds} s:\n{process.communicate(timeout=300)[0]}")


def complete(folder: Path, *arguments: str, path: Path | None = None) -> str:
    """Run to the end, which must be a success."""
    process = submit(folder, *arguments, path=path)
    output = output_of(process)
    assert process.returncode == 0, output
    return output


def time_of(job: dict[str, str], field: str) -> datetime:
    return datetime.fromisoformat(job[f"{field}Time"])


def wait_for_epochs(folder: Path, epochs: int, process: subprocess.Popen) -> dict[str, str]:
    """Wait until the training is that far; return its SLURM job."""
    history = folder / RUN / "history.csv"

    def far_enough() -> bool:
        assert process.poll() is None, process.stdout.read()
        return history.exists() and history.read_text().count("\n") > 2 * epochs

    slurm.wait_until(far_enough, f"{epochs} epochs", 600)
    (job,) = [job for job in slurm.jobs(folder) if job["JobState"] == "RUNNING"]
    assert job["Rule"] == "train"
    return job


def trainer_of(folder: Path) -> int:
    """The process that trains in a folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"hebae.training.train" in words and (path / "cwd").readlink() == folder:
                return int(path.name)
        except OSError:
            pass  # ended meanwhile
    raise AssertionError("no training is running")


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The small experiment, drawn without a cluster."""
    folder = tmp_path_factory.mktemp("local")
    copy_project(folder)
    write_config(folder, epochs=2, seeds=2, figures=FIGURES)
    snakemake(folder)
    return folder


@pytest.fixture(scope="module")
def sent(tmp_path_factory) -> tuple[Path, str]:
    """The same experiment drawn by the cluster, and what Snakemake printed."""
    folder = tmp_path_factory.mktemp("sent's folder")
    copy_project(folder)
    write_config(folder, epochs=2, seeds=2, figures=FIGURES)
    config = folder / "tiny.yaml"
    config.write_text(config.read_text() + "data_dir: '''raw'' \"data\" of $HOME'\n")
    return folder, complete(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """One training of many epochs, without a cluster."""
    folder = tmp_path_factory.mktemp("undisturbed")
    copy_project(folder)
    checkpoint_each(folder)
    write_config(folder, epochs=400, seeds=1, figures=["fig2a"])
    snakemake(folder, f"{RUN}/run.json")
    return folder


@pytest.fixture
def prepared(undisturbed, tmp_path) -> Path:
    """The same before the training."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder, symlinks=True)
    for name in ("tiny/runs", ".trained"):
        shutil.rmtree(folder / "results" / name)
    return folder


def check_continued(folder: Path, undisturbed: Path) -> None:
    """The training went on from a checkpoint, and ended as if nothing had happened."""
    assert "continuing digits/HEBAE" in (folder / LOG).read_text()
    check_same(folder, undisturbed)


def check_same(folder: Path, undisturbed: Path) -> None:
    """The weights are those of a training to which nothing happened, and nothing runs on."""
    weights = [(there / RUN / "weights.pt").read_bytes() for there in (folder, undisturbed)]
    assert weights[0] == weights[1]
    assert slurm.live_jobs(folder) == []


def check_retried(folder: Path, output: str, ended: dict[str, str], state: str) -> None:
    """A job that ended in a state was shown with its log and submitted again, for more."""
    first, second = slurm.jobs(folder)
    assert first["JobId"] == ended["JobId"]
    assert (first["JobState"], second["JobState"]) == (state, "COMPLETED")
    assert (first["TimeLimit"], second["TimeLimit"]) == (ended["TimeLimit"], "16:00:00")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("4500M", "9000M")
    assert f"SLURM status is: '{state}'" in output
    # the training's log is written anew by the second attempt, but was printed before
    assert f"{LOG}, its last 15 lines:" in output and re.search(r"epoch \d+/400 ", output)
    (log,) = (folder / "results/slurm-logs").glob(f"rule_train/*/{first['JobId']}.log")
    assert log.read_text()


def test_the_tables_are_those_of_a_local_run(sent, local):
    folder, _ = sent
    for figure in FIGURES:
        assert (folder / f"figures/tiny/{figure}.pdf").read_bytes().startswith(b"%PDF")
    tables = sorted(path.name for path in (local / "results/tiny/tables").glob("*.csv"))
    assert "fid.csv" in tables
    for name in tables:
        here, there = (
            pd.read_csv(project / "results/tiny/tables" / name, dtype=str).drop(
                columns=["seconds", "training_seconds", "peak_memory_bytes"], errors="ignore"
            )
            for project in (folder, local)
        )
        pd.testing.assert_frame_equal(here, there)
    weights = sorted(
        path.relative_to(local) for path in (local / "results/tiny").rglob("weights.pt")
    )
    assert len(weights) == 3  # two runs and the classifier
    for path in weights:
        assert (folder / path).read_bytes() == (local / path).read_bytes()


def test_every_job_asks_for_what_it_needs(sent):
    folder, _ = sent
    jobs = slurm.jobs(folder)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    for job in jobs:
        wants_gpu = job["Rule"] in GPU_RULES
        assert job["Partition"] == ("gpu" if wants_gpu else "cpu")
        assert job["GPUs"] == ("1" if wants_gpu else "0")
        assert job["TimeLimit"] != "1-00:00:00"  # the partition's, had the profile none
    rules = [job["Rule"] for job in jobs]
    assert {rule: rules.count(rule) for rule in GPU_RULES} == {
        "train": 2, "encode": 2, "bounds": 2, "fid": 2, "images": 1, "classifier": 1,
        "reference": 1, "floor": 1, "smoothness": 2, "rotation": 0, "distortions": 0,
    }  # fmt: skip


def test_short_steps_share_jobs_and_trainings_share_none(sent):
    folder, output = sent
    shared = [job for job in slurm.jobs(folder) if re.match("measures_|drawing_", job["Rule"])]
    alone = [job["Rule"] for job in slurm.jobs(folder) if job not in shared]
    assert set(alone) == GPU_RULES - {"rotation", "distortions"} | {"prepare"}
    for job in shared:
        # a group is named after its rules
        assert not set(job["Rule"].split("_")) & GPU_RULES - {"fid"}
    steps = int(re.search(r"^(\d+) jobs to do: ", output, re.MULTILINE)[1])
    tables = tables_of(read_experiment(folder / "tiny.yaml"))
    # measures of a run each, tables, claims and figures
    assert steps == len(alone) + 2 + len(tables) + 1 + len(FIGURES)
    # the two runs of a model are measured at once
    (measures,) = [job for job in shared if job["Rule"].startswith("measures_digits_HEBAE")]
    assert measures["NumCPUs"] == "2" and measures["MinMemoryNode"] == "4000M"
    assert measures["TimeLimit"] == "00:20:00"
    assert len(shared) <= 1 + 6


def test_jobs_run_in_conda_environments_on_a_shared_folder(tmp_path):
    """The process that submits the jobs has made the environments."""
    folder, base = tmp_path / "project", tmp_path / "conda"
    folder.mkdir()
    copy_project(folder)
    shutil.copy(ROOT / "requirements.lock", folder)
    write_config(folder, epochs=1, seeds=1, figures=["fig2a"])
    conda_standin.install(base)
    shared = str(tmp_path / "shared")
    conda = ("--use-conda", "--conda-prefix", shared)
    complete(folder, *conda, "fig2a", path=base / "bin")
    assert (folder / "figures/tiny/fig2a.pdf").exists()
    used = {}
    for noted in Path(shared).glob("*/jobs.jsonl"):
        names = {path.read_text(): path.stem for path in (folder / "envs").glob("*.yaml")}
        name = names[noted.parent.with_suffix(".yaml").read_text()]
        jobs = [json.loads(line) for line in noted.read_text().splitlines()]
        used[name] = {word for job in jobs for word in job["command"]}
        assert {job["activated"] for job in jobs} >= {str(noted.parent)}
    assert "hebae.training.train" in used["torch"]
    assert "hebae.measures.measure" in used["measures"]
    assert "hebae.figures.draw" in used["figures"]
    nothing = complete(folder, *conda, "fig2a", path=base / "bin")
    assert "Nothing to be done" in nothing


def test_two_trainings_never_share_the_gpu(sent):
    folder, _ = sent
    first, second = sorted(
        (job for job in slurm.jobs(folder) if job["Rule"] == "train"),
        key=lambda job: time_of(job, "Start"),
    )
    assert first["GPUs"] == second["GPUs"] == "1"
    # the second waited for the first in SLURM's queue, not in Snakemake's
    assert time_of(second, "Submit") < time_of(first, "End") <= time_of(second, "Start")


def test_without_a_gpu_no_job_asks_for_one(tmp_path):
    copy_project(tmp_path)
    write_config(tmp_path, epochs=1, seeds=1, figures=["fig2a"])
    complete(tmp_path, f"{RUN}/run.json", "--config", "device=cpu", "data_dir=some one's data")
    assert [(job["Rule"], job["Partition"], job["GPUs"]) for job in slurm.jobs(tmp_path)] == [
        ("prepare", "cpu", "0"),
        ("train", "cpu", "0"),
    ]


def test_a_cancelled_training_is_submitted_again_and_continues(prepared, undisturbed):
    process = submit(prepared, f"{RUN}/run.json")
    job = wait_for_epochs(prepared, 20, process)
    where = f"bound .+ SLURM job {job['JobId']} on "

    def told() -> bool:
        return any(re.search(where, line) for line in picture(prepared / "results", None, None))

    try:
        slurm.wait_until(told, f"a line with {where!r}", 120)
    finally:
        slurm.command("scancel", job["JobId"])
    output = output_of(process)
    assert process.returncode == 0, output
    check_retried(prepared, output, job, "CANCELLED")
    check_continued(prepared, undisturbed)


def test_a_training_past_its_time_limit_continues_with_a_longer_one(prepared, undisturbed):
    process = submit(prepared, f"{RUN}/run.json")
    job = wait_for_epochs(prepared, 20, process)
    # Held, so that it has not ended when the limit comes: SLURM looks for limits reached twice
    # a minute. The limit is drawn near since a minute is the least one can ask for.
    os.kill(trainer_of(prepared), signal.SIGSTOP)
    soon = datetime.now() + timedelta(seconds=10)
    slurm.command("scontrol", "update", f"JobId={job['JobId']}", f"EndTime={soon:%FT%T}")
    output = output_of(process)
    assert process.returncode == 0, output
    (limited,) = [other for other in slurm.jobs(prepared) if other["JobId"] == job["JobId"]]
    check_retried(prepared, output, limited, "TIMEOUT")
    check_continued(prepared, undisturbed)


def test_an_interrupt_cancels_the_jobs_and_the_next_call_continues(prepared, undisturbed):
    process = submit(prepared, f"{RUN}/run.json")
    wait_for_epochs(prepared, 20, process)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
    output = output_of(process, 300)
    assert process.returncode != 0, output
    slurm.wait_until(lambda: not slurm.live_jobs(prepared), "the end of all jobs", 120)
    assert not (prepared / RUN / "run.json").exists()
    complete(prepared, f"{RUN}/run.json")
    check_continued(prepared, undisturbed)


def test_killed_alone_its_job_lives_and_is_not_doubled(prepared, undisturbed):
    """SIGKILL to Snakemake leaves its job; that of the next call waits and takes it over."""
    arguments = f"{RUN}/run.json", "--config", "device=cpu"  # on the GPU SLURM would let it wait
    first = submit(prepared, *arguments)
    job = wait_for_epochs(prepared, 20, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert slurm.live_jobs(prepared) == [job["JobId"]]
    trainer = trainer_of(prepared)
    os.kill(trainer, signal.SIGSTOP)
    second = submit(prepared, *arguments)

    said = f"is already being made by process {trainer} on"

    def waiting() -> bool:
        assert second.poll() is None, second.stdout.read()
        return said in text_of(prepared / LOG)  # Snakemake removes the first call's

    slurm.wait_until(waiting, "a second training that waits", 600)
    os.kill(trainer, signal.SIGCONT)
    output = output_of(second)
    assert second.returncode == 0, output
    log = (prepared / LOG).read_text()
    assert "was trained already" in log and "epoch 1/" not in log.partition("already being made")[2]
    check_same(prepared, undisturbed)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("mem_mb=99000000", "Requested node configuration is not available"),
        ("slurm_partition=nowhere", "invalid partition specified: nowhere"),
    ],
)
def test_what_sbatch_refuses_is_told(tmp_path, asked, message):
    copy_project(tmp_path)
    write_config(tmp_path, epochs=1, seeds=1, figures=["fig2a"])
    started = time.monotonic()
    arguments = "--set-resources", f"prepare:{asked}", "--latency-wait", "900"
    process = submit(tmp_path, MANIFEST, *arguments)
    output = output_of(process, 400)  # it does not wait for files of a job that never ran
    assert process.returncode != 0
    assert message in output
    assert time.monotonic() - started < 400
