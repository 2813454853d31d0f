"""CelebA's files: which images there are, and which split each is in.

Copies in circulation differ in everything but the images: the zip or its folder, one folder
deeper, ``Img/`` beside ``Eval/``, Kaggle's partition, the PNG edition. All are understood here.
Notes say what may surprise the owner of the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PureWindowsPath

from hebae.base.errors import UserError
from hebae.base.text import counted
from hebae.data.found import (
    Content,
    Found,
    Gone,
    Note,
    Stamps,
    add_file,
    gone,
    junk,
    listed,
    subfolders,
    there,
    walk,
)

ZIP = "img_align_celeba.zip"
FOLDER = "img_align_celeba"
SOURCES = (ZIP, FOLDER)
PNG_SOURCES = ("img_align_celeba_png.zip", "img_align_celeba_png")
UNALIGNED = "img_celeba"  # the same names, but other images
PARTITION = "list_eval_partition.txt"
KAGGLE = "list_eval_partition.csv"
MD5 = {ZIP: "00d2c5bc6d35e252742224ab0c1e8fcb", PARTITION: "d32c9cbf5e040fd4025c592c306e6668"}
ZIP_BYTES = 1_443_490_838  # the published zip's size
IMAGES = 202_599
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

PLACES = (".", "celeba")  # under `data_dir`; downloads go to the last, as torchvision's do
NEAR = ("Img", "img", "CelebA", "celeba/Img", "celeba/img", "CelebA/Img", "CelebA/img")
INSIDE = {"celeba", "img", "eval", "anno", FOLDER, PNG_SOURCES[1]}  # not above a CelebA

JPEG, PNG = (".jpg", ".jpeg"), (".png",)
IMAGE = (*JPEG, *PNG)
OFFICIAL = re.compile(r"\d{6}\.(jpe?g|png)", re.IGNORECASE)
LARGEST_BYTES = 50_000_000  # of an image; unpacked, a few kilobytes of a zip may be gigabytes

TEST_SHARE = 0.1  # where no partition file says

# RuntimeError: encrypted, or compressed in a way that Python does not know
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Faces(Content):
    """The images of CelebA or of a part of it; empty if CelebA has to be downloaded."""

    source: Path = Path()
    """The zip or the folder."""
    images: Mapping[str, str] = field(default_factory=dict)
    """The path in the source of each file name, ordered by name."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """The split of each image: 0 training, 1 validation, 2 test."""


@dataclass(frozen=True)
class Partition:
    """A file that gives the split of images."""

    path: Path
    """The path of the file; for a member of a zip, as if the zip were a folder."""
    parts: dict[str, int]


def look(data_dir: Path) -> Found:
    """The images in `data_dir` or near it, and the files that may say which split each is in.

    The images are in ``img_align_celeba.zip`` or, if there is no zip, in the folder of that name.
    Either is looked for in `data_dir` and its folder ``celeba``, then in ``Img``, then in any one
    folder of `data_dir`. `data_dir` may also be that folder itself, or hold images with CelebA's
    names.

    The partition is ``list_eval_partition.txt`` or Kaggle's ``.csv``. It is beside the images, in
    `data_dir`, in ``Eval`` beside ``Img``, or among the images. It must name all images that are
    there, and may name others (a subset). If a name does not match, it is compared without its case
    and suffix (``.JPG``, ``.png``).

    Raises Gone for files that are there but cannot be read, UserError for two editions.
    """
    named = data_dir if data_dir.name in (*SOURCES, *PNG_SOURCES) and there(data_dir) else None
    data_dir = top(data_dir)
    source, notes = _source(data_dir, named)
    if source is None:
        missing = (ZIP,) if _beside(data_dir, data_dir) else (PARTITION, ZIP)
        return Found(Stamps(), lambda: Faces(tuple, missing), tuple(_hints(data_dir)))
    if source.is_dir():
        stamps = walk(source, _wanted)
        members = stamps.names.copy()
    else:
        stamps, members = Stamps(), None
        add_file(stamps, source, source.name)
    beside = _beside(data_dir, source.parent)
    for path in beside:
        add_file(stamps, path, _from(data_dir, path))
    understand = cache(partial(_understand, data_dir, source, members, beside))
    return Found(stamps, understand, tuple(notes))


def _understand(
    data_dir: Path, source: Path, members: list[str] | None, beside: list[Path]
) -> Faces:
    """The images of a source and their split.

    Args:
        members: the files in the source; None for a zip, which lists its own.
        beside: partitions outside the source.

    Raises:
        UserError: for a damaged zip, a partition of other images, or a split without images.
    """
    if members is None:
        members = _zipped(source)
    images, notes = _images(source, members)
    if source.is_file() and len(images) == IMAGES and source.stat().st_size != ZIP_BYTES:
        notes.append(Note(f"{_from(data_dir, source)} is not {original(ZIP)}"))
    partitions = _partitions(source, members, beside)
    missing: tuple[str, ...] = ()
    if partitions:
        used, *others = partitions
        parts, said = _split(data_dir, used, images)
        notes += said
        for other in others:
            if differing := _differing(used.parts, other.parts):
                names = [_from(data_dir, each.path) for each in (used, other)]
                notes.append(
                    Note(f"{names[0]} is used; {names[1]} says otherwise of {differing:,} images")
                )
    else:
        parts = {name: part(name) for name in images}
        notes.append(_ours(data_dir, source, images))
        missing = (PARTITION,) if len(images) == IMAGES else ()
    if not missing:
        _check_splits(source, parts, str(used.path) if partitions else "a hash of their names")

    def pairs() -> Iterator[tuple[str, str]]:
        read = reader(source)
        for name, member in images.items():
            if parts[name] != 1:
                stored = content_of(source, member, read)
                yield f"{name} {parts[name]}", hashlib.sha256(stored).hexdigest()

    return Faces(pairs, missing, tuple(notes), source, images, parts)


def _from(data_dir: Path, path: Path) -> str:
    """A path relative to `data_dir`, so that notes do not depend on where that is."""
    return os.path.relpath(path, data_dir)


# Where the images are


def top(data_dir: Path) -> Path:
    """The folder to look in if `data_dir` is the folder of images, or a part of CelebA."""
    parts = (*SOURCES, *PNG_SOURCES, "Eval", "Anno")
    return data_dir.parent if data_dir.name in parts and there(data_dir) else data_dir


def _source(data_dir: Path, named: Path | None) -> tuple[Path | None, list[Note]]:
    """The zip or folder of images, preferably the `named` one, with notes about it."""
    for places in (PLACES, NEAR):
        paths = [data_dir / place / name for place in places for name in (*SOURCES, *PNG_SOURCES)]
        found = _distinct([named] * bool(named) + [path for path in paths if there(path)])
        if found:
            return found[0], _unused(data_dir, found)
        for place in places:
            folder = data_dir / place
            if any(OFFICIAL.fullmatch(name) for name in listed(folder)):
                if folder.resolve().name == UNALIGNED:
                    raise UserError(
                        f"{folder} has CelebA as it was collected; faces are aligned and cropped "
                        f"in {FOLDER}: get {original(ZIP)}"
                    )
                return folder, []
    found = _distinct(
        path
        for folder in subfolders(data_dir)
        for place in (*PLACES, *NEAR)
        for source in (*SOURCES, *PNG_SOURCES)
        if there(path := folder / place / source)
    )
    if len({path.parent for path in found}) > 1:
        these = " and ".join(_from(data_dir, path) for path in found[:3])
        raise UserError(f"{data_dir} has CelebA more than once, {these}: name one with data_dir")
    if not found:
        return None, []
    taken = Note(f"{_from(data_dir, found[0])} is used: CelebA is a folder deeper than data_dir")
    return found[0], [taken, *_unused(data_dir, found)]


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Paths without those that lead to the same file as an earlier one. A link does, and so does a
    name in another case on a disk that ignores case."""
    found: list[Path] = []
    for path in paths:
        if not any(_same(path, other) for other in found):
            found.append(path)
    return found


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _unused(data_dir: Path, found: list[Path]) -> list[Note]:
    """Notes about sources that are not used. Raises UserError for two editions."""
    used, *others = found
    for other in others:
        if (used.name in PNG_SOURCES) != (other.name in PNG_SOURCES):
            raise UserError(
                f"{used} and {other} are two editions of CelebA, JPEG and PNG, whose pixels "
                "differ: move one of them out of data_dir"
            )
    return [
        Note(f"{_from(data_dir, used)} is used, and {_from(data_dir, other)} beside it is not")
        for other in others
    ]


