"""Identifies the dataset of raw data by its content, and decodes it only if that is necessary.

Raw data is the same dataset as long as it decodes to the same arrays. The names and places of its
files, and other files beside them, do not matter. Reading all of it takes minutes, so
``results/<experiment>/raw/<dataset>.json`` remembers the answers, by the size, time and inode of
each file. If that file is lost or damaged, only time is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from hebae.base import files, sources
from hebae.base.errors import UserError
from hebae.config.fields import from_fields
from hebae.config.registry import DATASETS, resolve
from hebae.data.found import Found, Gone, named

ABSENT = "absent"
"""The identity of raw data that has yet to be downloaded."""

LOOKS_KEPT = 20
SLOW_FILES, SLOW_BYTES = 10_000, 300_000_000  # reading more than this is announced


@dataclass(frozen=True)
class Settled:
    """The answer to which dataset raw data is."""

    identity: str
    """Changes if, and only if, the dataset changes."""
    checksum: str | None
    """The checksum of the prepared dataset; None if it is not known without preparing."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""
    missing: tuple[str, ...] = ()
    """The names of files that have to be downloaded to prepare it."""
    whole: bool = True
    """Whether it can be prepared from the files that are there."""


@dataclass(frozen=True)
class Looked:
    """What was found in raw files."""

    content: str = ""
    """Identifies the files and the code that reads them; empty if some files are missing."""
    notes: tuple[str, ...] = ()
    """Notes about the content of the files."""
    missing: tuple[str, ...] = ()
    """What would have to be downloaded."""


@dataclass(frozen=True)
class Memory:
    """What is remembered of the raw data of one dataset of an experiment."""

    source: str
    """The dataset's name in the registry."""
    identity: str | None = None
    """The identity under which the dataset was last prepared."""
    checksum: str | None = None
    """The checksum of the arrays that were prepared then."""
    known: Mapping[str, str] = field(default_factory=dict)
    """The checksum of the arrays, by the content of the raw data that gave them."""
    looked: Mapping[str, Looked] = field(default_factory=dict)
    """What was found, by the state of the files; the last one was seen last."""


def memory_path(results: Path, label: str) -> Path:
    """The file that remembers the raw data of a dataset, below ``results/<experiment>``.

    It is not beside the arrays, because it has to outlive them.
    """
    return results / "raw" / f"{label}.json"


def read_memory(path: Path, source: str) -> Memory:
    """What is remembered of a dataset; nothing if the file is damaged or of another dataset."""
    try:
        fields = json.loads(path.read_bytes())
        memory = from_fields(Memory, fields)
    except (OSError, ValueError, TypeError, UserError):
        return Memory(source)
    return memory if memory.source == source else Memory(source)


def remember(
    path: Path,
    source: str,
    *,
    prepared: Mapping[str, str] = MappingProxyType({}),
    known: Mapping[str, str] = MappingProxyType({}),
    looked: Mapping[str, Looked] = MappingProxyType({}),
) -> None:
    """Remember more. Fails silently, because only time is lost then.

    Args:
        prepared: an identity and a checksum.
    """
    # read again, because another process may have written in the meantime
    before = read_memory(path, source)
    old = {state: was for state, was in before.looked.items() if state not in looked}
    kept = list({**old, **looked}.items())[-LOOKS_KEPT:]
    after = replace(before, known={**before.known, **known}, looked=dict(kept), **prepared)
    if after != before:
        with contextlib.suppress(OSError):
            files.write_json(path, asdict(after))


def look(source: str, data_dir: Path) -> Found | None:
    """The raw files of a dataset; None if it has none.

    Raises UserError for files that contradict each other, Gone for files that cannot be read.
    """
    entry = DATASETS[source]
    if entry.look:
        return resolve(entry.look)(data_dir)
    return named(data_dir, source, entry.raw) if entry.raw else None


@cache
def code(source: str) -> str:
    """A fingerprint of the code that makes arrays from raw data."""
    return sources.fingerprint(["hebae.data.prepare", DATASETS[source].function.partition(":")[0]])


def state_of(source: str, found: Found) -> str:
    """A hash that changes if a file changes, or the code that reads it."""
    return hashlib.sha256(code(source).encode() + found.stamps.digest()).hexdigest()


