"""Finished trainings: kept by what decides them, taken by whoever asks for the same."""

import copy
import csv
import dataclasses
import io
import json
import os
import time
from pathlib import Path

import pytest
from tests.runs import HERE, RUN, add_run, changed

from hebae.base import files
from hebae.base.errors import UserError
from hebae.base.lock import hold
from hebae.config.registry import NETWORKS, OBJECTIVES
from hebae.config.run import Run
from hebae.training import kept
from hebae.training.finished import Machine, Store, key_of, of_record, of_run, read, take, unlike
from hebae.training.plan import Instead, Plan, taken, write_plan


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_decides_a_training_is_its_key():
    own = key_of(of_run(RUN, "d", HERE))
    assert own == key_of(of_run(RUN, "d", HERE))
    others = [
        of_run(changed(epochs=13), "d", HERE),
        of_run(changed(seed=4), "d", HERE),
        of_run(changed(lam=2.0), "d", HERE),
        of_run(changed(objective="vae"), "d", HERE),
        of_run(RUN, "e", HERE),
        of_run(RUN, "d", HERE._replace(versions={"torch": "2.16.0", "numpy": "2.4.0"})),
        of_run(RUN, "d", HERE._replace(device="cuda")),
        of_run(changed(precision="bfloat16"), "d", HERE),
    ]
    assert len({own, *map(key_of, others)}) == 1 + len(others)


def test_what_decides_nothing_is_not_in_it():
    own = key_of(of_run(RUN, "d", HERE))
    names = of_run(changed(dataset="mine", model="Other"), "d", HERE)
    assert key_of(names) == own
    # NumPy chooses the images of a subset, and no others
    newer = HERE._replace(versions={"torch": "2.15.0", "numpy": "3.0.0"})
    assert key_of(of_run(RUN, "d", newer)) == own
    subset = changed(n_train=60)
    assert key_of(of_run(subset, "d", newer)) != key_of(of_run(subset, "d", HERE))
    # float32 is float32 wherever it runs; auto is what the machine makes of it
    narrow = HERE._replace(precision="float32")
    assert key_of(of_run(RUN, "d", narrow)) == own
    auto = changed(precision="auto")
    assert key_of(of_run(auto, "d", narrow)) != key_of(of_run(auto, "d", HERE))


def test_of_the_registry_what_a_run_computes_is_in_its_key(monkeypatch):
    """A new divergence in the registry changes no run."""
    run = changed(objective="infovae", parameters={"divergence": {"name": "mmd"}})
    own = key_of(of_run(run, "d", HERE))
    entry = OBJECTIVES["infovae"]
    more = dataclasses.replace(entry, divergences=(*entry.divergences, "new"))
    monkeypatch.setitem(OBJECTIVES, "infovae", more)
    network = dataclasses.replace(NETWORKS["dense"], packs=False, required=("encoder_widths",))
    monkeypatch.setitem(NETWORKS, "dense", network)
    assert key_of(of_run(run, "d", HERE)) == own
    monkeypatch.setitem(OBJECTIVES, "infovae", dataclasses.replace(entry, takes_lam=False))
    assert key_of(of_run(run, "d", HERE)) != own


@pytest.mark.parametrize("kept", [3, {}, {"asked": 3}, {"asked": {"config": {}}}, None])
def test_a_record_that_says_nonsense_of_being_kept_agreed_to_nothing(tmp_path, kept):
    found = read(add_run(tmp_path, kept=kept))
    assert not found.agreed(of_run(changed(epochs=50), "d", HERE))


def test_1_and_1_0_are_one_config():
    whole = of_run(changed(learning_rate_decay=1), "d", HERE)
    point = of_run(changed(learning_rate_decay=1.0), "d", HERE)
    assert key_of(whole) == key_of(point) and unlike(whole, point) == []
    assert unlike(whole, of_run(changed(learning_rate_decay=1.5), "d", HERE))


def test_a_key_outlives_json(tmp_path):
    record = json.loads((add_run(tmp_path) / "run.json").read_text())
    assert key_of(of_record(record)) == key_of(of_run(RUN, "d", HERE))


