"""CelebA: 202,599 faces, from the zip of its aligned images or a folder of them.

Each is cropped to its centre, 140×140, and resized to 64×64, as in appendix B.2 of the paper,
while it is streamed: neither the files nor the pixels are in memory all at once.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hebae.base.errors import UserError
from hebae.base.progress import Progress
from hebae.data.arrays import Arrays, Stream
from hebae.data.celeba_files import (
    MD5,
    PAGE,
    PLACES,
    PNG,
    check_published,
    content_of,
    look,
    reader,
    top,
)
from hebae.data.download import FetchError, attempt, unwritable

CROP = 140
SIDE = 64
CHUNK = 128  # images a thread decodes at a time: 1.5 MiB


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """Streams of training and test images, uint8 (N, 64, 64, 3), in the order of their names.

    :func:`hebae.data.celeba_files.look` finds the images and the split of each. If there are no
    images, the zip and ``list_eval_partition.txt`` are downloaded to `data_dir`/celeba. If all of
    CelebA is there without its partition, the partition is downloaded. Existing files are never
    changed, and nothing is unpacked. A zip of the published size must have the published MD5. The
    checksums inside a zip are checked while it is read.

    Images for validation are left out, because nothing here selects a model on them. Without a
    partition, the test split is a tenth of the images, by a hash of the name. The split of an image
    then does not depend on which other images are there.

    JPEGs may be RGB or grey and of any size. One of less than 140 pixels a side is cropped to its
    largest centred square. There are no labels, because CelebA's attributes are not used here.
    `threads` threads decode the images.

    Raises :class:`UserError`, here or while the streams are read, for a damaged file, a file that
    is not what its name says, a split without images, or a failed download.
    """
    found = look(data_dir).understand()
    if found.missing:
        # In this order, because a zip without its partition would be split in another way.
        _download(top(data_dir), list(found.missing))
        found = look(data_dir).understand()
    check_published(found.source)
    read = reader(found.source)
    arrays: list[Stream | np.ndarray] = []
    for split, part in (("train", 0), ("test", 2)):
        members = [member for name, member in found.images.items() if found.parts[name] == part]
        chunks = _chunks(f"CelebA {split}", found.source, members, read, threads)
        arrays.append(Stream((len(members), SIDE, SIDE, 3), chunks))
        arrays.append(np.empty((len(members), 0), np.int64))
    return Arrays(*arrays, factors=())


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


# From JPEGs to pixels


def _chunks(
    title: str, source: Path, members: list[str], read: Callable[[str], bytes], threads: int
) -> Iterator[np.ndarray]:
    """The images in order, uint8 (n, 64, 64, 3) with n at most `CHUNK`; shows progress."""
    batches = (
        [
            (str(source / member), content_of(source, member, read))
            for member in members[i : i + CHUNK]
        ]
        for i in range(0, len(members), CHUNK)
    )
    with Progress(title, len(members), "image", every=30) as progress:
        for chunk in _decoded(batches, threads):
            yield chunk
            progress.advance(len(chunk))


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
    """A JPEG or PNG, turned as its EXIF says, cropped to its centre and resized to 64×64.

    Raises UserError, naming `path`, if it is not whole.
    """
    format = "PNG" if path.lower().endswith(PNG) else "JPEG"
    try:
        with Image.open(BytesIO(content), formats=(format,)) as image:
            # Grey has one meaning in RGB; of CMYK's many, no one has said which.
            if image.mode not in ("RGB", "L"):
                raise ValueError(f"its colours are {image.mode}, not RGB or grey")
            image.load()
            with suppress(Exception):  # Pillow raises many kinds if the rest of the EXIF is damaged
                ImageOps.exif_transpose(image, in_place=True)
            image = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise _not_an_image(path, format, "its content is something else") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _not_an_image(path, format, " ".join(str(error).split())) from error
    side = min(CROP, *image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    # Pillow widens the filter when it shrinks, which is the antialiasing. Bilinear has no
    # negative lobes, so it adds no halos to be clipped at 0 and 255, as bicubic does.
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _not_an_image(path: str, format: str, reason: str) -> UserError:
    return UserError(
        f"{path} is not an intact {format} ({reason}); put CelebA's own file in its place, or "
        "remove it"
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
            # a folder of its own, for whatever the downloader leaves when it is interrupted
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
