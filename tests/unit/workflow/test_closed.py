"""Folders that are closed are not taken for empty."""

import os

import pytest

from hebae.workflow import closed
from hebae.workflow.closed import closed_folder


@pytest.fixture
def may_not(monkeypatch):
    """Folders that cannot be looked into; skipped for an administrator, who can."""
    hidden = set()

    def access(path, mode):
        return str(path) not in hidden

    monkeypatch.setattr(closed.os, "access", access)
    return hidden


def test_the_outermost_closed_folder_is_named(tmp_path, may_not):
    runs = tmp_path / "results/runs"
    (runs / "digits/VAE").mkdir(parents=True)
    paths = [str(runs / name) for name in ("digits/VAE/run.json", "mnist/run.json")]
    assert closed_folder(paths) is None
    may_not.add(str(runs / "digits/VAE"))
    assert closed_folder(paths) == runs / "digits/VAE"
    may_not.add(str(runs))
    assert closed_folder(paths) == runs
    assert closed_folder(["run.json"]) is None


def test_what_is_not_there_yet_is_open(tmp_path, may_not):
    may_not.add(str(tmp_path / "new"))
    assert closed_folder([str(tmp_path / "new/run.json")]) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="of an administrator nothing is hidden")
def test_a_folder_that_is_really_closed(tmp_path):
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / "runs").chmod(0)
    try:
        assert closed_folder([str(tmp_path / "runs/a/run.json")]) == tmp_path / "runs"
    finally:
        (tmp_path / "runs").chmod(0o700)