@pytest.mark.parametrize(
    ("run", "machine", "data", "words"),
    [
        (changed(epochs=13), HERE, "d", ["training.epochs was 12, is now 13"]),
        (RUN, HERE, "e", ["other images or another split"]),
        (RUN, HERE._replace(device="cuda"), "d", ["device was cpu, is now cuda"]),
        (
            RUN,
            HERE._replace(versions={"torch": "2.16.0"}),
            "d",
            ["torch was 2.15.0, is now 2.16.0"],
        ),
        (changed(precision="auto"), HERE, "d", ["precision"]),
        (RUN, HERE, "d", []),
        (RUN, Machine(None, None, None), None, []),  # what is not known counts as equal
    ],
)
def test_what_differs_is_said(run, machine, data, words):
    found = unlike(of_run(RUN, "d", HERE), of_run(run, data, machine))
    if words == ["precision"]:
        assert "precision was float32, is now bfloat16" in found
    else:
        assert found == words


def test_files_of_other_code_are_named():
    there = of_run(RUN, "d", HERE)
    here = copy.deepcopy(there)
    here["code"]["models/objectives/hebae.py"] = "other"
    assert unlike(there, here) == ["other code in models/objectives/hebae.py"]
    for name in list(here["code"])[:5]:
        here["code"][name] = "other"
    assert unlike(there, here)[0].endswith(" more")
    here["code"] = {"commit": "1234"}
    assert unlike(here, there) == ["code of an earlier version"]


def test_a_finished_training_is_linked_and_taken(tmp_path):
    place = add_run(tmp_path / "tiny/runs" / RUN.path)
    store = Store(tmp_path)
    found = store.keep(read(place))
    assert found.key == key_of(of_run(RUN, "d", HERE)) and found.seconds == 3.0
    for name in content_of(place):
        assert (found.folder / name).stat().st_ino == (place / name).stat().st_ino
    before = content_of(place)
    for path in place.iterdir():
        path.unlink()
    assert take(store.get(found.key), place, RUN, of_run(RUN, "d", HERE))
    assert content_of(place) == before
    assert (found.folder / "weights.pt").stat().st_ino == (place / "weights.pt").stat().st_ino
    assert store.keep(read(place)).folder == found.folder
    assert [path.name for path in store.folder.iterdir()] == [found.key]


def test_files_that_will_not_stay_are_copied(tmp_path):
    place = add_run(tmp_path / "outputs")
    found = Store(tmp_path).keep(read(place), copy=True)
    assert content_of(found.folder) == content_of(place)
    assert (found.folder / "weights.pt").stat().st_ino != (place / "weights.pt").stat().st_ino


def test_where_nothing_can_be_linked_it_is_copied(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("hebae.training.finished.os.link", unsupported)
    place = add_run(tmp_path / "place")
    found = Store(tmp_path).keep(read(place))
    assert content_of(found.folder) == content_of(place)


def test_another_label_gets_its_own_name(tmp_path):
    place = add_run(tmp_path / "place")
    found = Store(tmp_path).keep(read(place))
    run = changed(dataset="mine", model="Renamed")
    assert take(found, tmp_path / "new", run, of_run(run, "d", HERE))
    taken = read(tmp_path / "new")
    assert taken.label == f"runs/{run.path}" and taken.key == found.key and taken.intact()
    assert "kept" not in taken.record
    rows = list(csv.DictReader(io.StringIO((tmp_path / "new/history.csv").read_text())))
    assert {(row["dataset"], row["model"], row["epoch"]) for row in rows} == {
        ("mine", "Renamed", "1"),
        ("mine", "Renamed", "2"),
    }
    assert read(place).label == f"runs/{RUN.path}"  # which has the same weights


def test_what_is_taken_in_place_of_another_says_so(tmp_path):
    found = Store(tmp_path).keep(read(add_run(tmp_path / "place")))
    asked = of_run(changed(epochs=50), "d", HERE)
    assert take(found, tmp_path / "new", RUN, asked)
    taken = read(tmp_path / "new")
    assert taken.record["kept"]["differs"] == ["training.epochs was 12, is now 50"]
    assert taken.agreed(asked) and not taken.agreed(found.decides)
    assert taken.key == found.key
    # and kept again it is what it was
    Store(tmp_path).drop(found.key)
    again = Store(tmp_path).keep(taken)
    assert "kept" not in again.record and "kept" in read(tmp_path / "new").record


@pytest.mark.parametrize("name", ["weights.pt", "history.csv"])
def test_damaged_files_are_not_taken(name, tmp_path):
    found = Store(tmp_path).keep(read(add_run(tmp_path / "place")))
    (found.folder / name).write_bytes(b"damaged")
    assert not take(found, tmp_path / "new", RUN, found.decides)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("lacks", ["weights.pt", "history.csv", "run.json"])
def test_a_part_of_a_training_is_none(lacks, tmp_path):
    place = add_run(tmp_path / "place")
    (place / lacks).unlink()
    assert read(place) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"run": 3}', '{"decides": 3}', '{"decides": {"config": {}}}', "null", "3"],
)
def test_a_record_that_is_none_is_no_training(content, tmp_path):
    place = add_run(tmp_path / "place")
    (place / "run.json").write_text(content)
    assert read(place) is None
    (tmp_path / ".trained").mkdir()
    place.rename(tmp_path / ".trained/abc")
    assert list(Store(tmp_path).all()) == []


