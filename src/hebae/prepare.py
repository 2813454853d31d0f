"""Prepare a dataset: ``python -m hebae.prepare --dataset NAME --data-dir DIR --output DIR``.

The output directory holds one .npy file for each array, which can be memory mapped, and
``dataset.json``, written last: see :class:`hebae.prepared.Manifest`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hebae import files, registry
from hebae.datasets import Arrays
from hebae.errors import command
from hebae.prepared import MANIFEST, Manifest


def write_prepared(name: str, arrays: Arrays, directory: Path) -> Manifest:
    """Write a dataset; the same arrays give the same bytes. Raises OSError."""
    manifest_path = directory / MANIFEST
    # whoever reads while we write, or after we were killed, must not find the old one
    manifest_path.unlink(missing_ok=True)
    sums = {}
    for key, array in vars(arrays).items():
        path = directory / f"{key}.npy"
        with files.replacing(path) as stream:
            np.save(stream, array)
        sums[path.name] = files.sha256(path)
    manifest = Manifest(
        name=name,
        image_shape=arrays.train_images.shape[1:],
        n_train=len(arrays.train_images),
        n_test=len(arrays.test_images),
        n_classes=len(np.union1d(arrays.train_labels, arrays.test_labels)),
        files=sums,
        checksum=hashlib.sha256("".join(sums.values()).encode()).hexdigest(),
    )
    files.write_json(manifest_path, asdict(manifest))
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.prepare", description="Prepare a dataset."
    )
    parser.add_argument("--dataset", required=True, help="its name, as in hebae.registry")
    parser.add_argument("--data-dir", type=Path, required=True, help="where its raw files are")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    options = parser.parse_args(arguments)

    load = registry.resolve(registry.lookup(registry.DATASETS, "dataset", options.dataset).function)
    print(f"reading {options.dataset} (raw data in {options.data_dir})", file=sys.stderr)
    arrays = load(options.data_dir.expanduser())
    print(
        f"writing {len(arrays.train_images)} training and {len(arrays.test_images)} test images "
        f"to {options.output}",
        file=sys.stderr,
    )
    manifest = write_prepared(options.dataset, arrays, options.output)
    print(f"checksum {manifest.checksum}", file=sys.stderr)


if __name__ == "__main__":
    command(main)
