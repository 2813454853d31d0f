"""The checkout that this package is run from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hebae.base import files

CHECKOUT = Path(__file__).parents[3]
LOCK = CHECKOUT / "requirements.lock"

DIRTY = "-dirty"
"""Suffix of a commit where tracked files differ from it."""

# variables that lead git to another repository: hooks set them, for example
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")

CONFIG_FILES = "HEBAE_CONFIG_FILES"
"""An environment variable of jobs: the config files' names, as JSON. They change no result."""


class Commit(NamedTuple):
    """The commit of this checkout, as far as git tells."""

    commit: str | None
    """40 hexadecimal digits, with :data:`DIRTY` where tracked files differ from it."""
    note: str | None
    """Why there is no commit, or that files differ from it; else None."""

    def fields(self) -> dict[str, str | None]:
        """The fields of records: ``commit``, which may be null, and ``commit_note``."""
        return {"commit": self.commit, "commit_note": self.note}


def commit() -> Commit:
    """The checked-out commit of this project, never that of a repository around it."""
    return _asked(
        lambda: _git("describe", "--always", f"--dirty={DIRTY}", "--abbrev=40", "--exclude=*")
    )


def last_change(paths: Sequence[str]) -> Commit:
    """The last commit that changed any of these files or folders of the checkout."""

    def found() -> str:
        last = _git("log", "-1", "--format=%H", "--", *paths)
        return last + DIRTY * bool(_git("status", "--porcelain", "--", *paths))

    return _asked(found)


def _asked(question: Callable[[], str]) -> Commit:
    """A question about a commit, asked of this project's own repository only."""
    if not shutil.which("git"):
        return Commit(None, "git is not installed here")
    try:
        top = _git("rev-parse", "--show-toplevel")
        if not os.path.samefile(top, CHECKOUT):  # noqa: PTH121
            return Commit(None, "lies inside another git repository, whose commit is not its own")
        found = question()
    except subprocess.CalledProcessError as error:
        return Commit(None, _reason(error.stderr))
    except (OSError, subprocess.SubprocessError) as error:
        return Commit(None, f"git did not answer: {type(error).__name__}")
    return Commit(found, "with changes that are not committed" if found.endswith(DIRTY) else None)


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    done = subprocess.run(
        ["git", *arguments],
        cwd=CHECKOUT,
        env=environment | {"LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",  # as in names of folders
        timeout=10,
        check=True,
    )
    return done.stdout.removesuffix("\n")


def _reason(said: str) -> str:
    """What git's error message means, for a person."""
    if "dubious ownership" in said:
        return "the git checkout belongs to another user, and git does not read it"
    if "not a git repository" in said:
        return "not a git checkout"
    if "HEAD" in said or "bad revision" in said:
        return "the git checkout has no commit yet"
    return f"git: {' '.join(said.split())[:200]}"


def config_files() -> list[str]:
    """The names of the workflow's config files; none if the workflow did not start this process."""
    return json.loads(os.environ.get(CONFIG_FILES, "[]"))


def lock_sha256() -> str | None:
    """SHA-256 of requirements.lock; None where the package is not in its checkout."""
    return files.sha256(LOCK) if LOCK.is_file() else None