def _hints(data_dir: Path) -> list[Note]:
    """Notes about files that may be CelebA under another name."""
    packed = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".001")
    named = [
        _from(data_dir, data_dir / place / name)
        for place in PLACES
        for name in listed(data_dir / place)
        if "celeba" in name.lower() and name.lower() != "celeba" and name not in (PARTITION, KAGGLE)
        if name.lower().endswith(packed) or (data_dir / place / name).is_dir()
    ]
    if not named:
        return []
    return [
        Note(
            f"{', '.join(named[:3])} is not read: CelebA is a zip {ZIP} or a folder {FOLDER}; "
            "unpack it or rename it if it is that"
        )
    ]


# Which images there are


def _wanted(name: str) -> bool:
    """Whether a file of this name counts."""
    # most are as published, and there are 202,599
    return name.endswith(IMAGE) or name.lower().endswith(IMAGE) or name in (PARTITION, KAGGLE)


def _zipped(source: Path) -> list[str]:
    """The members of a zip that count. Raises UserError for an unsafe member."""
    members = []
    for info in _archive(source).infolist():
        path = PureWindowsPath(info.filename)  # knows both kinds of slashes, and drives
        if info.is_dir():
            continue
        if path.anchor or ".." in path.parts:
            raise damaged(source, f"its member {info.filename!r} is outside of it")
        if _wanted(path.name) and not any(map(junk, path.parts)):
            if info.file_size > LARGEST_BYTES:
                raise damaged(source, f"its member {info.filename!r} is too large for a face")
            members.append(info.filename)
    return members