def test_a_record_of_an_earlier_version_is_of_the_same_run():
    """It has λ as text, under "weight", and says nothing of its code but the commit."""
    fields = json.loads(RUN.to_json())
    fields["weight"] = "1"
    del fields["lam"]
    record = {
        "run": fields,
        "dataset_checksum": "d",
        "device": "cpu",
        "precision": "float32",
        "commit": "1234",
        "versions": {"python": "3.11", "torch": "2.15.0", "numpy": "2.4.0"},
    }
    here = of_run(RUN, "d", HERE)
    assert unlike(of_record(record), here) == ["code of an earlier version"]
    record["device"] = "NVIDIA H200"
    assert "device was cuda, is now cpu" in unlike(of_record(record), here)
    with pytest.raises(UserError):
        of_record({"run": {"seed": 1}})


def test_two_processes_keep_the_same(tmp_path, monkeypatch):
    """The second finds the folder of the first in its way."""
    store = Store(tmp_path)
    one, two = read(add_run(tmp_path / "one")), read(add_run(tmp_path / "two"))
    store.keep(one)
    with monkeypatch.context() as patch:
        answers = iter([None])
        get = Store.get
        patch.setattr(Store, "get", lambda self, key: next(answers, get(self, key)))
        assert store.keep(two).key == one.key
    assert (store.folder / one.key / "run.json").stat().st_ino == (
        one.folder / "run.json"
    ).stat().st_ino  # the first's


