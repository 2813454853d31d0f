"""MNIST's four files: where they may lie, and whether they are intact."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hebae.base.errors import UserError
from hebae.data.found import Content, Found, Stamps, add_file, gone, subfolders, there

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
# Further places, because `data_dir` may be a level too low or too high, or in another layout.
# Not in any folder: Fashion-MNIST's files have the same names.
NEAR = ("raw", "MNIST", "mnist/raw", "mnist/MNIST/raw")
BESIDE = {"processed": "../raw", "raw": ".."}  # by the name of `data_dir`
BELOW = ("MNIST/raw", "MNIST", "mnist")


@dataclass(frozen=True)
class Files(Content):
    """The files of MNIST that were found."""

    paths: Mapping[str, Path] = field(default_factory=dict)


def look(data_dir: Path) -> Found:
    """MNIST's files in `data_dir`, or near it. Raises Gone for a closed folder."""
    beside = BESIDE.get(data_dir.name.lower(), ".")
    folders = [data_dir / name for name in (*FOLDERS, *NEAR, beside)]
    paths = {name: path for name in MD5 if (path := _find(folders, name))}
    if not paths:
        folders = [folder / below for folder in subfolders(data_dir) for below in BELOW]
        paths = {name: path for name in MD5 if (path := _find(folders, name))}

    def pairs() -> Iterator[tuple[str, str]]:
        for name, path in paths.items():
            read(name, path)
            yield name, MD5[name]

    stamps = Stamps()
    for path in paths.values():
        add_file(stamps, path, str(path.relative_to(data_dir)))
    missing = tuple(name for name in MD5 if name not in paths)
    return Found(stamps, lambda: Files(pairs, missing, paths=paths))


def _find(folders: list[Path], name: str) -> Path | None:
    """The first place that has the file; an uncompressed file comes before a compressed one."""
    dotted = name.replace("-idx", ".idx")  # the spelling of an old release and of Kaggle's copy
    for folder in folders:
        if not there(folder):
            continue
        for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
            path = folder / spelling
            # a link to a disk that is not mounted counts as there: we must not replace it
            if not there(path):
                continue
            if not path.is_dir():
                return path
            # Kaggle's copy has each file in a folder of its name
            if inside := _find([path], name):
                return inside
    return None


def read(name: str, path: Path) -> bytes:
    """The uncompressed content of a file. Raises UserError if it is not what its name says."""
    try:
        return uncompressed(name, path.read_bytes())
    except OSError as error:
        raise gone(path, error) from error
    except ValueError as error:
        raise UserError(
            f"{path} is not an intact {name} ({error}); it was left as it is: "
            "delete it to have it downloaded, or put an intact copy in its place"
        ) from error


def uncompressed(name: str, stored: bytes) -> bytes:
    """The uncompressed file. Raises ValueError if it is not the published file of this name."""
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