def _images(source: Path, members: Iterable[str]) -> tuple[dict[str, str], list[Note]]:
    """The images of one edition among the members of a source, by name, with notes."""
    images: dict[str, str] = {}
    others: dict[str, str] = {}
    packed = source.is_file()  # else a name may have a backslash in it
    for member in members:
        name = (member.replace("\\", "/") if packed else member).rpartition("/")[2]
        if name in (PARTITION, KAGGLE):
            continue
        kept = images if name.lower().endswith(JPEG) else others
        if name in kept:
            raise damaged(source, f"{kept[name]} and {member} have the same name")
        kept[name] = member
    if not images:
        images, others = others, {}
    if not images:
        raise _empty(source)
    if others:
        stems = {name.rpartition(".")[0].lower() for name in images}
        for name in others:
            if OFFICIAL.fullmatch(name) or name.rpartition(".")[0].lower() in stems:
                raise UserError(
                    f"{source} has JPEGs and PNGs of faces, the first {name}: CelebA's editions "
                    "differ in their pixels; keep one of them"
                )
    left = []
    if others:
        number, first = counted(len(others), "PNG"), min(others)
        left.append(Note(f"{number} among the JPEGs of {source.name} left out, the first {first}"))
    return dict(sorted(images.items())), left


def _empty(source: Path) -> UserError:
    if source.is_dir():
        # where a disk is to be mounted there is such a folder
        return Gone(
            f"{source} has no JPEG or PNG images; it was left as it is: put CelebA's own images "
            "there, mount the disk that has them, or move the folder away"
        )
    return damaged(source, "it has no JPEG or PNG images")


