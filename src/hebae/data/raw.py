"""Which dataset raw data is: by its content, without decoding it where that is known.

Raw data is the same dataset while it decodes to the same arrays, whatever its files are called,
where they lie and what lies beside them. Reading all of it takes minutes, so what was found out
is remembered in ``results/<experiment>/raw/<dataset>.json``, by the size, time and inode of each
file. Nothing depends on that file but time: one that is damaged or lost is as none.
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
"""The identity of raw data that was never there: it will be downloaded."""

LOOKS_KEPT = 20
SLOW_FILES, SLOW_BYTES = 10_000, 300_000_000  # from here on reading them is announced


@dataclass(frozen=True)
class Settled:
    """What the raw data of a dataset is."""

    identity: str
    """Is another where the dataset is another, and only there."""
    checksum: str | None
    """Of the prepared dataset that it gives; None where that is not known without preparing."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""
    missing: tuple[str, ...] = ()
    """What preparing it would have to download."""
    whole: bool = True
    """Whether it can be prepared from what is there."""


@dataclass(frozen=True)
class Looked:
    """What raw files were found to be."""

    content: str = ""
    """What tells them, and the code that reads them, from others; empty where they are not all
    there."""
    notes: tuple[str, ...] = ()
    """What is to be said of what is in them."""
    missing: tuple[str, ...] = ()
    """What would have to be downloaded."""


@dataclass(frozen=True)
class Memory:
    """What is known of the raw data of one dataset of an experiment."""

    source: str
    """Its name in the registry."""
    identity: str | None = None
    """Under which the dataset was prepared last."""
    checksum: str | None = None
    """Of the arrays that were prepared then."""
    known: Mapping[str, str] = field(default_factory=dict)
    """By the content of raw data, the checksum of the arrays that it gives."""
    looked: Mapping[str, Looked] = field(default_factory=dict)
    """By the state of its files, what raw data was; those last seen at the end."""


def memory_path(results: Path, label: str) -> Path:
    """Where what is known of a dataset is kept, below ``results/<experiment>``.

    Not beside the arrays: it outlives them.
    """
    return results / "raw" / f"{label}.json"


def read_memory(path: Path, source: str) -> Memory:
    """What is known of a dataset; nothing where that is of another one, or damaged."""
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
    """Add to what is known; fails silently, because only time is lost then.

    Args:
        prepared: an identity and a checksum.
    """
    before = read_memory(path, source)  # again: another process may have written meanwhile
    old = {state: was for state, was in before.looked.items() if state not in looked}
    kept = list({**old, **looked}.items())[-LOOKS_KEPT:]
    after = replace(before, known={**before.known, **known}, looked=dict(kept), **prepared)
    if after != before:
        with contextlib.suppress(OSError):
            files.write_json(path, asdict(after))


def look(source: str, data_dir: Path) -> Found | None:
    """The raw files of a dataset; None where it has none of its own.

    Raises UserError for files that contradict each other, Gone for what cannot be read.
    """
    entry = DATASETS[source]
    if entry.look:
        return resolve(entry.look)(data_dir)
    return named(data_dir, source, entry.raw) if entry.raw else None


@cache
def code(source: str) -> str:
    """A fingerprint of what makes arrays of raw data."""
    return sources.fingerprint(["hebae.data.prepare", DATASETS[source].function.partition(":")[0]])


def state_of(source: str, found: Found) -> str:
    """What changes where a file does, or what files are taken for."""
    return hashlib.sha256(code(source).encode() + found.stamps.digest()).hexdigest()


def content_of(source: str, found: Found | None, memory: Path, label: str) -> Looked:
    """What raw files are; without reading those that are the same by size, time and inode.

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

    Raw data that has gone is what was prepared from it. Raw data that was seen before is what it
    was then. Otherwise, where the dataset was prepared before, it is decoded to find out.

    Args:
        label: the dataset's name in the experiment.
        source: its name in the registry.
        data_dir: where raw data lies.
        results: folder ``results/<experiment>``.
        decode: decodes it all and returns the checksum, None where it could not. Without this,
            raw data of which that is not known is another dataset.
        needed: whether the checksum is to be known though nothing is remembered of the dataset:
            finished runs are compared by it.

    Raises:
        UserError: for raw data that cannot be prepared, unless it merely has gone.
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
    # content that a dataset was prepared under before may have become that of another since
    return Settled(f"{content}, again" if content == identity else content, gives, notes)


def recall(label: str, source: str, results: Path) -> Settled:
    """What :func:`settle` says where raw data is as it was, without a look at it."""
    memory = read_memory(memory_path(results, label), source)
    return Settled(memory.identity or ABSENT, memory.checksum)


def decode(source: str, data_dir: Path, threads: int) -> str | None:
    """The checksum of the dataset that raw data gives; None where this Python cannot decode it.

    In a process of its own, because whoever plans may have neither NumPy nor Pillow.

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
    """The checksum of a dataset that is there prepared of this source."""
    try:
        manifest = json.loads((folder / "dataset.json").read_bytes())
        return str(manifest["checksum"]) if manifest["name"] == source else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
