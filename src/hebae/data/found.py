"""Finds the raw files of a dataset without decoding them.

Planning a workflow uses this module too, so nothing here imports NumPy or Pillow.
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
    """Raw data that cannot be read now: closed, on a disk that is not mounted, or moved away."""


class Stamps:
    """Names, sizes, times and inodes, which identify files without reading them.

    They are kept in arrays, because CelebA has 202,599 files.
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
        """A hash of all of them, in the order in which the disk lists the files."""
        digest = hashlib.sha256(os.fsencode("\0".join(self.names)))
        digest.update(self.numbers)
        return digest.digest()


@dataclass(frozen=True)
class Content:
    """What the raw files were found to contain."""

    pairs: Callable[[], Iterable[tuple[str, str]]]
    """Names and checksums of everything that decides the dataset, in order. Reads all of it."""
    missing: tuple[str, ...] = ()
    """The names of files that would have to be downloaded."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Found:
    """Raw files of a dataset, none of them read."""

    stamps: Stamps
    """The stamps of every file that counts."""
    understand: Callable[[], Content]
    """A function that reads names and lists but no image. It raises UserError for files that
    contradict each other or themselves."""
    notes: tuple[Note, ...] = ()
    """Notes about which files are used."""

    def all_notes(self) -> tuple[Note, ...]:
        """These notes, and the notes about the content of the files."""
        return (*self.notes, *self.understand().notes)


def junk(name: str) -> bool:
    """Whether a file or folder with this name cannot belong to a dataset."""
    return name.startswith(".") or name.lower() in JUNK


def add_file(stamps: Stamps, path: Path, name: str) -> None:
    """Count a file under a name. Raises Gone."""
    try:
        stamps.add(name, path.stat())
    except OSError as error:
        raise gone(path, error) from error


def gone(path: Path | str, error: OSError) -> Gone:
    """The error for a file or folder that is there but cannot be read."""
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
    """Whether there is a file, a folder or a link, even a broken one. Raises Gone if closed."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise gone(path, error) from error
    return True


def listed(folder: Path) -> list[str]:
    """The sorted names in a folder, without junk; empty if there is no folder. Raises Gone."""
    try:
        return sorted(path.name for path in folder.iterdir() if not junk(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise gone(folder, error) from error


def subfolders(folder: Path) -> list[Path]:
    """The sorted folders in a folder, without junk and without those that are closed to this user.

    On a shared disk, closed folders may belong to other users.
    """
    paths = [folder / name for name in listed(folder)]
    return [path for path in paths if path.is_dir() and os.access(path, os.R_OK | os.X_OK)]


def walk(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Stamps:
    """The files below a folder, and below linked folders, whose own names are `wanted`.

    Names are relative, with forward slashes. A folder is entered only once, however many links lead
    to it. Raises Gone for a closed folder and for a broken link.
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
                # stat relative to an open folder takes half the time of stat by path
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

    Every file in such a folder counts.
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
            # moving a dataset from one place to the other does not change it
            yield full.partition("/")[2], sha256(paths[full])

    return Found(stamps, lambda: Content(pairs))
