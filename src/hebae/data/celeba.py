"""CelebA: 202,599 faces, from the zip of its aligned images or a folder of them.

Each is cropped to its centre, 140×140, and resized to 64×64, as in appendix B.2 of the paper,
while it is streamed: neither the files nor the pixels are in memory all at once.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from hebae.base.errors import UserError
from hebae.base.progress import Progress
from hebae.data.arrays import Arrays, Stream
from hebae.data.download import FetchError, attempt, unwritable

ZIP = "img_align_celeba.zip"
FOLDER = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
MD5 = {ZIP: "00d2c5bc6d35e252742224ab0c1e8fcb", PARTITION: "d32c9cbf5e040fd4025c592c306e6668"}
ZIP_BYTES = 1_443_490_838  # the published zip's size
IMAGES = 202_599
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

PLACES = (".", "celeba")  # under `data_dir`; downloads go to the last, as torchvision's do

SUFFIXES = (".jpg", ".jpeg")
LARGEST_BYTES = 50_000_000  # of an image; unpacked, a few kilobytes of a zip may be gigabytes

CROP = 140
SIDE = 64
TEST_SHARE = 0.1  # where no partition file says

CHUNK = 128  # images a thread decodes at a time: 1.5 MiB

# RuntimeError: encrypted, or compressed in a way that Python does not know
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """Streams of training and test images, uint8 (N, 64, 64, 3), in the order of their names.

    ``img_align_celeba.zip`` or, where there is none, the folder ``img_align_celeba`` is looked
    for in `data_dir`, then in `data_dir`/celeba; if there is neither, the zip and
    ``list_eval_partition.txt`` are downloaded to `data_dir`/celeba. A file that is there is
    never changed, and nothing is unpacked. A zip of the published size must have the published
    MD5; of any zip, the checksums inside are checked as it is read.

    The partition file, beside the images or in those two places, says which images train
    (0) and test (2); those for validation (1) are left out, because nothing here selects a
    model on them. It may name images that are not there (a subset, noted on stderr), and must
    name all that are. If all of CelebA is there without it, it is downloaded; without it, a tenth
    of a subset, by a hash of the name, is the test
    split, so that an image's split does not depend on which others are there.

    They are decoded in as many `threads`.

    JPEGs, RGB or grey, of any size: one of less than 140 pixels a side is cropped to its
    largest centred square. There are no labels: CelebA's attributes are not used here.

    Raises :class:`UserError`, here or as the streams are read, for a damaged file, one that is
    not what its name says, a split without images, or a failed download.
    """
    if data_dir.name == FOLDER and data_dir.is_dir():  # the images' folder itself
        data_dir = data_dir.parent
    source = _find(data_dir, ZIP, FOLDER)
    if source is None:
        # In this order, because a zip without its partition would be split in another way.
        missing = [ZIP] if _find(data_dir, PARTITION) else [PARTITION, ZIP]
        _download(data_dir, missing)
        source = _find(data_dir, ZIP)
    images, read = _open(source)
    partition = _find(source.parent, PARTITION) or _find(data_dir, PARTITION)
    if partition is None and len(images) == IMAGES:
        _download(data_dir, [PARTITION])
        partition = _find(data_dir, PARTITION)
    if partition:
        parts = _partition(partition, images)
    else:
        parts = {name: _part(name) for name in images}
        _note(f"no {PARTITION} for {source}: a tenth is the test split, by a hash of the name")
    arrays: list[Stream | np.ndarray] = []
    for split, part in (("train", 0), ("test", 2)):
        members = [member for name, member in images.items() if parts[name] == part]
        if not members:
            raise UserError(
                f"none of the {len(images)} images of {source} is in the {split} split by "
                f"{partition or 'a hash of their names'}; add images, or a {PARTITION} with some"
            )
        chunks = _chunks(f"CelebA {split}", source, members, read, threads)
        arrays.append(Stream((len(members), SIDE, SIDE, 3), chunks))
        arrays.append(np.empty((len(members), 0), np.int64))
    return Arrays(*arrays, factors=())


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _find(folder: Path, *names: str) -> Path | None:
    """The first of these names in the first place under `folder` that has one."""
    paths = (folder / place / name for place in PLACES for name in names)
    # lexists: a link to a disk that is not mounted is not ours to replace
    return next((path for path in paths if os.path.lexists(path)), None)


# Which images there are


def _open(source: Path) -> tuple[dict[str, str], Callable[[str], bytes]]:
    """The JPEGs of a zip or folder, file name: path in it, by name; and what reads a path."""
    try:
        if source.is_dir():
            members, read = list(_walk(source)), lambda member: (source / member).read_bytes()
        else:
            archive = zipfile.ZipFile(source)
            infos = [info for info in archive.infolist() if not info.is_dir()]
            members, read = [info.filename for info in infos], archive.read
            for info in infos:
                path = PureWindowsPath(info.filename)  # knows both kinds of slashes, and drives
                if path.anchor or ".." in path.parts:
                    raise ValueError(f"its member {info.filename!r} is outside of it")
                if info.file_size > LARGEST_BYTES and path.suffix.lower() in SUFFIXES:
                    raise ValueError(f"its member {info.filename!r} is too large for a face")
    except UNREADABLE as error:
        raise _damaged(source, error) from error

    images: dict[str, str] = {}
    for member in members:
        path = PurePosixPath(member)
        # what macOS adds to folders and zips: .DS_Store, __MACOSX/._000001.jpg
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if hidden or path.suffix.lower() not in SUFFIXES:
            continue
        if path.name in images:
            raise _damaged(source, f"{images[path.name]} and {member} have the same name")
        images[path.name] = member
    if not images:
        raise _damaged(source, "it has no JPEG images")
    if source.is_file():
        _check_published(source, len(images))
    return dict(sorted(images.items())), read


def _walk(folder: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error  # rather than leave out a folder that cannot be read

    for place, _, names in os.walk(folder, onerror=fail):
        yield from (f"{Path(place).relative_to(folder)}/{name}" for name in names)


def _check_published(path: Path, n_images: int) -> None:
    """A zip of the published size must be the published one; a full one may be a re-packed copy."""
    if path.stat().st_size == ZIP_BYTES:
        _note(f"checking {path}")
        with path.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        if md5.hexdigest() != MD5[ZIP]:
            raise _damaged(path, f"MD5 is {md5.hexdigest()}, not {MD5[ZIP]}")
    elif n_images == IMAGES:
        _note(f"{path} has all of CelebA's images but is not {_original(ZIP)}")


def _original(name: str) -> str:
    return f"the {name} of {PAGE} (MD5 {MD5[name]})"


def _damaged(path: Path, reason: object) -> UserError:
    what = f"{path} is not intact ({' '.join(str(reason).split())}); it was left as it is: "
    if path.is_dir():
        return UserError(f"{what}put CelebA's own images there, or move the folder away")
    return UserError(
        f"{what}put {_original(ZIP)} in its place, or delete it to have that downloaded"
    )


# Which split they are in


def _partition(path: Path, images: Iterable[str]) -> dict[str, int]:
    """The part, 0 to 2, of each name in a partition file, which must name all the images."""
    parts: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); replace it with {_original(PARTITION)}"
        ) from error
    for number, line in enumerate(lines, 1):
        match line.split():
            case []:
                continue
            case [name, ("0" | "1" | "2") as part] if name not in parts:
                parts[name] = int(part)
            case _:
                raise UserError(
                    f"{path}, line {number}: {line[:80]!r} is not a new file name and "
                    f"0, 1 or 2; correct it, or replace the file with {_original(PARTITION)}"
                )
    unnamed = [name for name in images if name not in parts]
    if unnamed:
        raise UserError(
            f"{path} does not name {len(unnamed)} of the images, the first {unnamed[0]}; "
            "add them, or move the file away for a split by file name"
        )
    absent = sorted(parts.keys() - set(images))
    if absent:
        _note(
            f"{path} names {len(absent)} images that are not there, the first {absent[0]}; "
            f"{len(parts) - len(absent)} are"
        )
    return parts


def _part(name: str) -> int:
    number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8])
    return 2 if number < TEST_SHARE * 2**64 else 0


# From JPEGs to pixels


def _chunks(
    title: str, source: Path, members: list[str], read: Callable[[str], bytes], threads: int
) -> Iterator[np.ndarray]:
    """The images in order, uint8 (n, 64, 64, 3) with n at most `CHUNK`, with progress."""
    batches = (
        [
            (str(source / member), _content(source, member, read))
            for member in members[i : i + CHUNK]
        ]
        for i in range(0, len(members), CHUNK)
    )
    with Progress(title, len(members), "image", every=30) as progress:
        for chunk in _decoded(batches, threads):
            yield chunk
            progress.advance(len(chunk))


def _content(source: Path, member: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(member)
    except UNREADABLE as error:
        raise _damaged(source, f"{member}: {error}") from error


def _decoded(batches: Iterable[list[tuple[str, bytes]]], threads: int) -> Iterator[np.ndarray]:
    """:func:`_decode` of each batch, in order, with at most two batches a thread under way."""
    # Pillow decodes and resizes outside of the interpreter's lock
    pool = ThreadPoolExecutor(threads)
    pending = deque()
    try:
        for batch in batches:
            pending.append(pool.submit(_decode, batch))
            if len(pending) == 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(batch: list[tuple[str, bytes]]) -> np.ndarray:
    return np.stack([_pixels(path, content) for path, content in batch])


def _pixels(path: str, content: bytes) -> np.ndarray:
    """Centre crop and 64×64 of a JPEG. Raises UserError, naming `path`, if it is not whole."""
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            # Grey has one meaning in RGB; of CMYK's many, no one has said which.
            if image.mode not in ("RGB", "L"):
                raise ValueError(f"its colours are {image.mode}, not RGB or grey")
            image = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise _not_a_jpeg(path, "its content is something else") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _not_a_jpeg(path, " ".join(str(error).split())) from error
    side = min(CROP, *image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    # Pillow widens the filter when it shrinks, which is the antialiasing. Bilinear has no
    # negative lobes, so it adds no halos to be clipped at 0 and 255, as bicubic does.
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _not_a_jpeg(path: str, reason: str) -> UserError:
    return UserError(
        f"{path} is not an intact JPEG ({reason}); put CelebA's own file in its place, or remove it"
    )


# Downloads


def _download(data_dir: Path, missing: list[str]) -> None:
    """Download files to `data_dir`/celeba, one after the other."""
    folder = data_dir / PLACES[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while missing:
            name = missing[0]
            _note(f"downloading {folder / name}")
            # a folder of its own takes whatever the downloader leaves when it is interrupted
            with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as temporary:
                attempt(_fetch, name, temporary)
                (Path(temporary) / name).replace(folder / name)
            del missing[0]
    except FetchError as error:
        with suppress(OSError):
            folder.rmdir()  # if nothing is in it
        wanted = ", ".join(f"{name} (MD5 {MD5[name]})" for name in missing)
        raise UserError(
            f"CelebA could not be downloaded from Google Drive ({error}); get these files "
            f"from {PAGE} and put them into {folder}: {wanted}"
        ) from error
    except OSError as error:
        raise unwritable("CelebA", folder, error) from error


def _fetch(name: str, folder: str) -> None:
    from torchvision.datasets import CelebA  # takes seconds, and most runs have the files
    from torchvision.datasets.utils import download_file_from_google_drive

    ids = {filename: file_id for file_id, _, filename in CelebA.file_list}
    try:
        download_file_from_google_drive(ids[name], folder, name, MD5[name])
    except Exception as error:  # gdown's and requests' many: no network, quota, wrong content
        raise FetchError(" ".join(str(error).split())) from error