def test_a_store_that_cannot_be_written_keeps_nothing(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    place = read(add_run(tmp_path / "place"))
    monkeypatch.setattr(Path, "mkdir", read_only)
    assert Store(tmp_path).keep(place) is None


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    place = read(add_run(tmp_path / "place"))
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        Store(tmp_path).keep(place)


def test_what_no_experiment_has_is_listed_and_dropped(tmp_path, capsys):
    store = Store(tmp_path)
    used, unused = changed(seed=1), changed(seed=2)
    for run in (used, unused):
        store.keep(read(add_run(tmp_path / "tiny/runs" / run.path, run)))
    for path in sorted((tmp_path / "tiny/runs" / unused.path).iterdir()):
        path.unlink()
    kept.main(["list", "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[-1].startswith("2 finished trainings kept in ")
    assert ", 1 of them used by no experiment there (0.0 MB; prune drops them)" in lines[-1]
    states = {line.split()[-5]: line.split()[1] for line in lines[:-1]}
    assert states[f"runs/{unused.path}"] == "unused" and states[f"runs/{used.path}"] == "in"[:2]
    # nothing is dropped whose files have gone from its place, or are to be put there
    record = tmp_path / "tiny/runs" / unused.path / "run.json"
    files.write_json(
        record, json.loads(add_run(tmp_path / "x", unused).joinpath("run.json").read_text())
    )
    assert kept.prune(tmp_path).startswith("0 finished trainings dropped")
    record.unlink()
    key = key_of(of_run(unused, "d", HERE))
    write_plan(tmp_path / "tiny/plan.json", Plan(instead={"runs/x": Instead(key, True)}))
    assert kept.prune(tmp_path).startswith("0 finished trainings dropped")
    write_plan(tmp_path / "tiny/plan.json", Plan())
    with hold(tmp_path / "tiny/.lock"), pytest.raises(UserError, match="tiny is being made by pr"):
        kept.prune(tmp_path)
    kept.main(["prune", "--results", str(tmp_path)])
    assert capsys.readouterr().out.startswith("1 finished training dropped, 0.0 MB free")
    assert [each.label for each in store.all()] == [f"runs/{used.path}"]
    for name, age in ((".half.of.a.killed.process", 7200), (".just.begun", 0)):
        (store.folder / name).mkdir()
        os.utime(store.folder / name, (time.time() - age,) * 2)
    kept.main(["prune", "--results", str(tmp_path)])
    assert [path.name for path in store.folder.glob(".*")] == [".just.begun"]
    assert capsys.readouterr().out.startswith("0 finished trainings dropped")
    with pytest.raises(UserError, match="no such folder"):
        kept.main(["list", "--results", str(tmp_path / "none")])


def test_the_space_of_a_file_with_another_name_is_not_counted(tmp_path):
    place = add_run(tmp_path / "place")
    found = Store(tmp_path).keep(read(place))
    assert kept.own_bytes(found) == 0
    sizes = sum(path.stat().st_size for path in place.iterdir())
    for path in place.iterdir():
        path.unlink()
    assert kept.own_bytes(found) == sizes


SHAPE = (8, 8, 1)


def kept_run(results: Path, run: Run = RUN, machine: Machine = HERE, shape=SHAPE, data="d"):
    place = add_run(results / "elsewhere" / run.path, run, machine, data, image_shape=list(shape))
    return Store(results).keep(read(place))


def take_planned(results: Path, plan: Plan, run: Run = RUN, machine: Machine = HERE) -> bool:
    """As the job of a run does, whose images are d."""
    asked = of_run(run, "d", machine)
    return taken(Store(results), plan, asked, results / "tiny/runs" / run.path, run, SHAPE)


OLD = HERE._replace(versions={"torch": "2.14.0", "numpy": "2.4.0"})


def test_a_job_that_finds_out_more_than_the_plan_knew_asks(tmp_path):
    """As on a cluster: its PyTorch differs, and the user has not decided what to do."""
    old = kept_run(tmp_path, machine=OLD)
    label = f"runs/{RUN.path}"
    with pytest.raises(UserError) as error:
        take_planned(tmp_path, Plan(instead={label: Instead(old.key, agreed=False)}))
    message = str(error.value)
    assert "(torch was 2.14.0, is now 2.15.0), and was not replaced; add --config keep" in message
    assert Store(tmp_path).get(old.key) is not None
    assert take_planned(tmp_path, Plan(instead={label: Instead(old.key, agreed=True)}))
    assert read(tmp_path / "tiny" / label).record["kept"]["differs"] == [
        "torch was 2.14.0, is now 2.15.0"
    ]


def test_images_of_another_shape_cannot_be_kept_and_nothing_is_dropped(tmp_path):
    other = kept_run(tmp_path, shape=(16, 16, 1), data="e")
    plan = Plan(instead={f"runs/{RUN.path}": Instead(other.key, agreed=True)})
    with pytest.raises(UserError, match="images of another shape, so it cannot be kept; add"):
        take_planned(tmp_path, plan)
    assert Store(tmp_path).get(other.key) is not None


def test_restoring_takes_the_images_asked_for_and_the_most_alike(tmp_path):
    kept_run(tmp_path, machine=OLD, data="e")
    far = OLD._replace(device="cuda")
    keys = [kept_run(tmp_path, machine=machine).key for machine in (far, OLD)]
    assert take_planned(tmp_path, Plan(train=False))
    assert read(tmp_path / "tiny/runs" / RUN.path).key == keys[1]
    with pytest.raises(UserError, match="runs=restore trains nothing"):
        take_planned(tmp_path, Plan(train=False), changed(epochs=50))


def test_a_damaged_training_is_never_answered_by_another(tmp_path):
    own = kept_run(tmp_path)
    (own.folder / "weights.pt").write_bytes(b"damaged")
    assert not take_planned(tmp_path, Plan())
    assert Store(tmp_path).get(own.key) is None
