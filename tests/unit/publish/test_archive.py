"""Archives of runs: what goes in comes out, and nothing else ever does."""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.runs import HERE, RUN, changed

from hebae.base.errors import UserError
from hebae.codes import encode
from hebae.config.experiment import Word
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.data.store import read_prepared
from hebae.measures.fid.features import classifier
from hebae.measures.fid.features.network import open_features
from hebae.publish import archive
from hebae.publish.archive import MANIFEST, read_archive
from hebae.training import train
from hebae.training.finished import Machine, Store, installed, of_features, of_run
from hebae.training.plan import Plan, write_plan
from hebae.workflow.planning import Asked, decide

ROOT = Path(__file__).parents[3]
RUNS = [RUN, changed(seed=4), changed(lam=1e-05, n_train=60)]
SHA256 = "0" * 64


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def add_run(results: Path, run, checksum: str = "c", weights: bytes = b"") -> Path:
    folder = results / "runs" / run.path
    weights = weights or run.path.encode() * 99
    write(folder / "weights.pt", weights)
    write(folder / "history.csv", "epoch,split\n1,test\n")
    record = {
        "run": asdict(run),
        "dataset_checksum": checksum,
        "image_shape": [8, 8, 1],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "commit": "1234567-dirty",
    }
    write(folder / "run.json", json.dumps(record))
    return folder


def add_classifier(results: Path, weights: bytes = b"features") -> Path:
    folder = results / "features/digits/classifier"
    write(folder / "weights.pt", weights)
    record = {
        "features": "classifier",
        "n_features": 64,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "dataset": "digits",
        "accuracy": 1.0,
        "accuracies": {"digit": 1.0},
        "preprocessing": "",
    }
    write(folder / "features.json", json.dumps(record))
    return folder


@pytest.fixture
def results(tmp_path) -> Path:
    """Three finished runs and what lies around them."""
    folder = tmp_path / "results/tiny"
    for run in RUNS:
        directory = add_run(folder, run)
        for name in ("images.npz", "posterior.npz", "fid.csv", ".weights.pt.7.part"):
            write(directory / name, "not to be exported")
    add_classifier(folder)
    for name in ("inception/features.json", "inception/weights.pt", "reference.npz"):
        write(folder / "features/digits" / name, "not to be exported")
    write(folder / "data/digits/dataset.json", '{"checksum": "c"}')
    write(folder / "data/digits/train_images.npy", "not to be exported")
    write(folder / "tables/fid.csv", "fid\n1.5\n")
    write(folder / "tables/My own.csv", "not to be exported")
    return folder


@pytest.fixture
def exported(results, tmp_path) -> Path:
    archive.export(results, tmp_path / "tiny.tar")
    return tmp_path / "tiny.tar"


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


EXPECTED = {
    *(f"runs/{run.path}/{name}" for run in RUNS for name in archive.RUN_FILES),
    "data/digits/dataset.json",
    "features/digits/classifier/features.json",
    "features/digits/classifier/weights.pt",
    "tables/fid.csv",
}


def test_what_goes_in_comes_out(results, exported, tmp_path, capsys):
    archive.main(["import", str(exported), "--results", str(tmp_path / "there")])
    folder = tmp_path / "there/.trained"
    assert capsys.readouterr().out == (
        f"{folder}: 4 finished trainings of tiny; to measure and draw without training:\n"
        "snakemake --cores 2 --configfile CONFIG --config runs=restore\n"
    )
    kept = {each.label: each for each in Store(tmp_path / "there").all()}
    labels = {f"runs/{run.path}" for run in RUNS}
    assert set(kept) == labels | {"features/digits/classifier"}
    for label in labels:
        assert content_of(kept[label].folder) == {
            name: (results / label / name).read_bytes() for name in archive.RUN_FILES
        }
    classifier = content_of(kept["features/digits/classifier"].folder)
    own = content_of(results / "features/digits/classifier")
    assert classifier.keys() == own.keys() and classifier["weights.pt"] == own["weights.pt"]
    assert kept["features/digits/classifier"].decides["data"] == "c"

    with tarfile.open(exported) as tar:  # any tar reads it
        assert set(tar.getnames()) == EXPECTED | {MANIFEST}
        content = {name: tar.extractfile(name).read() for name in tar.getnames()}
    manifest = json.loads(content.pop(MANIFEST))
    assert set(manifest["files"]) == EXPECTED and list(manifest["files"]) == sorted(EXPECTED)
    assert all((results / name).read_bytes() == content[name] for name in EXPECTED)
    assert manifest["commits"] == ["1234567-dirty"] and manifest["hebae"]
    for name, file in manifest["files"].items():
        sha256 = hashlib.sha256(content[name]).hexdigest()
        assert file == {"size": len(content[name]), "sha256": sha256}
    assert [path.name for path in (tmp_path / "there").iterdir()] == [".trained"]


