"""Which dataset raw data is: what is looked at, read, decoded, and remembered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.closed import close
from tests.project import ROOT

from hebae.base.errors import UserError
from hebae.config import registry
from hebae.data import found, plan, prepare, raw
from hebae.data.arrays import Arrays

NAMES = ("train.npy", "pictures")


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """A dataset of a file and a folder, known by the module of another."""
    entry = registry.DatasetEntry("hebae.data.digits:load", (2, 2, 1), None, None, (), raw=NAMES)
    monkeypatch.setitem(registry.DATASETS, "own", entry)


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    (folder / "pictures/deep").mkdir(parents=True)
    for name in ("train.npy", "pictures/a", "pictures/deep/b"):
        (folder / name).write_text(name)
    return folder


class World:
    """A dataset, its results, and how often it was decoded."""

    def __init__(self, data: Path, results: Path):
        self.data, self.results = data, results
        self.decoded = 0
        self.fails: Exception | None = None

    @property
    def gives(self) -> str:
        """A checksum that depends on the letters in all files, and not on their names."""
        files = [path for path in self.data.rglob("*") if path.is_file()]
        return "".join(sorted(path.read_text() for path in files if not found.junk(path.name)))

    def decode(self) -> str:
        self.decoded += 1
        if self.fails:
            raise self.fails
        return self.gives

    def settle(self, decode: bool = True) -> raw.Settled:
        return raw.settle("own", "own", self.data, self.results, self.decode if decode else None)

    @property
    def memory(self) -> Path:
        return raw.memory_path(self.results, "own")

    def prepare(self) -> raw.Settled:
        """What a workflow does: plan, prepare, and plan again."""
        settled = self.settle()
        written = {"identity": settled.identity, "checksum": self.gives}
        looked = raw.content_of("own", raw.look("own", self.data), self.memory, "own")
        known = {looked.content: self.gives}
        raw.remember(self.memory, "own", prepared=written, known=known)
        return settled


@pytest.fixture
def world(data, tmp_path) -> World:
    return World(data, tmp_path / "results")


def test_a_prepared_dataset_is_what_it_was(world):
    first = world.prepare()
    assert first.checksum is None and world.settle().identity == first.identity
    assert world.settle().checksum == world.gives and world.decoded == 0


def test_files_that_were_read_are_not_read_again(world, monkeypatch):
    first = world.prepare()
    monkeypatch.setattr(found, "sha256", lambda path: pytest.fail("read again"))
    assert world.settle() == raw.Settled(first.identity, world.gives)
    assert world.decoded == 0


@pytest.mark.parametrize("name", ["train.npy", "pictures/deep/b"])
def test_other_content_under_the_same_name_and_size(world, name):
    first = world.prepare()
    (world.data / name).write_text(name[::-1])
    settled = world.settle()
    assert settled.identity != first.identity and settled.checksum == world.gives
    assert world.decoded == 1 and world.settle() == settled and world.decoded == 1
    # and back: nothing has been prepared of it
    (world.data / name).write_text(name)
    assert world.settle().identity == first.identity and world.decoded == 1


def test_other_content_in_place_keeps_the_inode_and_is_noticed(world):
    first = world.prepare()
    path = world.data / "train.npy"
    with path.open("r+") as stream:
        stream.write("T")
    assert world.settle().identity != first.identity


def test_other_content_in_place_with_its_size_and_time_put_back_is_noticed(world):
    first = world.prepare()
    path = world.data / "train.npy"
    times = path.stat()
    with path.open("r+") as stream:
        stream.write("T")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert world.settle().identity != first.identity


def test_images_are_looked_at_where_finished_runs_hang_on_them(world):
    """They are looked at once, although nothing is remembered of them."""
    assert world.settle().checksum is None and world.decoded == 0
    for _ in range(2):
        settled = raw.settle("own", "own", world.data, world.results, world.decode, needed=True)
        assert settled.checksum == world.gives and world.decoded == 1


def test_what_decodes_to_the_same_is_the_same(world):
    first = world.prepare()
    (world.data / "pictures/deep/b").rename(world.data / "pictures/c")
    for _ in range(2):
        assert world.settle().identity == first.identity
    assert world.decoded == 1


def test_a_dataset_that_moved_to_its_own_folder_is_not_even_decoded(world):
    first = world.prepare()
    moved = world.data.rename(world.data.with_name("own"))
    world.data.mkdir()
    moved.rename(world.data / "own")
    assert world.settle().identity == first.identity and world.decoded == 0


def test_junk_and_times_are_nothing(world):
    first = world.prepare()
    for name in (".DS_Store", "Thumbs.db", "._a"):
        (world.data / "pictures" / name).write_text("junk")
    os.utime(world.data / "train.npy")
    assert world.settle().identity == first.identity and world.decoded == 0


def test_raw_data_that_has_gone_is_what_was_prepared(world):
    first = world.prepare()
    gives = world.gives
    shutil.rmtree(world.data)
    assert world.settle() == raw.Settled(first.identity, gives, whole=False)


def test_raw_data_that_is_closed_is_what_was_prepared_and_says_so(world, monkeypatch):
    first = world.prepare()
    gives = world.gives
    close(monkeypatch, world.data / "pictures")
    settled = world.settle()
    assert (settled.identity, settled.checksum, settled.whole) == (first.identity, gives, False)
    (note,) = settled.notes
    assert "Permission denied" in note and "what was prepared is used" in note
    shutil.rmtree(world.results)
    with pytest.raises(UserError, match="Permission denied"):
        world.settle()


def test_a_download_is_known_under_what_it_was_planned_as(world):
    away = world.data.rename(world.data.with_name("away"))
    planned = world.settle()
    assert planned == raw.Settled(raw.ABSENT, None, whole=False)
    away.rename(world.data)
    looked = raw.content_of("own", raw.look("own", world.data), world.memory, "own")
    written = {"identity": planned.identity, "checksum": world.gives}
    raw.remember(world.memory, "own", prepared=written, known={looked.content: world.gives})
    assert world.settle().identity == planned.identity and world.decoded == 0


def test_an_error_of_decoding_is_the_plans(world):
    world.prepare()
    (world.data / "train.npy").write_text("no image")
    world.fails = UserError("train.npy is damaged")
    with pytest.raises(UserError, match="is damaged"):
        world.settle()


def test_where_decoding_is_not_to_be_had_changed_data_is_another(world):
    first = world.prepare()
    (world.data / "train.npy").write_text("other")
    settled = world.settle(decode=False)
    assert settled.identity != first.identity and settled.checksum is None
    assert world.settle(decode=False) == settled


def test_content_that_was_prepared_in_between_is_not_taken_for_that_of_now(world):
    """Files that changed between the plan and its job: the identity is of what was not read."""
    planned = world.settle()
    old = (world.data / "train.npy").read_text()
    (world.data / "train.npy").write_text("changed")
    written = {"identity": planned.identity, "checksum": world.gives}
    raw.remember(world.memory, "own", prepared=written)
    assert world.settle().identity == planned.identity
    (world.data / "train.npy").write_text(old)
    assert world.settle().identity != planned.identity


def test_a_dataset_that_was_prepared_before_anything_was_remembered(world):
    folder = world.results / "data/own"
    folder.mkdir(parents=True)
    manifest = {"name": "own", "checksum": world.gives}
    (folder / "dataset.json").write_text(json.dumps(manifest))
    settled = world.settle()
    assert settled.checksum == world.gives and world.decoded == 1
    assert world.settle() == settled and world.decoded == 1
    (folder / "dataset.json").write_text(json.dumps(manifest | {"name": "digits"}))
    world.memory.unlink()
    assert world.settle().checksum is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"source": 3}',
        b'{"source": "own", "known": []}',
        b'{"source": "own", "looked": {"a": "b"}}',
        b'{"source": "other", "identity": "a", "checksum": "b"}',
    ],
)
def test_a_damaged_memory_is_as_none(world, content):
    world.memory.parent.mkdir(parents=True)
    world.memory.write_bytes(content)
    assert raw.read_memory(world.memory, "own") == raw.Memory("own")
    world.prepare()
    assert world.settle().checksum == world.gives


def test_a_memory_that_cannot_be_written_costs_time_alone(world):
    world.results.write_text("a file")
    assert world.settle() == world.settle()


def test_the_memory_forgets_old_looks(world):
    for number in range(raw.LOOKS_KEPT + 5):
        raw.remember(world.memory, "own", looked={str(number): raw.Looked(str(number))})
    kept = list(raw.read_memory(world.memory, "own").looked)
    assert kept == [str(number) for number in range(5, raw.LOOKS_KEPT + 5)]


def test_what_another_process_remembered_meanwhile_is_kept(world):
    raw.remember(world.memory, "own", prepared={"identity": "i", "checksum": "c"})
    raw.remember(world.memory, "own", known={"a": "b"})
    raw.remember(world.memory, "own", looked={"s": raw.Looked("r")})
    memory = raw.read_memory(world.memory, "own")
    assert (memory.identity, memory.checksum, memory.known) == ("i", "c", {"a": "b"})


def test_other_code_is_decoded_once(world, monkeypatch):
    first = world.prepare()
    raw.code.cache_clear()
    monkeypatch.setattr(raw.sources, "fingerprint", lambda modules: "other code")
    try:
        for _ in range(2):
            assert world.settle().identity == first.identity
    finally:
        raw.code.cache_clear()
    assert world.decoded == 1


def test_decoding_in_a_process_of_its_own(tmp_path, capsys):
    checksum = raw.decode("digits", tmp_path, 1)
    from hebae.data import digits

    assert checksum == prepare.checksum(digits.load(Path()))
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:06}.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="is not an intact JPEG"):
        raw.decode("celeba", tmp_path, 1)
    assert "error: " not in capsys.readouterr().err


def test_a_python_without_numpy_cannot_decode(tmp_path, monkeypatch, capsys):
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy')")
    monkeypatch.setattr(raw.sources, "ROOT", f"{tmp_path}{os.pathsep}{ROOT / 'src'}")
    assert raw.decode("digits", tmp_path, 1) is None
    assert "Traceback" not in capsys.readouterr().err


def test_looking_needs_neither_numpy_nor_pillow():
    looks = {entry.look for entry in registry.DATASETS.values() if entry.look}
    code = (
        "import sys; from hebae.data import raw, plan; from hebae.config.registry import resolve\n"
        f"for look in {looks}: resolve(look)\n"
        "sys.exit(bool({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_replaced_file_while_it_was_read_is_not_known(tmp_path, monkeypatch):
    """The command: what was there before is not what is there after."""
    data, memory = tmp_path / "data", tmp_path / "memory.json"
    data.mkdir()
    (data / "train.npy").write_text("before")
    replaced = [False]

    def load(data_dir, threads):
        if replaced[0]:
            (data / "train.npy").write_text("after")
        images = np.zeros((3, 2, 2, 1), np.uint8), np.zeros((3, 0), np.int64)
        return Arrays(*images, *images, factors=())

    monkeypatch.setattr(registry, "resolve", lambda function: load)
    command = ["--dataset", "own", "--data-dir", str(data), "--output", str(tmp_path / "out")]
    command += ["--memory", str(memory), "--identity", "i"]
    for replaced[0] in (False, True):
        prepare.main(command)
        assert len(raw.read_memory(memory, "own").known) == 1
    assert raw.read_memory(memory, "own").identity == "i"


def test_the_default_data_dir_is_that_of_the_schema():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    assert Path(schema["properties"]["data_dir"]["default"]) == plan.DEFAULT


def test_a_data_dir_that_is_not_there(tmp_path):
    plan.check_data_dir(plan.DEFAULT)
    plan.check_data_dir(tmp_path)
    with pytest.raises(UserError, match="is not there"):
        plan.check_data_dir(tmp_path / "row")


# hebae.data.found


def test_a_walk_follows_links_once_and_leaves_junk(tmp_path):
    for name in ("a/x.jpg", "a/@eaDir/x.jpg/thumb.jpg", "b/y.jpg", "b/.hidden.jpg", "b/z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(".")
    names = found.walk(tmp_path / "a", lambda name: name.endswith(".jpg")).names
    assert sorted(names) == ["b/y.jpg", "x.jpg"]


def test_a_walk_names_the_link_to_nothing(tmp_path):
    (tmp_path / "x").symlink_to("nowhere")
    with pytest.raises(found.Gone, match=f"{tmp_path / 'x'} is a link to what is not there"):
        found.walk(tmp_path)


def test_stamps_tell_names_sizes_times_and_inodes_apart(tmp_path):
    path = tmp_path / "a"
    path.write_text("a")
    os.utime(path, ns=(0, -5))  # before 1970
    seen = [found.walk(tmp_path).digest()]
    os.utime(path, ns=(0, 5))
    seen.append(found.walk(tmp_path).digest())
    path.write_text("ab")
    os.utime(path, ns=(0, 5))
    seen.append(found.walk(tmp_path).digest())
    shutil.copy2(path, tmp_path / "b")
    (tmp_path / "b").replace(path)
    seen.append(found.walk(tmp_path).digest())
    path.rename(tmp_path / "c")
    seen.append(found.walk(tmp_path).digest())
    assert len(set(seen)) == 5
