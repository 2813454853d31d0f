"""What a training tells of itself: whole while it runs, gone when it ends, never in its way."""

import os
import platform
from pathlib import Path

import pytest
import torch
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.base.sources import digests
from hebae.data import digits
from hebae.training import SOURCES, now
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Single, fit
from hebae.training.now import NAME, RunNow, read_now, slurm_job, told
from hebae.training.stack import Stack

RUN = changed(epochs=3, batch_size=64)
WAE = changed(epochs=3, batch_size=64, objective="wae_mmd", model="WAE", lam=10.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    arrays = digits.load(Path())
    return {
        "train": torch.from_numpy(arrays.train_images[:256]),
        "test": torch.from_numpy(arrays.test_images[:50]),
    }


@pytest.fixture
def each_time(monkeypatch):
    """Write as often as there is something to tell."""
    monkeypatch.setattr(now, "EVERY_EPOCH", 0)
    monkeypatch.setattr(now, "WITHIN_EPOCH", 0)
    monkeypatch.setattr(now, "SHARE_OF_TIME", float("inf"))


def single(run, seen=None, folder=None):
    """A run by itself; before each of its steps, what it has told is added to `seen`."""
    trainee = Single(run, (8, 8, 1), CPU)
    if seen is not None:
        step = trainee.step

        def looked_at(*arguments):
            seen.append(read_now(folder / NAME))
            return step(*arguments)

        trainee.step = looked_at
    return trainee


@pytest.mark.parametrize("run", [RUN, WAE], ids=lambda run: run.model)
def test_a_training_tells_how_far_it_is(run, images, tmp_path, each_time):
    seen: list[now.Now] = []
    folder = tmp_path / "told"
    given = single(run, seen, folder), Checkpoints(folder, "key", 1e9)
    with told(*given) as (trainee, checkpoints):
        (outcome,) = fit(trainee, images, checkpoints)
        last = read_now(folder / NAME)
    assert not (folder / NAME).exists()

    steps = 256 // 64
    assert [each.epoch for each in seen] == [round(k / steps, 3) for k in range(3 * steps)]
    assert seen[0].pace is None and 0 < last.pace < 60
    assert (last.host, last.process) == (platform.node(), os.getpid())
    assert (last.epoch, last.epochs) == (3, 3)
    row = outcome.rows[-1]
    name, measure = {"HEBAE": ("elbo_paper", "bound"), "WAE": ("reconstruction",) * 2}[run.model]
    assert last.runs == (RunNow(run.path, measure, row[name]),)
    assert seen[steps].runs == (RunNow(run.path, measure, outcome.rows[1][name]),)


def test_telling_changes_no_bit_of_a_training(images, tmp_path, each_time):
    (alone,) = fit(single(RUN), images, Checkpoints(tmp_path / "alone", "key", 1e9))
    with told(single(RUN), Checkpoints(tmp_path / "told", "key", 1e9)) as (trainee, checkpoints):
        (watched,) = fit(trainee, images, checkpoints)
    states = alone.model.state_dict(), watched.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    without_time = [[row | {"seconds": 0} for row in each.rows] for each in (alone, watched)]
    assert without_time[0] == without_time[1]
    # and nothing of it is in the key of a finished training
    assert not [path for path in digests([*SOURCES, *RUN.modules]) if "now" in path]


def test_a_continued_training_tells_where_it_was(images, tmp_path, each_time):
    class Stopped(Exception):
        pass

    class Stopping(Checkpoints):
        def offer(self, state):
            super().offer(state)
            if state["epoch"] == 1:
                raise Stopped

    with pytest.raises(Stopped), told(single(RUN), Stopping(tmp_path, "key", 0)) as given:
        fit(given[0], images, given[1])
    assert not (tmp_path / NAME).exists()
    seen: list[now.Now] = []
    with told(single(RUN, seen, tmp_path), Checkpoints(tmp_path, "key", 0)) as given:
        fit(given[0], images, given[1])
    assert seen[0].epoch == 2 and seen[0].runs[0].value is not None and seen[0].pace > 0


def test_each_run_of_a_pack_is_told(images, tmp_path, each_time):
    runs = [RUN, changed(epochs=3, batch_size=64, seed=4, lam=1e38)]
    with told(Stack(runs, (8, 8, 1), CPU), Checkpoints(tmp_path, "key", 1e9)) as given:
        outcomes = fit(given[0], images, given[1])
        last = read_now(tmp_path / NAME)
    assert outcomes[1].failure is not None
    assert [run.path for run in last.runs] == [run.path for run in runs]
    assert [run.failed for run in last.runs] == [False, True]
    assert last.runs[0].value == outcomes[0].rows[-1]["elbo_paper"]


def test_nothing_is_left_of_one_that_fails(images, tmp_path):
    few = {**images, "train": images["train"][:10]}
    with (
        pytest.raises(UserError, match="batch_size"),
        told(single(RUN), Checkpoints(tmp_path, "key", 0)) as (trainee, checkpoints),
    ):
        assert (tmp_path / NAME).exists()
        fit(trainee, few, checkpoints)
    assert list(tmp_path.iterdir()) == []


def test_a_full_or_closed_disk_stops_no_training(images, tmp_path, each_time, monkeypatch):
    calls = []

    def full(*_, **__):
        calls.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "unlink", full)
    with told(single(RUN), Checkpoints(tmp_path, "key", 1e9)) as (trainee, checkpoints):
        (outcome,) = fit(trainee, images, checkpoints)
    assert outcome.failure is None and len(outcome.rows) == 6 and len(calls) > 10


def test_it_is_told_rarely(tmp_path, monkeypatch):
    clock, cost, written = [0.0], [0.0], []
    monkeypatch.setattr(now.time, "monotonic", lambda: clock[0])

    def write(path, content):
        written.append(clock[0])
        clock[0] += cost[0]

    monkeypatch.setattr(now, "_replace", write)
    note = now._Note(tmp_path / NAME, [RUN])

    def go(function, argument, until):
        written.clear()
        while clock[0] < until:
            clock[0] += 0.5
            function(argument)
        return list(written)

    assert go(note.within, 0.1, 20) == [5, 10, 15, 20]
    row = {"elbo_paper": -1.0, "reconstruction": 1.0}
    state = {"rows": [[row]], "failed": [None], "seconds": 1.0, "epoch": 0}
    assert go(note.after, state, 23) == [21, 22, 23]
    cost[0] = 0.25  # a slow disk
    first, second = go(note.within, 0.1, 55)
    assert second - first == 25.25
    cost[0] = 1.0  # a slower one: it is not to be taken for silence
    _, first, second = go(note.within, 0.1, 145)
    assert second - first == 31


@pytest.mark.parametrize(
    ("environment", "cgroup", "job"),
    [
        ({}, "0::/user.slice/session-1.scope", None),
        ({"SLURM_JOB_ID": "42"}, "", "42"),
        ({"SLURM_JOB_ID": "none"}, "", None),
        ({}, "0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0", "42"),
        ({}, "5:memory:/slurm/uid_1000/job_42/step_batch\n1:name=systemd:/", "42"),
        ({}, "0::/home/job_42", None),
        ({}, None, None),
    ],
)
def test_the_slurm_job_is_known_where_it_can_be(environment, cgroup, job, tmp_path):
    path = tmp_path / "cgroup"
    if cgroup is not None:
        path.write_text(cgroup)
    assert slurm_job(environment, path) == job


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"host": 1}'])
def test_a_damaged_file_is_no_traceback(content, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError):
        read_now(tmp_path / NAME)