def test_the_same_results_are_the_same_bytes(results, exported, tmp_path, capsys):
    moved = tmp_path / "elsewhere/tiny"
    shutil.copytree(results, moved)
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    archive.main(["export", "--results", str(moved), "--output", str(tmp_path / "a b/again.tar")])
    again = tmp_path / "a b/again.tar"
    assert again.read_bytes() == exported.read_bytes()
    sha256 = hashlib.sha256(exported.read_bytes()).hexdigest()
    size = exported.stat().st_size
    assert capsys.readouterr().out == f"{again}: 3 runs, {size} bytes, SHA-256 {sha256}\n"
    archive.main(["verify", str(again)])
    line = f"{again}: 3 runs of tiny, trained at 1234567-dirty; all checksums are right\n"
    assert capsys.readouterr().out == line


def test_unfinished_runs_are_left_out_and_counted(results, tmp_path, capsys):
    (results / "runs" / RUNS[1].path / "run.json").unlink()
    shutil.rmtree(results / "tables")
    said = archive.export(results, tmp_path / "tiny.tar")
    assert f"tiny.tar: 2 of 3 runs (not finished and left out: {RUNS[1].path}), " in said
    assert read_archive(tmp_path / "tiny.tar").runs == [RUNS[0].path, RUNS[2].path]
    archive.main(["verify", str(tmp_path / "tiny.tar")])
    assert "2 of 3 runs (not finished and left out: " in capsys.readouterr().out
    for run in (RUNS[0], RUNS[2]):
        (results / "runs" / run.path / "run.json").unlink()
    with pytest.raises(UserError, match="tiny: there is no finished run to export"):
        archive.export(results, tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()


def test_runs_that_were_planned_and_of_which_nothing_is_there_are_counted(results, tmp_path):
    planned = [run.path for run in (*RUNS, *(changed(seed=seed) for seed in range(50, 55)))]
    write_plan(results / "plan.json", Plan(runs=tuple(planned)))
    said = archive.export(results, tmp_path / "tiny.tar")
    assert "3 of 8 runs (not finished and left out: " in said and " and 2 more), " in said


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "runs/{}/weights.pt",
            b"other",
            "weights.pt is damaged (its SHA-256 is not the one in run.json); delete it",
        ),
        (
            "runs/{}/weights.pt",
            None,
            "weights.pt is missing; snakemake --cores 1 --configfile CONFIG ",
        ),
        (
            "runs/{}/history.csv",
            None,
            "history.csv is missing; snakemake --cores 1 --configfile CONFIG ",
        ),
        ("runs/{}/run.json", b"{", "run.json: not the record of a run"),
        ("features/digits/classifier/weights.pt", b"other", "classifier/weights.pt is damaged"),
        ("features/digits/classifier/features.json", b"[]", "classifier/weights.pt is damaged"),
        ("data/digits/dataset.json", None, "dataset.json is missing; snakemake "),
    ],
)
def test_damaged_results_are_named_and_not_exported(results, tmp_path, file, content, message):
    path = results / file.format(RUN.path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        archive.export(results, tmp_path / "tiny.tar")
    assert message in str(error.value) and str(path.parent) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.tar")) and not list(tmp_path.glob(".*"))


def test_a_run_in_the_folder_of_another_is_not_exported(results, tmp_path):
    (results / "runs" / RUN.path).rename(results / "runs" / changed(seed=9).path)
    with pytest.raises(UserError, match=f"run.json is the record of {RUN.path}; delete it, and "):
        archive.export(results, tmp_path / "tiny.tar")


def test_only_results_of_an_experiment_are_exported(results, tmp_path):
    for folder in (results.parent / "tiyn", results.parent / ".."):
        with pytest.raises(UserError, match="not the results of an experiment; say results/<exp"):
            archive.export(folder, tmp_path / "tiny.tar")


def test_results_that_change_during_an_export_are_an_error(results, tmp_path, monkeypatch):
    manifest = archive.contents(results)
    (results / "tables/fid.csv").write_text("fid\n2.5\n")
    with pytest.raises(UserError, match=r"fid.csv changed while it was exported"):
        archive.write_archive(manifest, results, tmp_path / "tiny.tar")
    assert not (tmp_path / "tiny.tar").exists()


def test_importing_twice(exported, tmp_path):
    archive.import_archive(exported, tmp_path)
    before = content_of(tmp_path / ".trained")
    assert ", 4 of which were there already; " in archive.import_archive(exported, tmp_path)
    assert content_of(tmp_path / ".trained") == before
    damaged = next((tmp_path / ".trained").glob("*/weights.pt"))
    damaged.unlink()
    damaged.write_bytes(b"damaged")
    assert ", 3 of which were there already; " in archive.import_archive(exported, tmp_path)
    assert content_of(tmp_path / ".trained") == before


# What is no archive of ours. Members are (header, content).


def members_of(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(header, tar.extractfile(header).read()) for header in tar]


def pack(path: Path, members) -> None:
    with path.open("wb") as stream:
        for header, content in members:
            stream.write(header.tobuf(tarfile.USTAR_FORMAT) + content)
            stream.write(b"\0" * (-len(content) % 512))
        stream.write(b"\0" * 1024)


def signed(document: dict) -> bytes:
    """A manifest that is whole, whatever it says."""
    document.pop("sha256", None)
    sha256 = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    return (json.dumps({**document, "sha256": sha256}, indent=1) + "\n").encode()


def with_manifest(members, edit) -> list:
    document = json.loads(members[0][1])
    edit(document)
    return [member(MANIFEST, signed(document)), *members[1:]]


def misspelt(old: bytes, new: bytes):
    """An edit: other letters in the manifest."""

    def edit(members):
        assert old in members[0][1]
        return [member(MANIFEST, members[0][1].replace(old, new)), *members[1:]]

    return edit


def member(name: str, content: bytes = b"", **fields):
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in fields.items():
        setattr(header, key, value)
    return header, content


def listed(name: str):
    """An edit: a member of this name, which the manifest lists too."""
    sha256 = hashlib.sha256(b"evil").hexdigest()

    def edit(members):
        entry = {"size": 4, "sha256": sha256}
        return [
            *with_manifest(members, lambda document: document["files"].update({name: entry})),
            member(name, b"evil"),
        ]

    return edit


def manifest(**fields):
    return lambda members: with_manifest(members, lambda document: document.update(fields))


def of_a_file(**fields):
    name = "tables/fid.csv"
    return lambda members: with_manifest(
        members, lambda document: document["files"][name].update(fields)
    )


def with_content(name: str, content: bytes):
    return lambda members: [
        member(name, content) if header.name == name else (header, old) for header, old in members
    ]


def renamed(name: str, **fields):
    """An edit: the table under another name, or of another kind."""
    return lambda members: [
        member(name, content, **fields) if header.name == "tables/fid.csv" else (header, content)
        for header, content in members
    ]


def first(name: str, content: bytes):
    return lambda members: [member(name, content), *members[1:]]


NOT_OURS = "not an archive of runs: manifest.json: no file of a run: "
BAD = {
    "a later format": (manifest(format=2), "its format is 2, and this version reads 1"),
    "no format": (manifest(format=None), "its format is None, and this"),
    "experiment outside": (manifest(experiment="../x"), "no name of an experiment: '../x'"),
    "experiment absolute": (manifest(experiment="/x"), "no name of an experiment: '/x'"),
    "experiment of dots": (manifest(experiment=".."), "no name of an experiment: '..'"),
    "no experiment": (manifest(experiment=None), "not an archive of runs: manifest.json: "),
    "files as a list": (manifest(files=[]), "not an archive of runs: manifest.json: "),
    "escape sequence": (manifest(commits=["\x1b[2J"]), "a version, commit or run that is none"),
    "commit no text": (manifest(commits=[1]), "not an archive of runs: manifest.json: "),
    "no JSON": (first(MANIFEST, b"{"), "not an archive of runs: manifest.json: Expecting"),
    "deep JSON": (first(MANIFEST, b"[" * 100_000), "manifest.json: maximum recursion"),
    "JSON of a list": (first(MANIFEST, b"[]"), "not an archive of runs: manifest.json: "),
    "name changed": (misspelt(b'"tiny"', b'"tinz"'), "manifest.json: its own SHA-256 is another"),
    "commit changed": (misspelt(b"1234567", b"1234568"), "json: its own SHA-256 is another"),
    "a key twice": (misspelt(b'"format": 1,', b'"format": 1, "format": 1,'), "its own SHA-256"),
    "no SHA-256 of its own": (misspelt(b'"sha256": "', b'"sha257": "'), "not an archive of runs"),
    "no manifest": (lambda members: members[1:], "it does not begin with manifest.json"),
    "manifest in capitals": (first("MANIFEST.JSON", b"{}"), "it does not begin with manifest"),
    "manifest too large": (
        lambda members: [member(MANIFEST, size=archive.LARGEST_MANIFEST + 1), *members[1:]],
        "it does not begin with manifest",
    ),
    "empty": (lambda members: [], "it does not begin with manifest.json"),
    "size as text": (of_a_file(size="8"), "no size and SHA-256 of 'tables/fid.csv'"),
    "size as a float": (of_a_file(size=8.0), "no size and SHA-256 of 'tables/fid.csv'"),
    "size as a truth": (of_a_file(size=True), "no size and SHA-256 of 'tables/fid.csv'"),
    "size below nothing": (of_a_file(size=-1), "no size and SHA-256 of 'tables/fid.csv'"),
    "another size": (of_a_file(size=9), "tables/fid.csv has 8 bytes, not 9"),
    "SHA-256 in capitals": (of_a_file(sha256="A" * 64), "no size and SHA-256 of"),
    "SHA-256 missing": (of_a_file(sha256=None), "not an archive of runs: manifest.json: "),
    "another SHA-256": (of_a_file(sha256=SHA256), "the SHA-256 of tables/fid.csv is not the one"),
    "more of a file": (of_a_file(mode=1), "not an archive of runs: manifest.json: "),
    "other content": (
        with_content("tables/fid.csv", b"fid\n9.9\n"),
        "the SHA-256 of tables/fid.csv is not the one in its manifest.json; copy the archive",
    ),
    "more content": (
        with_content("tables/fid.csv", b"fid\n1.5\n" * 2),
        "tables/fid.csv has 16 bytes, not 8",
    ),
    "less content": (with_content("tables/fid.csv", b"fid"), "tables/fid.csv has 3 bytes, not 8"),
    "a member less": (lambda members: members[:-1], "lacks tables/fid.csv, which its"),
    "a member more": (
        lambda members: [*members, member("tables/more.csv", b"x")],
        "its member 'tables/more.csv' is not in its manifest.json",
    ),
    "a member twice": (
        lambda members: [*members, members[-1]],
        "its member 'tables/fid.csv' comes twice",
    ),
    "the manifest twice": (
        lambda members: [*members, members[0]],
        "its member 'manifest.json' is not in its manifest.json",
    ),
    "another case": (renamed("Tables/fid.csv"), "its member 'Tables/fid.csv' is not in its"),
    "a dot before": (renamed("./tables/fid.csv"), "its member './tables/fid.csv' is not in its"),
    "a slash after": (renamed("tables/fid.csv/"), "its member 'tables/fid.csv/' is not in its"),
    "a line break": (renamed("tables\nfid.csv"), "its member 'tables\\nfid.csv' is not in its"),
    **{
        f"kind {kind!r}": (
            # of gigabytes, which must not be read first
            renamed("tables/fid.csv", type=kind, linkname="/etc/passwd", size=1 << 32),
            "no archive of runs (its member 'tables/fid.csv' is no plain file)",
        )
        for kind in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
            tarfile.DIRTYPE,
            tarfile.CONTTYPE,
            tarfile.AREGTYPE,
            tarfile.XHDTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.GNUTYPE_SPARSE,
            b"Z",
        )
    },
    **{
        f"listed {name!r}": (listed(name), NOT_OURS + repr(name))
        for name in (
            "/tmp/evil",
            "../evil",
            "runs/../../evil",
            "runs/digits/../VAE/z1/w1/s0/run.json",
            "tables/../evil.csv",
            "tables\\evil.csv",
            "tables/fid.csv\n",
            "TABLES/fid.csv",
            "C:/evil",
            "manifest.json",
            "tables/.csv",
            "runs/digits/VAE/z1/w1/s0/run.json/run.json",
            "runs/digits/VAE/z1/w1/s0/evil.py",
            "data/digits/train_images.npy",
            "runs/digits/VAE/z1/w1/s0/images.npz",
            "features/digits/inception/weights.pt",
            "",
        )
    },
}