def _archive(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (PermissionError, FileNotFoundError) as error:
        raise gone(source, error) from error
    except UNREADABLE as error:
        raise damaged(source, error) from error


def reader(source: Path) -> Callable[[str], bytes]:
    """A function that reads the members of a zip or folder."""
    if source.is_dir():
        return lambda member: (source / member).read_bytes()
    return _archive(source).read


def content_of(source: Path, member: str, read: Callable[[str], bytes]) -> bytes:
    """The content of a member. Raises UserError that names the member."""
    try:
        return read(member)
    except PermissionError as error:
        raise gone(source / member, error) from error
    except UNREADABLE as error:
        raise damaged(source, f"{member}: {error}") from error


def original(name: str) -> str:
    """The name, page and MD5 of a published file, in words."""
    return f"the {name} of {PAGE} (MD5 {MD5[name]})"


def damaged(path: Path, reason: object) -> UserError:
    """The error for a zip or folder that is not intact."""
    what = f"{path} is not intact ({' '.join(str(reason).split())}); it was left as it is: "
    if path.is_dir():
        return UserError(f"{what}put CelebA's own images there, or move the folder away")
    return UserError(
        f"{what}put {original(ZIP)} in its place, or delete it to have that downloaded"
    )


def check_published(source: Path) -> None:
    """Check that a zip of the published size is the published zip. Raises UserError."""
    if source.is_dir() or source.stat().st_size != ZIP_BYTES:
        return
    with source.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    if md5.hexdigest() != MD5[ZIP]:
        raise damaged(source, f"MD5 is {md5.hexdigest()}, not {MD5[ZIP]}")


# Which split they are in


def _beside(data_dir: Path, folder: Path) -> list[Path]:
    """The partitions for images in a folder, those of the published name and place first."""
    around = [folder / place for place in PLACES] + [data_dir / place for place in PLACES]
    # the images' folder itself may be a folder deeper, or data_dir a folder of CelebA
    while folder.name.lower() in INSIDE:
        folder = folder.parent
        around.append(folder)
    if data_dir.name.lower() in INSIDE:
        around.append(data_dir.parent)
    evals = [place / name for place in around for name in ("Eval", "eval")]
    return _distinct(
        path
        for places in (around, evals)
        for name in (PARTITION, KAGGLE)
        for place in places
        if there(path := place / name)
    )


def _partitions(source: Path, members: Iterable[str], beside: list[Path]) -> list[Partition]:
    """All partitions for a source, the one that is used first."""
    inside = sorted(name for name in members if name.endswith((PARTITION, KAGGLE)))
    if source.is_dir():
        return list(map(_read, _distinct([*beside, *(source / name for name in inside)])))
    found = list(map(_read, beside))
    if inside:
        read = reader(source)
        found += [_parsed(source / name, content_of(source, name, read)) for name in inside]
    return found


def _read(path: Path) -> Partition:
    try:
        return _parsed(path, path.read_bytes())
    except (PermissionError, FileNotFoundError) as error:
        raise gone(path, error) from error
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read ({error}); replace it with {original(PARTITION)}")


def _parsed(path: Path, content: bytes) -> Partition:
    """Parse a partition: a name and 0, 1 or 2 in each line. Kaggle's has commas and a header."""
    parts: dict[str, int] = {}
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise _unread(path, error) from error
    commas = path.suffix == ".csv"
    for number, line in enumerate(lines, 1):
        match line.replace(",", " ").split() if commas else line.split():
            case []:
                continue
            case [name, ("0" | "1" | "2") as value] if name not in parts:
                parts[name] = int(value)
            case [_, "partition"] if commas and not parts:
                continue
            case _:
                raise UserError(
                    f"{path}, line {number}: {line[:80]!r} is not a new file name and "
                    f"0, 1 or 2; correct it, or replace the file with {original(PARTITION)}"
                )
    return Partition(path, parts)


def _stem(name: str) -> str:
    """The form in which different spellings of a name agree: .JPG, .jpeg, the PNG edition."""
    stem, dot, suffix = name.lower().rpartition(".")
    return stem if f"{dot}{suffix}" in IMAGE else name.lower()


def _split(
    data_dir: Path, used: Partition, images: Iterable[str]
) -> tuple[dict[str, int], list[Note]]:
    """The split of each image by a partition, with notes about other images that it names."""
    named = used.parts
    parts = {name: named[name] for name in images if name in named}
    matched = set(parts)
    if rest := [name for name in images if name not in parts]:
        stems: dict[str, list[str]] = {}
        for name in named:
            if name not in matched:
                stems.setdefault(_stem(name), []).append(name)
        unnamed = [name for name in rest if len(stems.get(_stem(name), ())) != 1]
        if unnamed:
            raise UserError(
                f"{used.path} does not name {len(unnamed)} of the images, the first {unnamed[0]}; "
                "add them, or move the file away for a split by file name"
            )
        for name in rest:
            (spelling,) = stems[_stem(name)]
            parts[name] = named[spelling]
            matched.add(spelling)
    absent = len(named) - len(matched)
    if not absent:
        return parts, []
    first = min(named.keys() - matched)
    subset = Note(
        f"{_from(data_dir, used.path)} names {absent} images that are not there, the first "
        f"{first}; {len(parts)} are",
        f"{len(parts):,} of the {len(named):,} images that its partition names",
    )
    return parts, [subset]


def _differing(one: dict[str, int], other: dict[str, int]) -> int:
    """The number of images that two partitions assign to different splits."""
    other = {_stem(name): value for name, value in other.items()}
    return sum(other.get(_stem(name)) != value for name, value in one.items())


def part(name: str) -> int:
    """The split of an image without a partition; it does not depend on other images."""
    number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8])
    return 2 if number < TEST_SHARE * 2**64 else 0


def _ours(data_dir: Path, source: Path, images: Iterable[str]) -> Note:
    """The note for images without a partition."""
    where = _from(data_dir, source)
    if all(OFFICIAL.fullmatch(name) for name in images):
        return Note(
            f"THE SPLIT IS OURS, NOT CELEBA'S: no {PARTITION} for the images of {where}, whose "
            "names are CelebA's, so a hash of the name puts a tenth of them into the test split; "
            f"numbers on them compare with none of CelebA's. Put {PARTITION} beside them for its "
            "own split",
            "the split is ours, not CelebA’s: a tenth of the images, by a hash of their names, "
            "is the test split",
        )
    return Note(
        f"no {PARTITION} for {where}: a tenth is the test split, by a hash of the name",
        "a tenth of them, by a hash of their names, is the test split",
    )


def _check_splits(source: Path, parts: dict[str, int], by: str) -> None:
    for split, number in (("train", 0), ("test", 2)):
        if number not in parts.values():
            raise UserError(
                f"none of the {len(parts)} images of {source} is in the {split} split by "
                f"{by}; add images, or a {PARTITION} with some"
            )
