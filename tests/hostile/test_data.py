"""Which dataset raw data is, by its content: what is planned where files have changed."""

import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.project import complain, copy_project, plan, snakemake

FACES = 40
NETWORK = {"name": "dense", "encoder_widths": [4], "decoder_widths": [4]}
CONFIG = {
    "experiment": "tiny",
    "seeds": [0],
    "data_dir": "raw",
    "models": {"VAE": {"objective": "vae"}},
    "datasets": {
        name: {
            "network": NETWORK,
            "latent_dims": [2],
            "training": {"epochs": 1, "batch_size": 10},
            "models": {"VAE": {"weight": 1}},
            "mutual_information": {"indices": 2, "draws": 5, "sets": 1},
        }
        for name in ("celeba", "blobs", "pictures")
    },
    "figures": {},
}
# a user's own datasets: files in a folder of the dataset's name, and a folder of files
REGISTRY = """
    "{name}": DatasetEntry(
        "hebae.data.{name}:load", (8, 8, 1), n_train=None, n_test=None, n_classes=(), raw={raw}
    ),
"""
MODULE = '''
"""{name}: images in .npy files."""

import numpy as np

from hebae.base.errors import UserError
from hebae.data.arrays import Arrays


def load(data_dir, threads=1):
    folder = data_dir / "{folder}"
    try:
        train, test = (np.load(folder / f"{{split}}_images.npy") for split in ("train", "test"))
    except OSError as error:
        raise UserError(f"{{folder}}: {{error}}") from None
    none = np.zeros((len(train), 0), np.int64), np.zeros((len(test), 0), np.int64)
    return Arrays(train, none[0], test, none[1], factors=())
'''
OWN = {
    "blobs": ("blobs", ("train_images.npy", "test_images.npy")),
    "pictures": ("pictures/deep", ("pictures",)),
}


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


def run_of(dataset: str) -> str:
    return f"results/tiny/runs/{dataset}/VAE/z2/w1/s0/run.json"


