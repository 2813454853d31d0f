"""MNIST: 70,000 handwritten digits of 28×28 pixels, from their four original files."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np

from hebae.base import files
from hebae.base.errors import UserError
from hebae.data.arrays import Arrays
from hebae.data.download import FetchError, attempt, unwritable
from hebae.data.mnist_files import FOLDERS, MD5, look, read, uncompressed

TIMEOUT_SECONDS = 20


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """60,000 training and 10,000 test images, uint8 (N, 28, 28, 1); one label, 0 to 9.

    The four files, gzipped or not, are looked for in `data_dir`, in its folders ``MNIST/raw`` and
    ``mnist``, and near it (:mod:`hebae.data.mnist_files`). Missing files are downloaded to
    ``MNIST/raw``. Existing files are never changed.

    Raises :class:`UserError` for a damaged file, a failed download or a folder that cannot be
    written to.
    """
    found = look(data_dir).understand()
    contents = {name: read(name, path) for name, path in found.paths.items()}
    for i, name in enumerate(found.missing):
        contents[name] = _download(data_dir / FOLDERS[0], found.missing[i:])
    train_images, train_labels, test_images, test_labels = (_parse(contents[name]) for name in MD5)
    return Arrays(
        train_images[..., np.newaxis],
        train_labels.astype(np.int64)[:, np.newaxis],
        test_images[..., np.newaxis],
        test_labels.astype(np.int64)[:, np.newaxis],
        ("digit",),
    )


def _download(folder: Path, missing: Sequence[str]) -> bytes:
    """Download the first of the missing files into `folder`; return its uncompressed content."""
    name = missing[0]
    path = folder / f"{name}.gz"
    print(f"downloading {path}", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored = attempt(_fetch, name)
        files.write_bytes(path, stored)
    except FetchError as error:
        wanted = ", ".join(f"{each} (MD5 {MD5[each]})" for each in missing)
        raise UserError(
            f"MNIST could not be downloaded ({error}); put these files into {folder}, "
            f"as they are or gzipped (.gz; the MD5s are of the uncompressed files): {wanted}"
        ) from error
    except OSError as error:
        raise unwritable("MNIST", folder, error) from error
    return uncompressed(name, stored)


def _fetch(name: str) -> bytes:
    """The gzipped file from the first mirror that gives an intact one."""
    from torchvision.datasets import MNIST  # takes seconds, and most runs have the files

    reason = "no mirrors"
    for mirror in MNIST.mirrors:
        url = f"{mirror}{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                stored = response.read()
            uncompressed(name, stored)
            return stored
        except (OSError, HTTPException, ValueError) as error:
            reason = " ".join(f"{url}: {error}".split())
    raise FetchError(reason)


def _parse(content: bytes) -> np.ndarray:
    """A verified idx file of bytes: 0, 0, type, ndim, then big-endian sizes, then the values."""
    ndim = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=ndim, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape)
