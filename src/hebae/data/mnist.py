"""MNIST: 70,000 handwritten digits of 28×28 pixels, from their four original files."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np

from hebae.base import files
from hebae.base.errors import UserError
from hebae.data.arrays import Arrays
from hebae.data.download import FetchError, attempt, unwritable

# MD5 of the uncompressed files: the published MD5s are of one particular compression
# of them, and many intact copies in circulation were compressed again.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

# Where files are looked for under `data_dir`; downloads go to the first, as torchvision's do.
FOLDERS = ("MNIST/raw", "mnist", ".")

TIMEOUT_SECONDS = 20


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """60,000 training and 10,000 test images, uint8 (N, 28, 28, 1); one label, 0 to 9.

    The four files, gzipped or not, are looked for in `data_dir` and its folders ``MNIST/raw``
    and ``mnist``; those in none of them are downloaded to ``MNIST/raw``. A file that is there
    is never changed.

    Raises :class:`UserError` for a damaged file, a failed download or a folder that cannot be
    written to.
    """
    found = {name: path for name in MD5 if (path := _find(data_dir, name))}
    contents = {name: _read(name, path) for name, path in found.items()}
    missing = [name for name in MD5 if name not in found]
    for i, name in enumerate(missing):
        contents[name] = _download(data_dir / FOLDERS[0], missing[i:])
    train_images, train_labels, test_images, test_labels = (_parse(contents[name]) for name in MD5)
    return Arrays(
        train_images[..., np.newaxis],
        train_labels.astype(np.int64)[:, np.newaxis],
        test_images[..., np.newaxis],
        test_labels.astype(np.int64)[:, np.newaxis],
        ("digit",),
    )


def _find(data_dir: Path, name: str) -> Path | None:
    """The first place that has the file, uncompressed before compressed."""
    for folder in FOLDERS:
        for path in (data_dir / folder / name, data_dir / folder / f"{name}.gz"):
            # lexists: a link to a disk that is not mounted is not ours to replace
            if os.path.lexists(path):
                return path
    return None


def _read(name: str, path: Path) -> bytes:
    try:
        return _content(name, path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not an intact {name} ({error}); it was left as it is: "
            "delete it to have it downloaded, or put an intact copy in its place"
        ) from error


def _content(name: str, stored: bytes) -> bytes:
    """The uncompressed file. Raises ValueError if that is not the one file of this name."""
    # By content and not by suffix: browsers unpack .gz files and leave the name.
    if stored.startswith(b"\x1f\x8b"):
        try:
            stored = gzip.decompress(stored)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"damaged gzip: {error}") from error
    md5 = hashlib.md5(stored, usedforsecurity=False).hexdigest()
    if md5 != MD5[name]:
        raise ValueError(f"MD5 of the uncompressed content is {md5}, not {MD5[name]}")
    return stored


def _download(folder: Path, missing: list[str]) -> bytes:
    """Download the first of the missing files into `folder`; its uncompressed content."""
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
    return _content(name, stored)


def _fetch(name: str) -> bytes:
    """The gzipped file from the first mirror that gives an intact one."""
    from torchvision.datasets import MNIST  # takes seconds, and most runs have the files

    reason = "no mirrors"
    for mirror in MNIST.mirrors:
        url = f"{mirror}{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                stored = response.read()
            _content(name, stored)
            return stored
        except (OSError, HTTPException, ValueError) as error:
            reason = " ".join(f"{url}: {error}".split())
    raise FetchError(reason)


def _parse(content: bytes) -> np.ndarray:
    """A verified idx file of bytes: 0, 0, type, ndim, then big-endian sizes, then the values."""
    ndim = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=ndim, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape)