def own_images(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A checkout in which a run was trained on faces, and on images of two datasets of its own."""
    folder = tmp_path_factory.mktemp("finished")
    copy_project(folder)
    registry = folder / "src/hebae/config/registry.py"
    text, anchor = registry.read_text(), '    "mnist": DatasetEntry('
    for name, (place, raw) in OWN.items():
        text = text.replace(anchor, REGISTRY.format(name=name, raw=raw) + anchor)
        module = folder / f"src/hebae/data/{name}.py"
        module.write_text(MODULE.format(name=name, folder=place))
        (folder / "raw" / place).mkdir(parents=True)
        for seed, (split, n) in enumerate([("train", 30), ("test", 10)]):
            np.save(folder / "raw" / place / f"{split}_images.npy", own_images(seed, n))
    registry.write_text(text)
    images = folder / "raw/img_align_celeba"
    images.mkdir()
    for number in range(1, FACES + 1):
        (images / f"{number:06}.jpg").write_bytes(jpeg(number))
    lines = [f"{number:06}.jpg {2 * (number % 4 == 0)}\n" for number in range(1, FACES + 1)]
    (folder / "raw/list_eval_partition.txt").write_text("".join(lines))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    snakemake(folder, *map(run_of, CONFIG["datasets"]))
    return folder


@pytest.fixture
def project(finished, tmp_path) -> Path:
    """A copy of it to change."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def planned(folder: Path, dataset: str = "celeba", **config: object) -> dict[str, int]:
    settings = ["--config", *(f"{key}={value}" for key, value in config.items())]
    return plan(folder, run_of(dataset), *(settings if config else []))


def is_another(folder: Path, dataset: str = "celeba", **config: object) -> None:
    """A finished run is not replaced unless the user agrees; then all is made again."""
    settings = ["--config", *(f"{key}={value}" for key, value in config.items())]
    said = complain(folder, run_of(dataset), "--dry-run", *(settings if config else []))
    assert "1 finished training of tiny" in said and "\n  other images or another split\n" in said
    anew = {"prepare": 1, "train": 1}
    assert planned(folder, dataset, replace=True, **config) == anew


def images(folder: Path) -> Path:
    return folder / "raw/img_align_celeba"


def move_deeper(folder: Path) -> None:
    moved = images(folder).rename(folder / "raw/moved")
    images(folder).mkdir()
    moved.rename(images(folder) / "img_align_celeba")


def pack(folder: Path) -> None:
    with zipfile.ZipFile(folder / "raw/img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in images(folder).iterdir():
            archive.write(path, f"somewhere\\{path.name}")
    shutil.rmtree(images(folder))


def rename(folder: Path) -> None:
    for path in images(folder).iterdir():
        path.rename(path.with_suffix(".JPG"))


def add_junk(folder: Path) -> None:
    thumbnails = images(folder) / "@eaDir/000001.jpg"
    thumbnails.mkdir(parents=True)
    (thumbnails / "SYNOPHOTO_THUMB_M.jpg").write_bytes(jpeg(0))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000001.jpg"):
        (images(folder) / name).write_bytes(b"junk")


def rewrite_partition(folder: Path) -> None:
    path = folder / "raw/list_eval_partition.txt"
    lines = [line.replace(" ", ",") for line in reversed(path.read_text().splitlines())]
    path.with_suffix(".csv").write_text("\r\n".join(["image_id,partition", *lines]))
    path.unlink()


@pytest.mark.parametrize("change", [move_deeper, pack, rename, add_junk, rewrite_partition])
def test_the_same_images_are_the_same_dataset(project, change):
    change(project)
    assert planned(project) == {}


def replace_one(folder: Path) -> None:
    path = images(folder) / "000003.jpg"
    size, times = path.stat().st_size, path.stat()
    other = jpeg(1000)
    path.write_bytes(other + b"\0" * (size - len(other)))
    assert len(other) <= size or path.stat().st_mtime_ns != times.st_mtime_ns


def edit_partition(folder: Path) -> None:
    path = folder / "raw/list_eval_partition.txt"
    text = path.read_text()
    path.write_text(text.replace("000001.jpg 0", "000001.jpg 2"))
    assert len(path.read_text()) == len(text) and path.read_text() != text


def add_some_deeper(folder: Path) -> None:
    move_deeper(folder)
    (folder / "raw/list_eval_partition.txt").unlink()
    planned(folder, replace=True)  # seen once
    for number in range(FACES + 1, FACES + 9):
        (images(folder) / f"img_align_celeba/{number:06}.jpg").write_bytes(jpeg(number))


@pytest.mark.parametrize("change", [replace_one, edit_partition, add_some_deeper])
def test_other_images_or_another_split_are_another_dataset(project, change):
    change(project)
    is_another(project)


def test_images_removed_from_the_folder_that_data_dir_names(project):
    assert planned(project, data_dir="raw/img_align_celeba") == {}
    for number in (1, 2, 5):
        (images(project) / f"{number:06}.jpg").unlink()
    is_another(project, data_dir="raw/img_align_celeba")


def test_raw_data_that_has_gone_changes_nothing(project):
    shutil.move(project / "raw", project / "away")
    for dataset in CONFIG["datasets"]:
        assert planned(project, dataset) == {}
    done = snakemake(project, *map(run_of, CONFIG["datasets"]))
    assert "Nothing to be done" in done.stderr
    # closed, or on a disk that is not mounted
    (project / "raw").mkdir()
    images(project).symlink_to("not mounted")
    assert planned(project) == {}


def test_prepared_arrays_are_not_deleted_where_their_raw_data_has_gone(project):
    shutil.move(images(project), project / "away")
    for arguments in (["--forcerun", "prepare"], ["--forcerun", "prepare", "--dry-run"]):
        said = complain(project, run_of("celeba"), *arguments)
        assert "celeba would be deleted" in said and "put it back" in said


@pytest.mark.parametrize("dataset", OWN)
def test_other_content_of_a_users_own_files_is_another_dataset(project, dataset):
    path = project / "raw" / OWN[dataset][0] / "train_images.npy"
    os.utime(path)  # time alone is nothing
    (path.parent / ".DS_Store").write_bytes(b"junk")
    assert planned(project, dataset) == {}
    np.save(path, own_images(5, 30))  # of the same size
    is_another(project, dataset)


def test_a_registry_entry_that_names_files_elsewhere_is_refused(project):
    registry = project / "src/hebae/config/registry.py"
    text = registry.read_text()
    registry.write_text(text.replace(str(OWN["blobs"][1]), "('images.npy',)"))
    shutil.rmtree(project / "results")
    said = complain(project, "results/tiny/data/blobs/dataset.json")
    assert "names raw files (images.npy)" in said


def test_data_that_was_prepared_is_known_after_its_folder_was_deleted(project):
    shutil.rmtree(project / "results/tiny/data")
    assert planned(project) == {}
    before = json.loads((project / "results/tiny/raw/celeba.json").read_bytes())
    snakemake(project, "results/tiny/data/celeba/dataset.json")
    after = json.loads((project / "results/tiny/raw/celeba.json").read_bytes())
    assert after["identity"] == before["identity"] and after["checksum"] == before["checksum"]


@pytest.mark.parametrize("damage", ["", "[]", '{"source": "celeba", "known": 3}'])
def test_a_damaged_memory_is_as_none(project, damage):
    (project / "results/tiny/raw/celeba.json").write_text(damage)
    assert planned(project) == {}


def test_unchanged_files_are_not_read_again(project):
    assert planned(project) == {}  # copied: each has another inode
    moved = json.loads((project / "results/tiny/raw/celeba.json").read_bytes())
    assert len(moved["looked"]) == 2 and len(moved["known"]) == 1
    done = snakemake(project, "--dry-run", run_of("celeba"))
    assert "looking at the images" not in done.stderr


def test_a_first_run_that_downloads_is_not_run_again(project, monkeypatch):
    """The dataset's module makes its raw files, as a download does."""
    module = project / "src/hebae/data/blobs.py"
    raw = project / "raw/blobs"
    raw.rename(project / "server")
    text = module.read_text()
    server = str(project / "server")
    fetch = f"    if not folder.exists():\n        shutil.copytree({server!r}, folder)\n"
    module.write_text(text.replace("    try:\n", f"    import shutil\n\n{fetch}    try:\n"))
    shutil.rmtree(project / "results/tiny/data/blobs")
    (project / "results/tiny/raw/blobs.json").unlink()
    target = "results/tiny/data/blobs/dataset.json"
    snakemake(project, target)
    assert raw.exists() and plan(project, target) == {}
    np.save(raw / "test_images.npy", own_images(7, 10))
    assert plan(project, target) == {"prepare": 1}


def errors(said: str) -> list[str]:
    return re.findall("^error: .*", said, re.MULTILINE)


@pytest.mark.parametrize("dry", [True, False])
def test_a_mistyped_data_dir_is_an_error_at_the_start(project, dry):
    arguments = ["--dry-run"] * dry
    shutil.rmtree(project / "results/tiny/data/celeba")
    shutil.rmtree(project / "results/tiny/runs/celeba")
    settings = ("--config", "data_dir=row")
    (line,) = errors(complain(project, run_of("celeba"), *arguments, *settings))
    assert "data_dir row is not there" in line
    assert planned(project, "blobs", data_dir="row") == {}  # nothing is prepared from it


def test_what_a_run_would_refuse_is_refused_by_its_plan(project):
    (images(project) / "000002.jpg").write_bytes(b"not an image")
    for arguments in ([], ["--dry-run"]):
        (line,) = errors(complain(project, run_of("celeba"), *arguments))
        assert "000002.jpg is not an intact JPEG" in line


def test_a_split_of_ours_is_said_and_recorded(project):
    (project / "raw/list_eval_partition.txt").unlink()
    shutil.rmtree(project / "results")
    done = snakemake(project, "results/tiny/data/celeba/dataset.json", "--dry-run")
    assert "celeba: THE SPLIT IS OURS" in done.stderr
    snakemake(project, "results/tiny/data/celeba/dataset.json")
    manifest = json.loads((project / "results/tiny/data/celeba/dataset.json").read_bytes())
    (note,) = manifest["notes"]
    assert "the split is ours" in note["caption"] and str(project) not in str(manifest)
    assert "SPLIT IS OURS" not in snakemake(project, "results/tiny/data/celeba/dataset.json").stderr


def test_reports_and_lists_do_not_look_at_raw_data(project):
    images(project).rename(project / "raw/other")
    (project / "raw/img_align_celeba.zip").write_bytes(b"damaged")
    for arguments in (["--lint"], ["--summary"]):
        done = snakemake(project, *arguments, "--", run_of("celeba"), check=False)
        assert "not intact" not in done.stdout + done.stderr
