"""What there is of a dataset's raw files, found without decoding any.

Snakemake looks too when it plans, so nothing here imports NumPy or Pillow.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hebae.base.errors import UserError
from hebae.data.notes import Note

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


_64_BITS = 2**64 - 1


class Gone(UserError):
    """Raw data that cannot be had now: closed, on a disk that is not mounted, or moved away."""


class Stamps:
    """What tells files from others without reading them: names, sizes, times and inodes.

    In arrays, because CelebA has 202,599 of them.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers = array("Q")

    def add(self, name: str, stat: os.stat_result) -> None:
        """Count a file."""
        self.names.append(name)
        # a time may be negative, an inode is any 64 bits
        times = stat.st_mtime_ns & _64_BITS, stat.st_ctime_ns & _64_BITS
        self.numbers.extend((stat.st_size, *times, stat.st_ino & _64_BITS))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.numbers[::4])

    def digest(self) -> bytes:
        """A hash of them all, in the order in which the disk lists them."""
        digest = hashlib.sha256(os.fsencode("\0".join(self.names)))
        digest.update(self.numbers)
        return digest.digest()


@dataclass(frozen=True)
class Content:
    """What raw files are understood as."""

    pairs: Callable[[], Iterable[tuple[str, str]]]
    """Names and checksums of what decides the dataset, in order. Reads all of it."""
    missing: tuple[str, ...] = ()
    """What would have to be downloaded."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Found:
    """Raw files of a dataset, none of them read."""

    stamps: Stamps
    """Of every file that counts."""
    understand: Callable[[], Content]
    """Reads names and lists, and no image. Raises UserError for files that contradict each other
    or themselves."""
    notes: tuple[Note, ...] = ()
    """Of which files are used."""

    def all_notes(self) -> tuple[Note, ...]:
        """Those, and what is to be said of what is in them."""
        return (*self.notes, *self.understand().notes)


def junk(name: str) -> bool:
    """Whether a file or folder of this name is none of a dataset's."""
    return name.startswith(".") or name.lower() in JUNK


def add_file(stamps: Stamps, path: Path, name: str) -> None:
    """Count a file, under a name. Raises Gone."""
    try:
        stamps.add(name, path.stat())
    except OSError as error:
        raise gone(path, error) from error


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


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without junk and what is closed to this user.

    Of others who share a disk, a closed folder is no concern of ours.
    """
    paths = [folder / name for name in listed(folder)]
    return [path for path in paths if path.is_dir() and os.access(path, os.R_OK | os.X_OK)]


def walk(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Stamps:
    """The files below a folder, in linked folders too, whose own names are `wanted`.

    Names are relative, with forward slashes. A folder is entered once, however many links lead
    to it. Raises Gone for a folder that is closed and for a link to nothing.
    """
    stamps = Stamps()
    entered: set[tuple[int, int]] = set()
    todo = [(folder, "")]
    while todo:
        place, prefix = todo.pop()
        path = place
        try:
            with _opened(place) as number:
                here = os.fstat(number)
                if (here.st_dev, here.st_ino) in entered:
                    continue
                entered.add((here.st_dev, here.st_ino))
                # of an open folder, stat takes half the time that it takes of paths
                with os.scandir(number) as entries:
                    for entry in entries:
                        name = entry.name
                        if entry.is_dir():
                            if not junk(name):
                                todo.append((place / name, f"{prefix}{name}/"))
                        elif wanted(name) and not junk(name):
                            try:
                                stat = entry.stat()
                            except OSError:
                                path = place / name
                                raise
                            stamps.add(prefix + name, stat)
        except OSError as error:
            raise gone(path, error) from error
    return stamps


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)


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
    stamps = Stamps()
    for name in names:
        for place in (".", source):
            path = data_dir / place / name
            if not there(path):
                continue
            if path.is_dir():
                inside = walk(path)
                stamps.names += [f"{place}/{name}/{each}" for each in inside.names]
                stamps.numbers += inside.numbers
                paths |= {f"{place}/{name}/{each}": path / each for each in inside.names}
            else:
                add_file(stamps, path, f"{place}/{name}")
                paths[f"{place}/{name}"] = path

    def pairs() -> Iterator[tuple[str, str]]:
        for full in sorted(paths):
            # a dataset that has moved from one of the places to the other is the same
            yield full.partition("/")[2], sha256(paths[full])

    return Found(stamps, lambda: Content(pairs))
