"""The local workflow, killed again and again, ends as if nothing had happened.

``make soak KILLS=25``; the moments are drawn from SOAK_SEED (0).
"""

import contextlib
import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import yaml
from tests.project import ROOT, TINY, checkpoint_each, copy_project, files_below

KILLS = int(os.environ.get("KILLS", "25"))
SEED = int(os.environ.get("SOAK_SEED", "0"))
LIMIT_S = 1200  # for one start of the workflow

# the modules of a stage's jobs, and its share of the kills
STAGES = {
    "prepare": (r"data\.prepare|measures\.fid\.features\.\w+", 0.16),
    "train": (r"training\.train", 0.36),
    "measure": (r"codes\.\w+|measures\.(fid\.)?\w+|tables\.collect", 0.28),
    "draw": (r"figures\.\w+", 0.2),
}
TIMED = ("seconds", "training_seconds", "wall_seconds", "peak_memory_bytes", "history_sha256")

EXPERIMENT = json.loads(json.dumps(TINY)) | {"experiment": "soak"}
EXPERIMENT["datasets"]["digits"]["training"]["epochs"] = 200
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "soak.yaml"]


def new_project(folder: Path) -> Path:
    folder.mkdir()
    copy_project(folder)
    (folder / "soak.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    checkpoint_each(folder, 0.3)
    return folder


def start(folder: Path) -> subprocess.Popen:
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            COMMAND, cwd=folder, start_new_session=True, stdout=output, stderr=output
        )


def modules(process: subprocess.Popen) -> list[str]:
    """What the workflow's jobs are running at this moment."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if words[1:2] == ["-m"] and words[2].startswith("hebae."):
            handed_over = words[2] == "hebae.workflow.step"
            found.append(words[3 if handed_over else 2].removeprefix("hebae."))
    return found


def checkpoint_since(folder: Path, start: float) -> bool:
    """Whether a training has written a checkpoint since then."""
    with contextlib.suppress(FileNotFoundError):  # a training that ends removes its folder
        paths = folder.glob("results/soak/checkpoints/**/[!.]*.pt")
        return any(path.stat().st_mtime > start for path in paths)
    return False


def kill_in(
    stage: str, delay: float, process: subprocess.Popen, further: Callable[[], bool]
) -> str | None:
    """Kill the whole process group `delay` seconds after a job of the stage was seen.

    `further` is what must have happened besides.

    Returns what was running, or None where the workflow ended first.
    """
    deadline = time.monotonic() + LIMIT_S
    # a later one too: where the stage is over, the workflow would end undisturbed
    later = list(STAGES)[list(STAGES).index(stage) :]
    pattern = re.compile("|".join(STAGES[name][0] for name in later))
    while process.poll() is None:
        assert time.monotonic() < deadline, "the workflow hangs"
        seen = modules(process)
        if any(pattern.fullmatch(module) for module in seen) and (
            "training.train" not in seen or further()
        ):
            time.sleep(delay)
            if process.poll() is not None:
                return None
            running = modules(process)
            everyone = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _, alive = psutil.wait_procs(everyone, timeout=30)
            assert not alive, "a job outlives its process group"
            return " ".join(running) or "between jobs"
        time.sleep(0.02)
    return None


def content(path: Path, data: bytes) -> object:
    """A file less its timings."""
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(data.decode()))
        return [{key: row[key] for key in row if key not in TIMED} for row in rows]
    if path.name == "run.json":
        return {key: value for key, value in json.loads(data).items() if key not in TIMED}
    if path.parts[0] == "figures" and path.suffix == ".json":  # with checksums of timed tables
        return {key: value for key, value in json.loads(data).items() if key != "inputs"}
    return data


def results(folder: Path) -> dict[str, object]:
    return {
        name: content(Path(name), data)
        for name, data in files_below(folder).items()
        # what begins with a dot in there is what a killed process was keeping
        if not re.match(r"results/(soak/(logs|benchmarks)|\.trained/\.[^/]+)/", name)
    }


def test_every_stage_has_steps_of_the_workflow():
    """A stage with an outdated name would never be killed; a later stage would be instead."""
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    command = r"python -m (?:hebae\.workflow\.step )?hebae\.([\w.]+)"
    steps = set(re.findall(command, rules))
    for stage, (pattern, _) in STAGES.items():
        for kind in pattern.split("|"):
            assert any(re.fullmatch(kind, step) for step in steps), f"{stage}: no step is {kind}"


@pytest.mark.timeout(3600)
def test_killed_at_random_moments_it_ends_as_if_it_had_not(tmp_path):
    whole, killed = new_project(tmp_path / "whole"), new_project(tmp_path / "killed")
    started = time.monotonic()
    undisturbed = start(whole)
    assert undisturbed.wait(LIMIT_S) == 0, (whole / "output").read_text()
    alone = time.monotonic() - started

    generator = random.Random(SEED)
    stages = [
        stage for stage, (_, share) in STAGES.items() for _ in range(max(1, round(share * KILLS)))
    ]
    print(f"\nundisturbed: {alone:.0f} s; {len(stages)} kills follow, seed {SEED}")
    started = time.monotonic()
    done = dict.fromkeys(STAGES, 0)
    continued: set[str] = set()
    for number, stage in enumerate(stages, 1):
        # a job's first two seconds or so are Python's imports
        delay = generator.uniform(0, 4)
        begun = time.time()
        # every other training has come to a checkpoint, however slow its imports were
        has_checkpoint = stage == "train" and done["train"] % 2 == 0
        further = partial(checkpoint_since, killed, begun) if has_checkpoint else lambda: True
        running = kill_in(stage, delay / (4 if has_checkpoint else 1), start(killed), further)
        said = (killed / "output").read_text()
        assert "Traceback" not in said and "unlock" not in said, said
        for log in (killed / "results/soak/logs").rglob("train.log"):
            continued.update(re.findall("^continuing .*$", log.read_text(), re.MULTILINE))
        print(f"{number:3} {stage:8} {delay:.2f} s  {running or 'was over before'}", flush=True)
        done[stage] += running is not None
    assert all(done.values()), f"a stage that was never hit: {done}"
    assert continued, "no training that went on from a checkpoint"

    last = start(killed)
    assert last.wait(LIMIT_S) == 0, (killed / "output").read_text()
    disturbed = time.monotonic() - started
    print(f"{sum(done.values())} kills: {done}; {disturbed:.0f} s; continued: {len(continued)}")

    expected, found = results(whole), results(killed)
    assert sorted(found) == sorted(expected)
    assert not [name for name in expected if found[name] != expected[name]]
    assert {f"results/soak/tables/{table}.csv" for table in ("fid", "elbo_by_epoch")} <= set(found)
    assert sum(name.startswith("figures/soak/") for name in found) == 3 * len(TINY["figures"])
    # nothing is left to be cleaned up
    assert not (killed / ".snakemake/locks").exists()
    assert not (killed / "results/soak/checkpoints").exists()
    again = start(killed)
    assert again.wait(LIMIT_S) == 0
    assert "Nothing to be done" in (killed / "output").read_text()