def refused(path: Path, output: Path) -> str:
    """The one line of an import that must leave nothing behind; verify says the same."""
    before = content_of(output.parent)
    with pytest.raises(UserError) as error:
        archive.import_archive(path, output)
    message = str(error.value)
    assert message.isprintable() and str(path) in message
    assert content_of(output.parent) == before and not list((output / ".trained").iterdir())
    with pytest.raises(UserError) as error:
        archive.verify(path)
    assert str(error.value) == message
    return message


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_as_the_manifest_says_is_refused(exported, tmp_path, case):
    edit, message = BAD[case]
    pack(tmp_path / "bad.tar", edit(members_of(exported)))
    assert message in refused(tmp_path / "bad.tar", tmp_path / "there")


def test_repacked_in_another_order_it_is_the_same(exported, tmp_path):
    manifest, *others = members_of(exported)
    pack(tmp_path / "repacked.tar", [manifest, *reversed(others)])
    archive.import_archive(tmp_path / "repacked.tar", tmp_path / "repacked")
    archive.import_archive(exported, tmp_path / "as it was")
    assert content_of(tmp_path / "repacked") == content_of(tmp_path / "as it was") != {}


def test_a_file_is_never_written_twice(tmp_path):
    """As where names differ by case alone, on a disk that does not tell them apart."""
    with archive._new_file(tmp_path, "tables/fid.csv") as stream:
        stream.write(b"first")
    with pytest.raises(FileExistsError):
        archive._new_file(tmp_path, "tables/fid.csv")


