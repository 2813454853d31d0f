"""A lock belongs to one process, ends with it, and names it."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from hebae.base import lock

HOLDER = """
import sys, time
from pathlib import Path
from hebae.base.lock import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_live_lock_is_respected_and_a_dead_one_is_none(holder, tmp_path):
    with pytest.raises(lock.Held, match=f"process {holder.pid} on .+, since 2"):
        lock.hold(tmp_path / "lock")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "lock").exists()
    with lock.hold(tmp_path / "lock"):
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()


def test_a_lock_can_be_taken_again_when_it_is_given_back(tmp_path):
    with lock.hold(tmp_path / "lock"), pytest.raises(lock.Held):
        lock.hold(tmp_path / "lock")
    lock.hold(tmp_path / "lock").close()


def test_one_who_waits_says_for_whom_and_goes_on(holder, tmp_path, capsys, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if pauses.count(0.02) == 3:
            holder.kill()
            holder.wait()

    monkeypatch.setattr(lock.time, "sleep", sleep)
    lock.wait_for(tmp_path / "lock", "this run", poll=0.02).close()
    assert pauses.count(0.02) == 3
    assert (
        capsys.readouterr().err.count(f"this run is already being made by process {holder.pid}")
        == 1
    )


def test_a_lock_whose_file_was_removed_is_not_mistaken_for_one(tmp_path, monkeypatch):
    """The last holder removes the file between a waiter's opening and locking it."""
    path = tmp_path / "lock"
    path.touch()
    flock = lock.fcntl.flock
    calls = []

    def removed_before(stream, operation):
        if not calls:
            path.unlink()
        calls.append(operation)
        return flock(stream, operation)

    monkeypatch.setattr(lock.fcntl, "flock", removed_before)
    with lock.hold(path), pytest.raises(lock.Held):
        lock.hold(path)
    assert len(calls) == 4  # the second one asks twice


def test_where_there_are_no_locks_nothing_is_locked(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with lock.hold(tmp_path / "lock"), lock.hold(tmp_path / "lock"):
        pass


def test_one_who_only_asks_keeps_nobody_from_a_lock(tmp_path, monkeypatch):
    """``make status`` holds a lock for a moment when it checks whether somebody else does."""
    path = tmp_path / "lock"
    path.touch()
    asking = path.open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: asking.close())
    lock.hold(path).close()
