"""The commit of this project, and words where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hebae.base import checkout

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed here")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A checkout of some project."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "outer/project"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "file").write_text("one\n")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "--message", "one")
    monkeypatch.setattr(checkout, "CHECKOUT", folder)
    return folder


def test_the_commit_and_that_files_differ_from_it(project):
    head = git(project, "rev-parse", "HEAD")
    assert checkout.commit() == (head, None)
    git(project, "tag", "v1")
    assert checkout.commit().commit == head
    (project / "file").write_text("two\n")
    assert checkout.commit() == (f"{head}-dirty", "with changes that are not committed")
    assert checkout.commit().fields().keys() == {"commit", "commit_note"}


def test_unpacked_inside_another_repository(project):
    """The commit of that repository is not the project's."""
    outer = project.parent
    shutil.rmtree(project / ".git")
    git(outer, "init", "--quiet")
    git(outer, "add", ".")
    git(outer, "commit", "--quiet", "--message", "theirs")
    commit, note = checkout.commit()
    assert commit is None and "inside another git repository" in note


def test_git_is_led_elsewhere(project, tmp_path, monkeypatch):
    head = git(project, "rev-parse", "HEAD")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert checkout.commit() == (head, None)


def test_no_checkout_no_commit_and_no_git(project, monkeypatch):
    shutil.rmtree(project / ".git")
    assert checkout.commit() == (None, "not a git checkout")
    git(project, "init", "--quiet")
    assert checkout.commit() == (None, "the git checkout has no commit yet")
    monkeypatch.setenv("PATH", str(project))
    assert checkout.commit() == (None, "git is not installed here")


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can give a clone away")
def test_a_clone_of_another_user(project, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (project, project / ".git"):
        os.chown(path, 12345, 12345)
    commit, note = checkout.commit()
    assert commit is None and "belongs to another user" in note


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise SystemExit('fatal: λ\\nhappened')", "git: fatal: λ happened"),
        ("pass", "git did not answer: FileNotFoundError"),
    ],
)
def test_a_git_that_does_not_answer(project, tmp_path, monkeypatch, does, said):
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    fake.write_text(f"#!{sys.executable} -Xutf8\n{does}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    assert checkout.commit() == (None, said)


def test_the_names_of_config_files(monkeypatch):
    monkeypatch.delenv("HEBAE_CONFIG_FILES", raising=False)
    assert checkout.config_files() == []
    monkeypatch.setenv("HEBAE_CONFIG_FILES", '["a b.yaml", "more.yaml"]')
    assert checkout.config_files() == ["a b.yaml", "more.yaml"]