def test_what_follows_the_end_is_refused(exported, tmp_path):
    path = tmp_path / "bad.tar"
    path.write_bytes(exported.read_bytes() + b"\0" * 512 + b"more")
    assert "is cut short or damaged" in refused(path, tmp_path / "there")


def test_an_archive_cut_short_anywhere_is_refused(exported, tmp_path):
    content = exported.read_bytes()
    with tarfile.open(exported) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + 512 * -(-last.size // 512)
    path = tmp_path / "bad.tar"
    for length in (0, 1, 511, 512, 513, *range(600, end, 700), end, end + 511):
        path.write_bytes(content[:length])
        assert "is cut short" in refused(path, tmp_path / "there")


def test_a_size_below_nothing_is_refused(exported, tmp_path):
    """Which a header can state, and which has sent readers of tar into endless loops."""
    (header, manifest), *_, (last, table) = members_of(exported)
    for bad, content in ((header, manifest), (last, table)):
        block = bytearray(bad.tobuf(tarfile.USTAR_FORMAT))
        block[124:136] = b"\xff" * 12  # base 256: -1
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
        pack(tmp_path / "bad.tar", members_of(exported)[:-1] if bad is last else [])
        whole = (tmp_path / "bad.tar").read_bytes()[:-1024]
        (tmp_path / "bad.tar").write_bytes(whole + block + content + b"\0" * 2048)
        message = refused(tmp_path / "bad.tar", tmp_path / "there")
        # which of them depends on the version of Python, whose tarfile may refuse it first
        assert any(
            words in message
            for words in ("tables/fid.csv has -1 bytes", "does not begin with", "or damaged")
        )


@pytest.mark.parametrize(
    "content", [b"no archive " * 100, gzip.compress(bytes(range(256)) * 99), b"PK\x03\x04" * 500]
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "bad.tar").write_bytes(content)
    message = refused(tmp_path / "bad.tar", tmp_path / "there")
    assert "no archive of runs" in message


def test_no_more_is_read_than_the_manifest_says(exported, tmp_path):
    """A header that claims gigabytes, with a manifest that lies too, ends where the file does."""
    name, size = "tables/fid.csv", 1 << 32
    members = with_manifest(
        members_of(exported)[:-1], lambda document: document["files"][name].update(size=size)
    )
    pack(tmp_path / "bad.tar", [*members, member(name, b"x" * 2000, size=size)])
    assert "is cut short" in refused(tmp_path / "bad.tar", tmp_path / "there")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_byte_is_found_or_changes_nothing(exported, tmp_path, data):
    content = bytearray(exported.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad.tar").write_bytes(content)
    whole, folder = tmp_path / "whole", tmp_path / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    if not whole.exists():
        read_archive(exported, whole)
    try:
        assert read_archive(tmp_path / "bad.tar", folder) == read_archive(exported)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert content_of(folder) == content_of(whole)


@pytest.mark.parametrize("name", ["bad.tar", "missing.tar", "."])
def test_the_command_says_one_line_and_fails(tmp_path, name):
    (tmp_path / "bad.tar").write_bytes(b"nothing")
    done = subprocess.run(
        [sys.executable, "-m", "hebae.publish.archive", "import", name],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("results/.trained/*"))


# What is taken from an import


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


@pytest.fixture
def here(results, data, tmp_path) -> Path:
    """Results after the import of an archive that claims to have runs on the digits."""
    checksum = read_prepared(data).checksum
    for run in RUNS:
        add_run(results, run, checksum)
    shutil.copy(data / "dataset.json", results / "data/digits")
    return imported(results, tmp_path / "here")


def imported(results: Path, here: Path) -> Path:
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    archive.export(results, here / "tiny.tar")
    archive.import_archive(here / "tiny.tar", here)
    return here


def asked(data: Path, runs=(RUN,), classifier: bool = False) -> list[Asked]:
    """What a workflow asks for on this machine."""
    machine, checksum = Machine(installed(), "cpu", "float32"), read_prepared(data).checksum
    found = [Asked(f"runs/{run.path}", of_run(run, checksum, machine)) for run in runs]
    label = Asked("features/digits/classifier", of_features("classifier", checksum, machine))
    return found + [label] * classifier


def restored(here: Path, data: Path, run=RUN) -> Path:
    """A run as a workflow restores it: planned, then taken by the job that trains."""
    decision = decide(asked(data, [run]), here / "new", Word.RESTORE, keep=True)
    write_plan(here / "plan.json", Plan(instead=decision.instead, train=False))
    train.main(
        [
            "--run", run.to_json(), "--data", str(data), "--output", str(here / "new/run"),
            "--checkpoints", str(here / "c"), "--results", str(here), "--device", "cpu",
            "--plan", str(here / "plan.json"),
        ]
    )  # fmt: skip
    return here / "new/run"


def restored_classifier(here: Path, data: Path) -> Path:
    decision = decide(asked(data, [], True), here / "new", Word.RESTORE, keep=True)
    write_plan(here / "plan.json", Plan(instead=decision.instead, train=False))
    classifier.main(
        [
            "--data", str(data), "--output", str(here / "new/classifier"), "--results", str(here),
            "--plan", str(here / "plan.json"), "--label", "features/digits/classifier",
            "--device", "cpu",
        ]
    )  # fmt: skip
    return here / "new/classifier"


def test_what_is_restored_is_what_was_trained(here, results, data):
    for run in RUNS:
        taken = content_of(restored(here, data, run))
        own = content_of(results / "runs" / run.path)
        assert set(taken) == set(archive.RUN_FILES)
        assert (
            taken["weights.pt"] == own["weights.pt"] and taken["history.csv"] == own["history.csv"]
        )
        record = json.loads(taken["run.json"])
        assert record.pop("kept")["differs"] == ["code of an earlier version"]
        assert record == json.loads(own["run.json"])
    taken = content_of(restored_classifier(here, data))
    own = content_of(results / "features/digits/classifier")
    assert taken["weights.pt"] == own["weights.pt"]


def test_an_archive_of_an_earlier_version_is_restored(results, data, tmp_path):
    """Its records have λ as text, under "weight"."""
    folder = add_run(results, RUN, read_prepared(data).checksum)
    record = json.loads((folder / "run.json").read_text())
    assert record["run"].pop("lam") == 1.0
    record["run"]["weight"] = "1"
    write(folder / "run.json", json.dumps(record))
    here = imported(results, tmp_path / "here")
    assert content_of(restored(here, data)).keys() == set(archive.RUN_FILES)
    other = dataclasses.replace(RUN, lam=2.0)
    with pytest.raises(UserError, match="are not among the "):
        restored(here, data, other)


@pytest.mark.parametrize("name", archive.RUN_FILES)
@pytest.mark.parametrize("content", [b"", b"other", None])
def test_a_run_changed_after_the_import_is_not_restored(here, data, name, content):
    (found,) = Store(here).alike(asked(data)[0].decides)
    path = found.folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    if name == "history.csv" and content is not None:
        # earlier versions did not write down its checksum: this one does
        record = path.with_name("run.json")
        fields = json.loads(record.read_text()) | {"history_sha256": SHA256}
        record.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="runs=restore trains nothing, and "):
        restored(here, data)
    assert not (here / "new/run").exists()


def test_what_was_trained_on_other_images_is_not_restored(results, here, data, tmp_path):
    arrays = digits.load(Path())
    write_prepared(
        "digits", dataclasses.replace(arrays, test_images=arrays.test_images[::-1]), tmp_path / "d"
    )
    for step in (restored, restored_classifier):
        with pytest.raises(UserError, match=r"other images or another split"):
            step(here, tmp_path / "d")
    assert not (here / "new").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights_sha256", SHA256, "is not the record of the files beside it"),
        ("run", {}, "is not the record of a whole training"),
        ("decides", {"config": 3}, "is not the record of a whole training"),
        ("decides", [], "is not the record of a whole training"),
        (
            "decides",
            of_run(changed(epochs=100), "c", HERE),
            "says two things of how it was trained",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_not_imported(results, tmp_path, key, value, message):
    """No export makes such a record, so somebody else made the archive."""
    path = results / "runs" / RUN.path / "run.json"
    own = json.loads(path.read_text())
    archive.export(results, tmp_path / "tiny.tar")
    members = []
    for header, content in members_of(tmp_path / "tiny.tar"):
        if header.name == f"runs/{RUN.path}/run.json":
            content = json.dumps(own | {key: value}).encode()
            members.append(member(header.name, content))
        else:
            members.append((header, content))
    names = f"runs/{RUN.path}/run.json"
    changed_to = next(content for header, content in members if header.name == names)
    file = {"size": len(changed_to), "sha256": hashlib.sha256(changed_to).hexdigest()}
    members = with_manifest(members, lambda document: document["files"].update({names: file}))
    pack(tmp_path / "bad.tar", members)
    with pytest.raises(UserError, match=message):
        archive.import_archive(tmp_path / "bad.tar", tmp_path / "there")
    assert not list((tmp_path / "there/.trained").iterdir())


def test_images_of_an_impossible_shape_take_no_memory(results, here, data):
    path = results / "runs" / RUN.path / "run.json"
    fields = json.loads(path.read_text()) | {"image_shape": [10**9, 10**9, 1]}
    path.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="runs=restore trains nothing"):
        restored(imported(results, here), data)


def test_what_an_archive_lacks_is_found_at_the_door(here, data):
    lacking = [changed(seed=seed) for seed in (50, 51, 52, 53)]
    with pytest.raises(UserError) as error:
        decide(asked(data, [*RUNS, *lacking], True), here / "new", Word.RESTORE, keep=False)
    listed = ", ".join(f"runs/{run.path}" for run in lacking[:3])
    assert str(error.value) == (
        "runs=restore trains nothing, and 4 of the 8 trainings asked for are not among the "
        f"finished ones in {here}: {listed} and 1 more; import an archive that has them (make "
        "import ARCHIVE=…), or train them with runs=train"
    )
    with pytest.raises(UserError, match=r"s3 \(training.epochs was 12, is now 50; code of "):
        decide(asked(data, [changed(epochs=50)]), here / "new", Word.RESTORE, keep=False)


class Malicious:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_a_pickle_in_an_archive_is_never_executed(results, data, tmp_path):
    mark = tmp_path / "mark"
    evil = io.BytesIO()
    pickle.dump(Malicious(mark), evil, protocol=2)
    pickle.loads(evil.getvalue())
    assert mark.exists()
    mark.unlink()

    add_run(results, RUN, read_prepared(data).checksum, evil.getvalue())
    add_classifier(results, evil.getvalue())
    shutil.copy(data / "dataset.json", results / "data/digits")
    here = imported(results, tmp_path / "here")
    run = restored(here, data)
    with pytest.raises(UserError, match=r"cannot load .*weights.pt: "):
        encode.main(
            [
                "--run", str(run / "run.json"), "--weights", str(run / "weights.pt"),
                "--data", str(data), "--output", str(tmp_path / "posterior.npz"),
            ]
        )  # fmt: skip
    features = restored_classifier(here, data)
    with pytest.raises(UserError, match=r"weights.pt is missing or damaged \(Weights only"):
        open_features(features, train.set_up("cpu", 1))
    assert not mark.exists() and not (tmp_path / "posterior.npz").exists()