def content_of(source: str, found: Found | None, memory: Path, label: str) -> Looked:
    """What raw files contain. Files with the same size, time and inode are not read again.

    Raises UserError for a damaged file, and for files that contradict each other.
    """
    if found is None:
        return Looked(code(source))
    state = state_of(source, found)
    if before := read_memory(memory, source).looked.get(state):
        return before
    content = found.understand()
    if content.missing or not found.stamps:
        return Looked("", missing=content.missing)
    if len(found.stamps) > SLOW_FILES or found.stamps.size > SLOW_BYTES:
        _say(f"{label}: reading {len(found.stamps):,} files that are new or have changed")
    digest = hashlib.sha256(code(source).encode())
    for pair in content.pairs():
        digest.update(os.fsencode(repr(pair)))
    looked = Looked(digest.hexdigest(), tuple(note.text for note in content.notes))
    remember(memory, source, looked={state: looked})
    return looked


def settle(
    label: str,
    source: str,
    data_dir: Path,
    results: Path,
    decode: Callable[[], str | None] | None = None,
    needed: bool = False,
) -> Settled:
    """Which dataset the raw data in `data_dir` is.

    Raw data that is gone counts as the dataset that was prepared from it. Raw data that was seen
    before counts as what it was then. Otherwise, if the dataset was prepared before, the raw data
    is decoded to find out.

    Args:
        label: the dataset's name in the experiment.
        source: its name in the registry.
        data_dir: where raw data lies.
        results: folder ``results/<experiment>``.
        decode: decodes all of it and returns the checksum, or None if it could not. Without this
            function, raw data with an unknown checksum counts as another dataset.
        needed: whether the checksum is needed even if nothing is remembered of the dataset, because
            finished runs are compared by it.

    Raises:
        UserError: for raw data that cannot be prepared, unless it is merely gone.
    """
    path = memory_path(results, label)
    memory = read_memory(path, source)
    identity, checksum = memory.identity, memory.checksum
    if identity is None:
        checksum = _prepared_checksum(results / "data" / label, source)
    try:
        found = look(source, data_dir)
        looked = content_of(source, found, path, label)
    except Gone as error:
        if checksum is None:
            raise
        notes = (f"{error}; what was prepared is used",)
        return Settled(identity or ABSENT, checksum, notes, whole=False)
    notes = (*(note.text for note in found.notes), *looked.notes) if found else ()
    content = looked.content
    if not content:
        return Settled(identity or ABSENT, checksum, notes, looked.missing, whole=False)
    gives = memory.known.get(content)
    if gives is None and decode and (checksum is not None or needed):
        changed = "its files or the code that reads them changed; " * (checksum is not None)
        _say(f"{label}: {changed}looking at the images")
        gives = decode()
        if gives is not None:
            remember(path, source, known={content: gives})
    if gives is not None and gives == checksum:
        return Settled(content if identity is None else identity, checksum, notes)
    # the same content may have given another dataset before
    return Settled(f"{content}, again" if content == identity else content, gives, notes)


def recall(label: str, source: str, results: Path) -> Settled:
    """What :func:`settle` found the last time, without looking at the raw data."""
    memory = read_memory(memory_path(results, label), source)
    return Settled(memory.identity or ABSENT, memory.checksum)


def decode(source: str, data_dir: Path, threads: int) -> str | None:
    """The checksum of the dataset that raw data gives; None if this Python cannot decode it.

    It is decoded in a process of its own, because a workflow may be planned without NumPy or
    Pillow.

    Raises:
        UserError: for raw data that cannot be prepared.
    """
    command = [sys.executable, "-m", "hebae.data.prepare", "--dataset", source, "--checksum-only"]
    command += ["--data-dir", str(data_dir), "--threads", str(threads)]
    environment = os.environ | {"PYTHONPATH": str(sources.ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    failed = ""
    with subprocess.Popen(command, env=environment, encoding="utf-8", **pipes) as process:
        for line in process.stderr:
            if failed or line.startswith(("error: ", "Traceback")):
                failed += line
            else:
                _say(line.rstrip())
        checksum = process.stdout.read().strip()
    if process.returncode == 0:
        return checksum
    if failed.startswith("error: "):
        raise UserError(failed.removeprefix("error: ").strip())
    return None


def _prepared_checksum(folder: Path, source: str) -> str | None:
    """The checksum of the prepared dataset, if it was prepared from this source."""
    try:
        manifest = json.loads((folder / "dataset.json").read_bytes())
        return str(manifest["checksum"]) if manifest["name"] == source else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
