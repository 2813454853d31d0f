"""Prepare a dataset: ``python -m hebae.data.prepare --dataset NAME --data-dir DIR --output DIR``.

The output directory holds one .npy file for each array, which can be memory mapped, and
``dataset.json``, written last: see :class:`hebae.data.store.PreparedDataset`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config import registry
from hebae.data.arrays import Arrays, Stream
from hebae.data.store import MANIFEST, PreparedDataset


def write_prepared(name: str, arrays: Arrays, directory: Path) -> PreparedDataset:
    """Write a dataset; the same arrays give the same bytes. Raises OSError."""
    manifest_path = directory / MANIFEST
    # whoever reads while we write, or after we were killed, must not find the old one
    manifest_path.unlink(missing_ok=True)
    sums = {}
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
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
        checksum=hashlib.sha256("".join(sums.values()).encode()).hexdigest(),
    )
    files.write_json(manifest_path, asdict(prepared))
    return prepared


def _save(stream: BinaryIO, array: np.ndarray | Stream) -> None:
    """Write a .npy file; of a :class:`Stream`, one chunk is in memory at a time."""
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
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    entry = registry.lookup(registry.DATASETS, "dataset", options.dataset)
    print(f"reading {options.dataset} (raw data in {options.data_dir})", file=sys.stderr)
    arrays = registry.resolve(entry.function)(options.data_dir.expanduser(), options.threads)
    if (shape := arrays.train_images.shape[1:]) != entry.image_shape:
        raise UserError(
            f"{options.dataset}: images are {shape} (height, width, channels), and "
            f"hebae.config.registry says {entry.image_shape}"
        )
    print(
        f"writing {arrays.train_images.shape[0]} training and {arrays.test_images.shape[0]} "
        "test images "
        f"to {options.output}",
        file=sys.stderr,
    )
    prepared = write_prepared(options.dataset, arrays, options.output)
    print(f"checksum {prepared.checksum}", file=sys.stderr)


if __name__ == "__main__":
    command(main)
