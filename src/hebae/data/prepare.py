"""Prepare a dataset: ``python -m hebae.data.prepare --dataset NAME --data-dir DIR --output DIR``.

The output directory holds one .npy file for each array, which can be memory mapped, and
``dataset.json``, written last: see :class:`hebae.data.store.PreparedDataset`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config import registry
from hebae.data import raw
from hebae.data.arrays import Arrays, Stream
from hebae.data.notes import Note
from hebae.data.store import MANIFEST, PreparedDataset

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def write_prepared(
    name: str, arrays: Arrays, directory: Path, notes: tuple[Note, ...] = ()
) -> PreparedDataset:
    """Write a dataset; the same arrays and notes give the same bytes. Raises OSError."""
    manifest_path = directory / MANIFEST
    # nobody must find the old file while we write, or after we were killed
    manifest_path.unlink(missing_ok=True)
    sums = {}
    for key in ARRAYS:
        path = directory / f"{key}.npy"
        with files.replacing(path) as stream:
            _save(stream, getattr(arrays, key))
        sums[path.name] = files.sha256(path)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    prepared = PreparedDataset(
        name=name,
        image_shape=arrays.train_images.shape[1:],
        n_train=arrays.train_images.shape[0],
        n_test=arrays.test_images.shape[0],
        factors=arrays.factors,
        n_classes=tuple((labels.max(0, initial=-1) + 1).tolist()),
        files=sums,
        checksum=_checksum(sums.values()),
        notes=notes,
    )
    fields = asdict(prepared)
    if not notes:
        del fields["notes"]
    files.write_json(manifest_path, fields)
    return prepared


def checksum(arrays: Arrays) -> str:
    """The checksum that :func:`write_prepared` would give, without writing anything."""
    sums = []
    for key in ARRAYS:
        sink = _Hash()
        _save(sink, getattr(arrays, key))
        sums.append(sink.digest.hexdigest())
    return _checksum(sums)


def _checksum(sums: Iterable[str]) -> str:
    return hashlib.sha256("".join(sums).encode()).hexdigest()


class _Hash(io.RawIOBase):
    """A file object that only computes the SHA-256 of what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes | memoryview) -> int:
        self.digest.update(content)
        return memoryview(content).nbytes


def _save(stream: BinaryIO, array: np.ndarray | Stream) -> None:
    """Write a .npy file. A :class:`Stream` has one chunk in memory at a time."""
    if not isinstance(array, Stream):
        return np.save(stream, array)
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    count = 0
    for chunk in array.chunks:
        if chunk.dtype != array.dtype or chunk.shape[1:] != array.shape[1:]:
            raise ValueError(f"{chunk.dtype} {chunk.shape} in a stream of {array.shape}")
        stream.write(np.ascontiguousarray(chunk).data)
        count += len(chunk)
    if count != array.shape[0]:
        raise ValueError(f"{count} images in a stream of {array.shape[0]}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.data.prepare", description="Prepare a dataset."
    )
    parser.add_argument("--dataset", required=True, help="its name, as in hebae.config.registry")
    parser.add_argument("--data-dir", type=Path, required=True, help="where its raw files are")
    parser.add_argument("--output", type=Path, help="directory to write")
    parser.add_argument(
        "--checksum-only", action="store_true", help="write nothing; print the dataset's checksum"
    )
    parser.add_argument(
        "--identity",
        default=raw.ABSENT,
        help="what a workflow knows the raw data by (hebae.data.raw)",
    )
    parser.add_argument("--memory", type=Path, help="file that remembers what was prepared, .json")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    if not options.output and not options.checksum_only:
        parser.error("--output is required")

    name, data_dir = options.dataset, options.data_dir.expanduser()
    entry = registry.lookup(registry.DATASETS, "dataset", name)
    if options.checksum_only:
        print(checksum(_load(name, entry, data_dir, options.threads)))
        return
    print(f"reading {name} (raw data in {options.data_dir})", file=sys.stderr)
    before = _state(name, data_dir)
    arrays = _load(name, entry, data_dir, options.threads)
    found = raw.look(name, data_dir)
    if entry.raw and not found.stamps:
        raise UserError(
            f"{name}: hebae.config.registry names raw files ({', '.join(entry.raw)}) that are "
            f"neither in {data_dir} nor in {data_dir / name}, so a change of them would not be "
            "noticed; correct the names"
        )
    notes = found.all_notes() if found else ()
    for note in notes:
        print(note.text, file=sys.stderr)
    print(
        f"writing {arrays.train_images.shape[0]} training and {arrays.test_images.shape[0]} "
        "test images "
        f"to {options.output}",
        file=sys.stderr,
    )
    written = write_prepared(name, arrays, options.output, notes)
    print(f"checksum {written.checksum}", file=sys.stderr)
    if options.memory:
        known = {}
        # files that were replaced while they were read may have given anything
        if before in ("", _state(name, data_dir)):
            with suppress(UserError):
                content = raw.content_of(name, found, options.memory, name).content
                known[content] = written.checksum
        prepared = {"identity": options.identity, "checksum": written.checksum}
        raw.remember(options.memory, name, prepared=prepared, known=known)


def _load(name: str, entry: registry.DatasetEntry, data_dir: Path, threads: int) -> Arrays:
    """The arrays of a dataset. Raises UserError if they contradict the registry."""
    arrays = registry.resolve(entry.function)(data_dir, threads)
    if (shape := arrays.train_images.shape[1:]) != entry.image_shape:
        raise UserError(
            f"{name}: images are {shape} (height, width, channels), and "
            f"hebae.config.registry says {entry.image_shape}"
        )
    return arrays


def _state(name: str, data_dir: Path) -> str:
    """The state of raw files; empty if there are none, or some are missing."""
    found = raw.look(name, data_dir)
    if found is None or not found.stamps or found.understand().missing:
        return ""
    return raw.state_of(name, found)


if __name__ == "__main__":
    command(main)
