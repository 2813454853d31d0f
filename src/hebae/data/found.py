"""What there is of a dataset's raw files, found without decoding any.

Snakemake looks too when it plans, so nothing here imports NumPy or Pillow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hebae.base.errors import UserError

# What Finder, Windows and network disks put beside files and into folders. All else that begins
# with a dot is theirs too: .DS_Store, ._000001.jpg, .AppleDouble.
JUNK = frozenset(
    {
        "__macosx",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)


class Gone(UserError):
    """Raw data that cannot be had now: closed, on a disk that is not mounted, or moved away."""


class Stamp(NamedTuple):
    """What tells a file from another without reading it."""

    name: str
    size: int
    modified: int  # nanoseconds
    inode: int


@dataclass(frozen=True)
class Note:
    """What a person should know of how raw data was understood."""

    text: str
    """A sentence; its paths are seen from the data_dir, so that it is the same on every machine."""
    caption: str = ""
    """What the caption of a figure says of it; most notes matter in none."""


@dataclass(frozen=True)
class Found:
    """Raw files of a dataset."""

    stamps: tuple[Stamp, ...]
    """Of every file that counts, in no order."""
    content: Callable[[], Iterable[tuple[str, str]]]
    """Names and checksums of what decides the dataset, in order. Reads all of it."""
    missing: tuple[str, ...] = ()
    """What would have to be downloaded."""
    notes: tuple[Note, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the dataset can be prepared from what is there."""
        return bool(self.stamps) and not self.missing

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(stamp.size for stamp in self.stamps)


def junk(name: str) -> bool:
    """Whether a file or folder of this name is none of a dataset's."""
    return name.startswith(".") or name.lower() in JUNK


def stamp(path: Path, name: str) -> Stamp:
    """The stamp of a file, under a name. Raises Gone."""
    try:
        return _stamp(name, path.stat())
    except OSError as error:
        raise gone(path, error) from error


def _stamp(name: str, stat: os.stat_result) -> Stamp:
    return Stamp(name, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def gone(path: Path | str, error: OSError) -> Gone:
    """The error for what is there and cannot be read."""
    reason = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return Gone(f"{path} cannot be read ({reason}); have it made readable for you")
    if isinstance(error, FileNotFoundError):
        return Gone(
            f"{path} is a link to what is not there; it was left as it is: mount the disk that "
            "has it, or remove the link"
        )
    return Gone(f"{path} cannot be read ({reason})")


def there(path: Path) -> bool:
    """Whether there is a file, a folder or a link, be it to nothing. Raises Gone if closed."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise gone(path, error) from error
    return True


def listed(folder: Path) -> list[str]:
    """The names in a folder, without junk, sorted; none where there is no folder. Raises Gone."""
    try:
        return sorted(path.name for path in folder.iterdir() if not junk(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise gone(folder, error) from error


def walk(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Stamp]:
    """The files below a folder, in linked folders too, whose own names are `wanted`.

    Names are relative, with forward slashes. A folder is entered once, however many links lead
    to it. Raises Gone for a folder that is closed and for a link to nothing.
    """
    entered: set[tuple[int, int]] = set()
    todo = [(folder, "")]
    while todo:
        place, prefix = todo.pop()
        path: Path | str = place
        try:
            here = place.stat()
            if (here.st_dev, here.st_ino) in entered:
                continue
            entered.add((here.st_dev, here.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    path, name = entry.path, entry.name
                    if junk(name):
                        continue
                    if entry.is_dir():
                        todo.append((place / name, f"{prefix}{name}/"))
                    elif wanted(name):
                        yield _stamp(prefix + name, entry.stat())
        except OSError as error:
            raise gone(path, error) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's content. Raises Gone."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise gone(path, error) from error


def named(data_dir: Path, source: str, names: Iterable[str]) -> Found:
    """The files and folders of these names in `data_dir` and in its folder `source`.

    Of a folder, every file in it counts.
    """
    paths: dict[str, Path] = {}
    stamps: list[Stamp] = []
    for name in names:
        for place in (".", source):
            path = data_dir / place / name
            if not there(path):
                continue
            inside = [*walk(path)] if path.is_dir() else [stamp(path, "")]
            for each in inside:
                full = f"{place}/{name}/{each.name}"
                paths[full] = path / each.name
                stamps.append(each._replace(name=full))

    def content() -> Iterator[tuple[str, str]]:
        for full in sorted(paths):
            # a dataset that has moved from one of the places to the other is the same
            yield full.partition("/")[2], sha256(paths[full])

    return Found(tuple(stamps), content)
