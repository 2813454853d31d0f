"""CelebA: pixels against an independent resize, splits, damaged files; no network."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.closed import close

from hebae.base.errors import UserError
from hebae.data import celeba, celeba_files, download


def jpeg(pixels: np.ndarray, format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def flat(level: int, width: int = 20, height: int = 20) -> bytes:
    return jpeg(np.full((height, width, 3), level, np.uint8))


def faces(n: int) -> dict[str, bytes]:
    """Image i, from 1, is i grey levels bright."""
    return {f"{i:06d}.jpg": flat(i) for i in range(1, n + 1)}


def make_zip(path: Path, images: dict[str, bytes], prefix: str = "img_align_celeba/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in images.items():
            archive.writestr(prefix + name, content)
    return path


def put(data: Path, images: dict[str, bytes], parts: str | None = None) -> Path:
    """A zip, and a partition of its images (a digit each) unless there is to be none."""
    if parts is not None:
        data.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} {part}\n" for name, part in zip(images, parts, strict=True)]
        (data / celeba_files.PARTITION).write_text("".join(lines))
    return make_zip(data / celeba_files.ZIP, images)


def levels(images: celeba.Stream) -> list[int]:
    chunks = list(images.chunks)
    pixels = np.concatenate(chunks)
    assert pixels.dtype == np.uint8 and pixels.shape == images.shape
    assert pixels.shape[1:] == (64, 64, 3) and max(map(len, chunks)) <= celeba.CHUNK
    return [round(float(image.mean())) for image in pixels]


def splits(data: Path) -> tuple[list[int], list[int]]:
    arrays = celeba.load(data)
    return levels(arrays.train_images), levels(arrays.test_images)


def said(data: Path) -> str:
    """What a person is told of how the files were understood."""
    return "\n".join(note.text for note in celeba_files.look(data).all_notes())


def refused(data: Path) -> str:
    """The one line of the error of loading and reading everything."""
    with pytest.raises(UserError) as error:
        splits(data)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def offline(**_):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=offline))
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)


# Pixels


def shrink(pixels: np.ndarray) -> np.ndarray:
    """A triangle filter as wide as the shrinkage, by a matrix for each axis."""
    scale = len(pixels) / 64
    centres = (np.arange(64)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(len(pixels)) + 0.5 - centres) / max(scale, 1)
    weights = np.maximum(1 - distance, 0)
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("ih,jw,hwc->ijc", weights, weights, pixels.astype(float), optimize=True)


@pytest.mark.parametrize(
    "width, height, crop",
    [
        (178, 218, (slice(39, 179), slice(19, 159))),
        (200, 141, (slice(0, 140), slice(30, 170))),
        (140, 140, (slice(0, 140), slice(0, 140))),
        (400, 90, (slice(0, 90), slice(155, 245))),
        (139, 300, (slice(80, 219), slice(0, 139))),
        (64, 64, (slice(0, 64), slice(0, 64))),
        (40, 31, (slice(0, 31), slice(4, 35))),
    ],
)
def test_crop_and_resize_equal_an_independent_computation(width, height, crop):
    content = jpeg(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    decoded = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_allclose(celeba._pixels("", content), shrink(decoded[crop]), atol=1.01)


def test_the_centre_140_of_the_published_size_and_nothing_else_is_seen():
    pixels = np.full((218, 178, 3), (255, 0, 0), np.uint8)
    pixels[39:179, 19:159] = 0, 0, 255
    seen = celeba._pixels("", jpeg(pixels)).astype(int)
    np.testing.assert_allclose(seen, np.broadcast_to((0, 0, 255), seen.shape), atol=16)
    pixels[39:179, 158] = pixels[178, 19:159] = 255, 0, 0  # its last column and row are seen
    seen = celeba._pixels("", jpeg(pixels)).astype(int)
    assert (
        seen[:-1, -1, 0].min() > 60 and seen[-1, :, 0].min() > 60 and seen[:-2, :-2, 0].max() < 40
    )


def test_a_checkerboard_of_single_pixels_becomes_grey():
    board = np.indices((140, 140)).sum(0) % 2 * 255
    seen = celeba._pixels("", jpeg(np.repeat(board[..., None], 3, 2).astype(np.uint8)))
    # away from the rim, where the filter is cut off
    np.testing.assert_allclose(seen[2:-2, 2:-2].astype(int), 127.5, atol=8)


def test_a_grey_jpeg_is_the_same_grey_in_three_channels():
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    seen = celeba._pixels("", jpeg(ramp))
    assert seen.shape == (64, 64, 3)
    np.testing.assert_allclose(seen, np.repeat(ramp[..., None], 3, 2), atol=2)


# Which images, in which split


@pytest.mark.parametrize("place", [".", "celeba"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("partition_place", [".", "celeba"])
def test_zip_or_folder_in_each_place_with_the_partition_in_either(
    tmp_path, place, packed, partition_place
):
    images = faces(7)
    shuffled = dict(reversed(images.items()))
    path = make_zip(tmp_path / place / celeba_files.ZIP, shuffled)
    if not packed:
        zipfile.ZipFile(path).extractall(path.parent)
        path.unlink()
    (tmp_path / partition_place).mkdir(exist_ok=True)
    lines = [f"{name} {part}\r\n" for name, part in zip(images, "0102020", strict=True)]
    (tmp_path / partition_place / celeba_files.PARTITION).write_bytes(
        "".join([*lines, "\n"]).encode()
    )
    before = sorted(tmp_path.rglob("*"))
    arrays = celeba.load(tmp_path)
    assert arrays.factors == ()
    assert arrays.train_labels.shape == (4, 0) and arrays.test_labels.shape == (2, 0)
    assert levels(arrays.train_images) == [1, 3, 5, 7] and levels(arrays.test_images) == [4, 6]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_not_an_image_is_ignored(tmp_path):
    junk = {".DS_Store": b"x", "read me.txt": b"x", "__MACOSX/000009.jpg": b"x", "._1.jpg": b"x"}
    put(tmp_path, faces(2), "02")
    make_zip(tmp_path / celeba_files.ZIP, faces(2) | junk)
    assert splits(tmp_path) == ([1], [2])


def test_without_a_partition_a_tenth_by_a_hash_of_the_name_is_the_test_split(tmp_path):
    def in_test(name: str) -> bool:
        return int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16 < 0.1

    put(tmp_path, faces(200))
    train, test = splits(tmp_path)
    assert test == [i for i in range(1, 201) if in_test(f"{i:06d}.jpg")]
    assert train == [i for i in range(1, 201) if i not in test]
    assert 10 < len(test) < 30
    assert f"no {celeba_files.PARTITION}" in said(tmp_path)

    # fewer images, in a folder: each stays where it was
    (tmp_path / celeba_files.ZIP).unlink()
    (tmp_path / celeba_files.FOLDER).mkdir()
    for name, content in list(faces(200).items())[100:]:
        (tmp_path / celeba_files.FOLDER / name).write_bytes(content)
    assert splits(tmp_path) == ([i for i in train if i > 100], [i for i in test if i > 100])


def test_a_partition_may_name_absent_images_and_must_name_all_that_are_there(tmp_path):
    images = faces(6)
    put(tmp_path, images, "020202")
    make_zip(tmp_path / celeba_files.ZIP, dict(list(images.items())[1:4]))
    assert splits(tmp_path) == ([3], [2, 4])
    assert "names 3 images that are not there, the first 000001.jpg; 3 are" in said(tmp_path)
    make_zip(tmp_path / celeba_files.ZIP, images | {"a.jpg": flat(1), "b.jpg": flat(1)})
    message = refused(tmp_path)
    assert str(tmp_path / celeba_files.PARTITION) in message and "2 of the images" in message
    assert "a.jpg" in message


@pytest.mark.parametrize(
    "line", ["000002.jpg", "000002.jpg 3", "000002.jpg 0 1", "000001.jpg 0", "000002.jpg,2"]
)
def test_a_malformed_partition_line_is_numbered(tmp_path, line):
    put(tmp_path, faces(2))
    (tmp_path / celeba_files.PARTITION).write_text(f"000001.jpg 0\n{line}\n")
    message = refused(tmp_path)
    assert f"{tmp_path / celeba_files.PARTITION}, line 2" in message and line in message


@pytest.mark.parametrize("parts, split", [("111", "train"), ("010", "test"), ("122", "train")])
def test_a_split_without_images_is_refused(tmp_path, parts, split):
    put(tmp_path, faces(3), parts)
    assert f"is in the {split} split" in refused(tmp_path)


# Copies of CelebA that are not as published


def unpack(data: Path, images: dict[str, bytes], folder: str = celeba_files.FOLDER) -> Path:
    """A folder of images."""
    for name, content in images.items():
        path = data / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return data / folder


def partition_text(images: dict[str, bytes], parts: str, csv: bool = False) -> str:
    if csv:
        lines = [f"{name},{part}\n" for name, part in zip(images, parts, strict=True)]
        return "".join(["image_id,partition\n", *lines])
    return "".join(f"{name} {part}\n" for name, part in zip(images, parts, strict=True))


TXT, CSV = celeba_files.PARTITION, celeba_files.KAGGLE
INNER = f"{celeba_files.FOLDER}/{celeba_files.FOLDER}"


@pytest.mark.parametrize(
    "images, partition, data_dir",
    [
        (celeba_files.FOLDER, CSV, "."),
        (f"celeba/{celeba_files.FOLDER}", f"celeba/{CSV}", "."),
        (celeba_files.FOLDER, f"{celeba_files.FOLDER}/{TXT}", "."),
        (celeba_files.FOLDER, f"{celeba_files.FOLDER}/{CSV}", "."),
        (INNER, CSV, "."),
        (INNER, TXT, celeba_files.FOLDER),
        (INNER, TXT, INNER),
        (INNER, f"{celeba_files.FOLDER}/{TXT}", INNER),
        (f"Img/{celeba_files.FOLDER}", f"Eval/{TXT}", "."),
        (f"Img/{celeba_files.FOLDER}", f"Eval/{TXT}", "Img"),
        (f"Img/{celeba_files.FOLDER}", f"Eval/{TXT}", "Eval"),
        (f"Img/{celeba_files.FOLDER}", f"Eval/{TXT}", f"Img/{celeba_files.FOLDER}"),
        (f"celeba/Img/{celeba_files.FOLDER}", f"celeba/Eval/{TXT}", "."),
        (f"CelebA/Img/{celeba_files.FOLDER}", f"CelebA/Eval/{TXT}", "."),
        (f"faces/{celeba_files.FOLDER}", f"faces/{TXT}", "."),
        (f"faces/celeba/{celeba_files.FOLDER}", f"faces/celeba/{TXT}", "."),
        (f"faces/{celeba_files.FOLDER}", TXT, "."),
        (f"celeba/{celeba_files.FOLDER}", TXT, "celeba"),
        ("faces", f"faces/{TXT}", "faces"),
        ("faces", f"faces/{CSV}", "faces"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_layouts_in_circulation(tmp_path, images, partition, data_dir, packed):
    files = faces(5)
    folder = unpack(tmp_path, files, images)
    path = tmp_path / partition
    path.parent.mkdir(exist_ok=True)
    path.write_text(partition_text(files, "00212", path.suffix == ".csv"))
    if packed and images != INNER and Path(images).name == celeba_files.FOLDER:
        # the partition that was among the images is in the zip then
        archive = folder.with_name(celeba_files.ZIP)
        with zipfile.ZipFile(archive, "w") as stream:
            for each in folder.iterdir():
                stream.write(each, f"{celeba_files.FOLDER}\\{each.name}")
                each.unlink()
        folder.rmdir()
        if Path(data_dir).name == celeba_files.FOLDER and not (tmp_path / data_dir).exists():
            data_dir = Path(data_dir).with_name(celeba_files.ZIP)
    assert splits(tmp_path / data_dir) == ([1, 2], [3, 5])
    assert "OURS" not in said(tmp_path / data_dir)


def test_two_folders_with_a_celeba_are_not_chosen_between(tmp_path):
    for name in ("a", "b"):
        unpack(tmp_path / name, faces(2))
    message = refused(tmp_path)
    assert "a/img_align_celeba and b/img_align_celeba" in message and "data_dir" in message


@pytest.mark.parametrize("there, named", [(".JPG", ".jpg"), (".jpg", ".JPG"), (".jpeg", ".jpg")])
def test_suffixes_that_differ_from_the_partition(tmp_path, there, named):
    images = faces(3)
    unpack(tmp_path, {name.replace(".jpg", there): content for name, content in images.items()})
    text = partition_text(images, "002").replace(".jpg", named)
    (tmp_path / TXT).write_text(text)
    assert splits(tmp_path) == ([1, 2], [3])


def test_two_names_of_a_partition_for_one_image_are_not_chosen_between(tmp_path):
    unpack(tmp_path, {"1.jpeg": flat(1), "2.jpg": flat(2)})
    (tmp_path / TXT).write_text("1.jpg 0\n1.JPG 2\n2.jpg 2\n")
    assert "does not name 1 of the images, the first 1.jpeg" in refused(tmp_path)


def test_a_linked_folder_counts_and_a_loop_ends(tmp_path):
    images = faces(4)
    unpack(tmp_path, dict(list(images.items())[:2]))
    unpack(tmp_path / "elsewhere", dict(list(images.items())[2:]), "disk")
    folder = tmp_path / celeba_files.FOLDER
    (folder / "more").symlink_to(tmp_path / "elsewhere/disk")
    (folder / "loop").symlink_to(folder)
    (tmp_path / TXT).write_text(partition_text(images, "0202"))
    assert splits(tmp_path) == ([1, 3], [2, 4])


JUNK = [
    "@eaDir/000001.jpg/SYNOPHOTO_THUMB_M.jpg",
    "@eaDir/000001.jpg",
    "#recycle/000001.jpg",
    "@Recycle/000001.jpg",
    "__MACOSX/000001.jpg",
    ".AppleDouble/000001.jpg",
    "._000001.jpg",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("junk", JUNK)
def test_what_systems_add_is_left_out(tmp_path, junk, packed):
    images = faces(2)
    if packed:
        put(tmp_path, images, "02")
        make_zip(tmp_path / celeba_files.ZIP, images | {junk: flat(9)})
    else:
        unpack(tmp_path, images | {junk: flat(9)})
        (tmp_path / TXT).write_text(partition_text(images, "02"))
    assert splits(tmp_path) == ([1], [2])


@pytest.mark.parametrize("inside", [False, True])
def test_a_zip_that_was_packed_on_windows(tmp_path, inside):
    images = faces(3)
    text = partition_text(images, "002").encode()
    members = {f"celeba\\img\\{name}": content for name, content in images.items()}
    members |= {f"celeba\\{TXT}": text} if inside else {}
    make_zip(tmp_path / celeba_files.ZIP, members, prefix="")
    if not inside:
        (tmp_path / TXT).write_bytes(text)
    assert splits(tmp_path) == ([1, 2], [3])


def turned(pixels: np.ndarray, orientation: int) -> bytes:
    """A JPEG of these pixels as stored, with what its EXIF says of them."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100, subsampling=0, exif=exif)
    return buffer.getvalue()


def test_an_image_is_turned_as_its_exif_says():
    """As every viewer shows it: the stored pixels are those of a camera that was held sideways."""
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32] = 200  # bright above
    stored = {1: upright, 3: np.rot90(upright, 2), 6: np.rot90(upright, 1), 8: np.rot90(upright, 3)}
    for orientation, pixels in stored.items():
        seen = celeba._pixels("a.jpg", turned(pixels, orientation)).astype(int)
        np.testing.assert_allclose(seen, upright, atol=20)
    tall = np.zeros((200, 90, 3), np.uint8)
    assert celeba._pixels("a.jpg", turned(tall, 6)).shape == (64, 64, 3)


def test_damaged_exif_is_no_reason_to_refuse_an_image():
    """Pillow fails as it writes back what is left of it."""
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32] = 200
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0  # a fraction, said to be text
    Image.fromarray(np.rot90(upright)).save(buffer, "JPEG", quality=100, subsampling=0, exif=exif)
    content = buffer.getvalue().replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02")
    with pytest.raises(TypeError):
        ImageOps.exif_transpose(Image.open(io.BytesIO(content)), in_place=True)
    seen = celeba._pixels("a.jpg", content).astype(int)
    np.testing.assert_allclose(seen, upright, atol=20)


def test_the_png_edition(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
    folder = unpack(
        tmp_path, {"000001.png": jpeg(pixels, "PNG"), "000002.png": png()}, "img_align_celeba_png"
    )
    (tmp_path / TXT).write_text("000001.jpg 0\n000002.jpg 2\n")  # it has no partition of its own
    (chunk,) = celeba.load(tmp_path).train_images.chunks
    np.testing.assert_array_equal(chunk[0], pixels)
    (folder / "000002.png").write_bytes(flat(1))
    assert "000002.png is not an intact PNG (its content is something else)" in refused(tmp_path)


@pytest.mark.parametrize("folder", [celeba_files.FOLDER, "img_align_celeba_png"])
def test_both_editions_are_not_chosen_between(tmp_path, folder):
    unpack(tmp_path, faces(2))
    unpack(tmp_path, {"000002.png": png()}, folder)
    message = refused(tmp_path)
    assert "editions" in message and ("one of them" in message)


def test_a_png_that_is_no_edition_of_a_face_is_left_out_and_said(tmp_path):
    images = faces(2)
    unpack(tmp_path, images | {"overview.png": png()})
    (tmp_path / TXT).write_text(partition_text(images, "02"))
    assert splits(tmp_path) == ([1], [2])
    assert "1 PNG among the JPEGs" in said(tmp_path) and "overview.png" in said(tmp_path)


def test_which_of_a_zip_and_a_folder_is_used_is_said(tmp_path):
    put(tmp_path, faces(2), "02")
    unpack(tmp_path, faces(1))
    assert splits(tmp_path) == ([1], [2])
    assert "img_align_celeba.zip is used, and img_align_celeba beside it is not" in said(tmp_path)
    # who names one of them means it
    unpack(tmp_path, {"000002.jpg": flat(9)})
    assert splits(tmp_path / celeba_files.FOLDER) == ([1], [9])


def test_which_of_two_partitions_is_used_is_said_where_they_disagree(tmp_path):
    images = faces(3)
    put(tmp_path, images, "002")
    (tmp_path / CSV).write_text(partition_text(images, "002", csv=True))
    assert said(tmp_path) == ""
    (tmp_path / CSV).write_text(partition_text(images, "020", csv=True))
    assert splits(tmp_path) == ([1, 2], [3])
    assert f"{TXT} is used; {CSV} says otherwise of 2 images" in said(tmp_path)


def test_celebas_images_without_its_partition_say_loudly_that_the_split_is_ours(tmp_path):
    unpack(tmp_path, faces(60))
    assert "THE SPLIT IS OURS, NOT CELEBA'S" in said(tmp_path)
    (note,) = celeba_files.look(tmp_path).all_notes()
    assert note.caption.startswith("the split is ours, not CelebA’s")
    (tmp_path / celeba_files.FOLDER / "me.jpg").write_bytes(flat(1))  # a user's own
    assert "OURS" not in said(tmp_path) and "a tenth is the test split" in said(tmp_path)


def test_a_subset_of_the_partition_is_said_in_captions(tmp_path):
    put(tmp_path, faces(4), "0022")
    make_zip(tmp_path / celeba_files.ZIP, dict(list(faces(4).items())[1:3]))
    (note,) = celeba_files.look(tmp_path).all_notes()
    assert note.caption == "2 of the 4 images that its partition names"


def test_notes_are_the_same_wherever_the_data_lies(tmp_path):
    notes = []
    for place in ("a", "b/c"):
        unpack(tmp_path / place, faces(40))
        put(tmp_path / place, faces(40))
        notes.append(celeba_files.look(tmp_path / place).all_notes())
    assert notes[0] == notes[1] and len(notes[0]) == 2


def test_images_of_another_celeba_are_refused(tmp_path):
    unpack(tmp_path, faces(2), "img_celeba")
    assert "aligned" in refused(tmp_path / "img_celeba")


def test_what_may_be_celeba_under_another_name_is_named(tmp_path):
    for name in ("img_align_celeba.7z", "celeba-dataset.zip"):
        (tmp_path / name).write_bytes(b"")
    assert "celeba-dataset.zip, img_align_celeba.7z is not read" in said(tmp_path)


def test_a_closed_folder_is_not_missing(tmp_path, monkeypatch):
    """Nothing is downloaded in its place."""
    folder = unpack(tmp_path, faces(2))
    close(monkeypatch, folder)
    message = refused(tmp_path)
    assert str(folder) in message and "Permission denied" in message and "readable" in message


def test_a_closed_folder_of_someone_else_is_no_concern(tmp_path, monkeypatch):
    unpack(tmp_path / "faces", faces(2))
    (tmp_path / "faces" / TXT).write_text(partition_text(faces(2), "02"))
    (tmp_path / "another").mkdir()
    close(monkeypatch, tmp_path / "another")
    assert splits(tmp_path) == ([1], [2])


@pytest.mark.parametrize("name", [celeba_files.ZIP, celeba_files.PARTITION])
def test_a_closed_file_is_not_damaged(tmp_path, monkeypatch, name):
    put(tmp_path, faces(2), "02")
    close(monkeypatch, tmp_path / name)
    message = refused(tmp_path)
    assert str(tmp_path / name) in message and "Permission denied" in message
    assert "intact" not in message and "replace" not in message


# Files that are not what they say


def png() -> bytes:
    return jpeg(np.zeros((20, 20, 3), np.uint8), "PNG")


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.new("CMYK", (20, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "content, reason",
    [
        (png(), "something else"),
        (b"", "something else"),
        (flat(9)[:-3], "truncated"),
        (flat(9)[:200], "not an intact JPEG"),
        (cmyk(), "CMYK"),
    ],
)
def test_a_broken_image_is_named(tmp_path, content, reason, packed):
    path = put(tmp_path, faces(3) | {"000002.jpg": content}, "002")
    name = f"{celeba_files.ZIP}/{celeba_files.FOLDER}/000002.jpg"
    if not packed:
        zipfile.ZipFile(path).extractall(tmp_path)
        path.unlink()
        name = f"{celeba_files.FOLDER}/000002.jpg"
    message = refused(tmp_path)
    assert str(tmp_path / name) in message and reason in message


def test_a_flipped_bit_in_a_zip_is_named(tmp_path):
    images = faces(3)
    path = put(tmp_path, images, "002")
    stored = bytearray(path.read_bytes())
    stored[stored.index(images["000002.jpg"]) + 300] ^= 1
    path.write_bytes(stored)
    message = refused(tmp_path)
    assert str(path) in message and "000002.jpg" in message and "CRC" in message


@pytest.mark.parametrize(
    "damage", [lambda zipped: zipped[:-50], lambda _: b"", lambda _: b"<html>"]
)
def test_a_damaged_zip_is_named_and_left_as_it_is(tmp_path, damage):
    path = put(tmp_path, faces(3), "002")
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    assert str(path) in refused(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("member", ["../1.jpg", "a/../../1.jpg", "/1.jpg", "..\\1.jpg", "C:/1.jpg"])
def test_a_zip_with_a_member_outside_itself_is_refused(tmp_path, member):
    path = make_zip(tmp_path / celeba_files.ZIP, faces(2) | {member: flat(1)}, prefix="")
    message = refused(tmp_path)
    assert str(path) in message and repr(member) in message


def test_a_zip_or_folder_without_images_is_refused(tmp_path):
    make_zip(tmp_path / "a" / celeba_files.ZIP, {"list.txt": b"", "1.gif": png()})
    (tmp_path / "b" / celeba_files.FOLDER).mkdir(parents=True)
    for path in (tmp_path / "a" / celeba_files.ZIP, tmp_path / "b" / celeba_files.FOLDER):
        message = refused(path.parent)
        assert str(path) in message and "no JPEG or PNG images" in message


def test_a_member_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(celeba_files, "LARGEST_BYTES", 10_000)
    make_zip(tmp_path / celeba_files.ZIP, faces(2) | {"bomb.jpg": b"\0" * 20_000})
    assert "bomb.jpg' is too large for a face" in refused(tmp_path)


def test_the_folder_of_images_may_be_named_itself(tmp_path):
    folder = tmp_path / celeba_files.FOLDER
    folder.mkdir()
    for name, content in faces(3).items():
        (folder / name).write_bytes(content)
    (tmp_path / celeba_files.PARTITION).write_text("000001.jpg 0\n000002.jpg 0\n000003.jpg 2\n")
    assert splits(folder) == splits(tmp_path) == ([1, 2], [3])


def test_one_unreadable_file_of_a_folder_is_no_reason_to_delete_it(tmp_path):
    folder = tmp_path / celeba_files.FOLDER
    folder.mkdir()
    (folder / "000001.jpg").symlink_to("nowhere")
    (folder / "000002.jpg").write_bytes(flat(2))
    (tmp_path / celeba_files.PARTITION).write_text("000001.jpg 0\n000002.jpg 2\n")
    message = refused(tmp_path)
    assert "000001.jpg" in message and "delete" not in message


def test_two_images_of_one_name_are_refused(tmp_path):
    make_zip(tmp_path / celeba_files.ZIP, {"a/1.jpg": flat(1), "b/1.jpg": flat(2)})
    message = refused(tmp_path)
    assert "a/1.jpg" in message and "b/1.jpg" in message


def test_a_zip_of_the_published_size_must_be_the_published_one(tmp_path, monkeypatch):
    path = put(tmp_path, faces(3), "002")
    monkeypatch.setattr(celeba_files, "ZIP_BYTES", path.stat().st_size)
    message = refused(tmp_path)
    assert str(path) in message and celeba_files.MD5[celeba_files.ZIP] in message
    monkeypatch.setitem(
        celeba_files.MD5, celeba_files.ZIP, hashlib.md5(path.read_bytes()).hexdigest()
    )
    assert splits(tmp_path) == ([1, 2], [3])

    # another size: a copy that was packed again, which is said
    monkeypatch.setattr(celeba_files, "ZIP_BYTES", 1)
    monkeypatch.setattr(celeba_files, "IMAGES", 3)
    assert splits(tmp_path) == ([1, 2], [3])
    assert celeba_files.MD5[celeba_files.ZIP] in said(tmp_path)


# Workers


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(celeba, "CHUNK", 4)


def test_the_number_of_workers_does_not_change_a_byte(tmp_path, small_chunks, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    put(tmp_path, {f"{i}.jpg": jpeg(rng.integers(0, 256, (90, 80), np.uint8)) for i in range(30)})
    monkeypatch.setattr(celeba_files, "part", lambda name: 2 * (name == "7.jpg"))
    two = list(celeba.load(tmp_path, threads=2).train_images.chunks)
    assert [len(chunk) for chunk in two] == [4] * 7 + [1]
    assert "CelebA train: 29/29 images" in capsys.readouterr().err
    one = list(celeba.load(tmp_path).train_images.chunks)
    np.testing.assert_array_equal(np.concatenate(two), np.concatenate(one))


def test_few_images_are_in_memory_however_many_there_are(small_chunks):
    content, read = flat(1), []
    members = [str(i) for i in range(400)]
    chunks = celeba._chunks("", Path(), members, lambda member: read.append(member) or content, 2)
    for taken, _ in enumerate(chunks, 1):
        assert len(read) <= (taken + 3) * celeba.CHUNK
    assert taken == 100 and read == members


def test_a_broken_image_ends_the_workers_at_once(tmp_path, small_chunks):
    put(tmp_path, faces(200) | {"000006.jpg": png()}, "2" + "0" * 199)
    chunks, read = celeba.load(tmp_path, threads=2).train_images.chunks, 0
    threads = threading.active_count()
    with pytest.raises(UserError, match=r"000006\.jpg"):
        for chunk in chunks:
            read += len(chunk)
    assert read == 4 and threading.active_count() == threads


def test_an_interrupt_ends_the_command_at_once():
    code = """
import pathlib
from hebae.data import celeba
from hebae.base.errors import command
celeba.CHUNK = 1
def main():
    for _ in celeba._chunks("", pathlib.Path(), ["a"] * 10**6, lambda _: CONTENT, 2):
        print("one", flush=True)
command(main)
""".replace("CONTENT", repr(flat(1)))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and said == ""


# Downloads


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A Google Drive of a small CelebA: what it has by file id, and what it was asked for."""
    from torchvision.datasets import CelebA

    put(tmp_path / "drive", faces(3), "002")
    ids = {name: file_id for file_id, _, name in CelebA.file_list}
    has, asked = {}, []
    for name in celeba_files.MD5:
        has[ids[name]] = (tmp_path / "drive" / name).read_bytes()
        monkeypatch.setitem(celeba_files.MD5, name, hashlib.md5(has[ids[name]]).hexdigest())

    def download(id, output, **_):
        asked.append(next(name for name in ids if ids[name] == id))
        Path(f"{output}.part").write_bytes(b"what a downloader leaves")
        Path(output).write_bytes(has[id])

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download))
    return SimpleNamespace(has=has, asked=asked, ids=ids)


def files(data: Path) -> list[str]:
    return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())


def test_checksums_are_those_torchvision_knows():
    from torchvision.datasets import CelebA

    assert celeba_files.MD5.items() <= {name: md5 for _, md5, name in CelebA.file_list}.items()


def test_what_is_missing_is_downloaded_once(drive, tmp_path):
    data = tmp_path / "data"
    assert splits(data) == ([1, 2], [3])
    assert files(data) == [f"celeba/{celeba_files.ZIP}", f"celeba/{celeba_files.PARTITION}"]
    assert splits(data) == ([1, 2], [3]) and drive.asked == [
        celeba_files.PARTITION,
        celeba_files.ZIP,
    ]


def test_a_partition_that_is_there_is_kept(drive, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / celeba_files.PARTITION).write_text("000001.jpg 2\n000002.jpg 2\n000003.jpg 0\n")
    assert splits(data) == ([3], [1, 2])
    assert drive.asked == [celeba_files.ZIP]


def test_all_of_celeba_without_its_partition_gets_it(drive, tmp_path, monkeypatch):
    """A tenth by hash would be another protocol than the published split."""
    monkeypatch.setattr(celeba_files, "IMAGES", 3)
    put(tmp_path / "data", faces(3))
    assert splits(tmp_path / "data") == ([1, 2], [3])
    assert drive.asked == [celeba_files.PARTITION]
    monkeypatch.setitem(drive.has, drive.ids[celeba_files.PARTITION], b"quota")
    put(tmp_path / "other", faces(3))
    assert f"{celeba_files.PARTITION} (MD5" in refused(tmp_path / "other")


def test_a_wrong_download_is_retried_then_refused_and_leaves_nothing(drive, tmp_path):
    drive.has[drive.ids[celeba_files.ZIP]] = b"<html>Quota exceeded</html>"
    data = tmp_path / "data"
    message = refused(data)
    assert drive.asked.count(celeba_files.ZIP) == download.ATTEMPTS
    assert files(data) == [f"celeba/{celeba_files.PARTITION}"]
    assert f"{celeba_files.ZIP} (MD5 {celeba_files.MD5[celeba_files.ZIP]})" in message
    assert celeba_files.PARTITION not in message


def test_offline_says_which_files_to_put_where(tmp_path):
    message = refused(tmp_path)
    assert str(tmp_path / "celeba") in message and celeba_files.PAGE in message
    for name, md5 in celeba_files.MD5.items():
        assert f"{name} (MD5 {md5})" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    message = refused(tmp_path / "file")
    assert "cannot be written" in message and str(tmp_path / "file/celeba") in message


def test_a_dangling_link_is_not_replaced(drive, tmp_path):
    path = tmp_path / celeba_files.ZIP
    path.symlink_to(tmp_path / "not mounted")
    assert str(path) in refused(tmp_path)
    assert path.is_symlink() and drive.asked == []
