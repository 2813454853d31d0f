"""Finished runs in one file, for another machine: ``python -m hebae.publish.archive --help``.

An archive is a plain tar, as weights do not compress. Its first member, ``manifest.json``, lists
every other one with size and SHA-256: each run's weights, history and record, the tables, the
checksums of the prepared data, the networks that distances are taken with. Images, which are
not ours to hand on, are not in it. The same results make the same bytes, wherever they lie.

Reading trusts nothing: a member is a plain file that the manifest lists, or an error.
:mod:`tarfile` reads the headers and the content, and writes nothing: its filters would let pass
links, folders and extended headers, which our archives do not have.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import hebae
from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.text import counted
from hebae.config.registry import TRAINED_FEATURES
from hebae.config.run import read_run
from hebae.training import CLASSIFIER_FILES, RUN_FILES
from hebae.training.finished import Finished, Store, of_record, read
from hebae.training.plan import read_plan

FORMAT = 1
MANIFEST = "manifest.json"
LABEL = "[A-Za-z0-9][A-Za-z0-9_-]*"  # of experiments, datasets and models, as in the schema
MEMBER = re.compile(
    rf"runs/{LABEL}/{LABEL}/z[0-9]+/w[0-9][0-9.e+-]*(/n[0-9]+)?/s[0-9]+"
    rf"/({'|'.join(map(re.escape, RUN_FILES))})"
    r"|tables/[a-z0-9_]+\.csv"
    rf"|data/{LABEL}/dataset\.json"
    rf"|features/{LABEL}/({'|'.join(TRAINED_FEATURES)})"
    rf"/({'|'.join(map(re.escape, CLASSIFIER_FILES))})"
)
SHA256 = re.compile("[0-9a-f]{64}")

CHUNK = 1 << 20
LARGEST_MANIFEST = 1 << 26  # a hundred thousand runs


class File(NamedTuple):
    """Size in bytes and SHA-256, in hexadecimal, of a file's content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an archive holds: the content of ``manifest.json``."""

    experiment: str
    files: dict[str, File]
    """Of every member but the manifest, by its path below ``results/<experiment>``."""
    hebae: str
    """Version of the package that wrote the archive."""
    commits: tuple[str, ...]
    """Those at which the runs were trained, where their records name one."""
    left_out: tuple[str, ...] = ()
    """Runs of the experiment that were not finished."""

    @property
    def runs(self) -> list[str]:
        """Folders of the runs, as in :attr:`hebae.config.run.Run.path`."""
        ends = "/run.json"
        return [
            name.removeprefix("runs/").removesuffix(ends)
            for name in self.files
            if name.endswith(ends)
        ]

    def to_bytes(self) -> bytes:
        """As it stands in the archive."""
        document = {
            "format": FORMAT,
            "experiment": self.experiment,
            "hebae": self.hebae,
            "commits": self.commits,
            "files": {name: file._asdict() for name, file in self.files.items()},
        }
        if self.left_out:  # earlier versions know no such list
            document["left_out"] = self.left_out
        # of the rest: nothing else would tell that a name or a commit has changed
        document["sha256"] = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Manifest:
        """Read what :meth:`to_bytes` wrote; `path` is for messages.

        Raises:
            UserError: where it is another format, is damaged, or lists a file that no archive has.
        """
        try:
            fields = json.loads(content)
            if (version := fields["format"]) != FORMAT:
                raise UserError(
                    f"{path}: its format is {version!r:.20}, and this version reads {FORMAT}; "
                    "import it with the version of hebae that exported it"
                )
            contents = {name: File(**file) for name, file in fields["files"].items()}
            manifest = cls(
                fields["experiment"],
                contents,
                fields["hebae"],
                tuple(fields["commits"]),
                tuple(fields.get("left_out", ())),
            )
            if not re.fullmatch(LABEL, manifest.experiment):
                raise ValueError(f"no name of an experiment: {manifest.experiment!r:.80}")
            texts = (manifest.hebae, *manifest.commits, *manifest.left_out)
            if not all(map(str.isprintable, texts)):
                raise ValueError("a version, commit or run that is none")
            for name, (size, sha256) in contents.items():
                if not MEMBER.fullmatch(name):
                    raise ValueError(f"no file of a run: {name!r:.200}")
                if type(size) is not int or size < 0 or not SHA256.fullmatch(sha256):
                    raise ValueError(f"no size and SHA-256 of {name!r}")
            if content != manifest.to_bytes():
                raise ValueError("its own SHA-256 is another; copy the archive again")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{path}: not an archive of runs: {MANIFEST}: {reason}") from None
        return manifest


# Export


def _run_folders(results: Path) -> tuple[list[Path], list[str]]:
    """The folders of finished runs, sorted, and the runs that are not finished.

    Among these are those that were planned and of which nothing is there.
    """
    runs = results / "runs"
    folders = {path.parent for name in RUN_FILES for path in runs.rglob(name)}
    finished = sorted(folder for folder in folders if (folder / "run.json").exists())
    planned = {*read_plan(results / "plan.json").runs}
    begun = {folder.relative_to(runs).as_posix() for folder in folders}
    left_out = (planned | begun) - {folder.relative_to(runs).as_posix() for folder in finished}
    return finished, sorted(left_out)


def _remedy(path: Path, missing: bool) -> str:
    command = f"snakemake --cores 1 --configfile CONFIG {shlex.quote(str(path))} brings it back"
    return command if missing else f"delete it, and {command}"


def _check_weights(folder: Path, record: str) -> None:
    """Compare a folder's weights with the SHA-256 in its record. Raises UserError."""
    weights = folder / "weights.pt"
    try:
        expected = json.loads((folder / record).read_bytes())["weights_sha256"]
        if files.sha256(weights) != expected:
            raise ValueError(f"its SHA-256 is not the one in {record}")
    except FileNotFoundError:
        raise UserError(f"{weights} is missing; {_remedy(weights, True)}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{weights} is damaged ({error}); {_remedy(weights, False)}") from None


def _check_run(folder: Path, runs: Path) -> dict[str, Any]:
    """The record of a finished run. Raises UserError where the folder is not that run."""
    run, record = read_run(folder / "run.json")
    if runs / run.path != folder:
        raise UserError(
            f"{folder / 'run.json'} is the record of {run.path}; "
            f"{_remedy(folder / 'run.json', False)}"
        )
    _check_weights(folder, "run.json")
    history = folder / "history.csv"
    if not history.is_file():
        raise UserError(f"{history} is missing; {_remedy(history, True)}")
    return record


def _feature_folders(results: Path) -> Iterator[Path]:
    """The folders of trained feature networks, checked. Raises UserError."""
    for record in results.glob("features/*/*/features.json"):
        if record.parent.name not in TRAINED_FEATURES:
            continue
        dataset = record.parents[1].name
        _check_weights(record.parent, record.name)
        # without it nobody could tell whether they have the images it was trained on
        manifest = results / "data" / dataset / "dataset.json"
        if not manifest.is_file():
            raise UserError(f"{manifest} is missing; {_remedy(manifest, True)}")
        yield record.parent


def contents(results: Path) -> Manifest:
    """What an archive of ``results/<experiment>`` holds.

    Raises:
        UserError: naming a run that is damaged; or where there is none.
    """
    experiment = results.absolute().name
    if not results.is_dir() or not re.fullmatch(LABEL, experiment):
        raise UserError(f"{results}: not the results of an experiment; say results/<experiment>")
    folders, left_out = _run_folders(results)
    if not folders:
        raise UserError(f"{results}: there is no finished run to export")
    records = [_check_run(folder, results / "runs") for folder in folders]
    paths = [folder / name for folder in folders for name in RUN_FILES]
    for folder in _feature_folders(results):
        paths += [folder / name for name in CLASSIFIER_FILES]
    paths += results.glob("data/*/dataset.json")
    names = {path: path.relative_to(results).as_posix() for path in paths}
    # a table beside ours is somebody's own
    tables = {path: f"tables/{path.name}" for path in results.glob("tables/*.csv")}
    names |= {path: name for path, name in tables.items() if MEMBER.fullmatch(name)}
    manifest = Manifest(
        experiment=experiment,
        files={
            name: File(path.stat().st_size, files.sha256(path))
            for path, name in sorted(names.items(), key=lambda item: item[1])
        },
        hebae=hebae.__version__,
        commits=tuple(sorted({record["commit"] for record in records if record.get("commit")})),
        left_out=tuple(left_out),
    )
    return Manifest.from_bytes(manifest.to_bytes(), results)  # as it will be read


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file with nothing of the machine in its header: no owner, no time."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    try:
        archive.addfile(header, io.BytesIO(content))
    except ValueError as error:  # the header has no room
        raise UserError(f"cannot put {name} in an archive: {error}") from None


def write_archive(manifest: Manifest, results: Path, output: Path) -> None:
    """Write an archive of `results`; `output` is replaced when it is whole."""
    with (
        files.replacing(output) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        _add(archive, MANIFEST, manifest.to_bytes())
        for name, (_, sha256) in manifest.files.items():
            content = (results / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise UserError(
                    f"{results / name} changed while it was exported; wait for snakemake to end"
                )
            _add(archive, name, content)


def export(results: Path, output: Path) -> str:
    """Export all finished runs of ``results/<experiment>``; a line that says what was done."""
    manifest = contents(results)
    write_archive(manifest, results, output)
    return (
        f"{output}: {_counted_runs(manifest)}, {output.stat().st_size} bytes, "
        f"SHA-256 {files.sha256(output)}"
    )


def _counted_runs(manifest: Manifest) -> str:
    """How many runs an archive has, and which of the experiment it lacks."""
    runs, lacks = manifest.runs, manifest.left_out
    if not lacks:
        return counted(len(runs), "run")
    more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
    return (
        f"{len(runs)} of {counted(len(runs) + len(lacks), 'run')} "
        f"(not finished and left out: {', '.join(lacks[:3])}{more})"
    )


# Import


class PlainFile(tarfile.TarInfo):
    """A member's header. Raises tarfile.ReadError for any that is not of a plain file."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> PlainFile:
        # here, before tarfile goes on to read what a header announces of the next one
        header = super().frombuf(buf, encoding, errors)
        if header.type != tarfile.REGTYPE:
            raise tarfile.ReadError(f"its member {header.name!r} is no plain file")
        return header


def read_archive(path: Path, folder: Path | None = None) -> Manifest:
    """Read an archive to its end and check every member; extract it to `folder`, if given.

    `folder` must not hold anything yet. Nothing larger than the manifest says is read of a
    member, and nothing is written but files that the manifest lists.

    Raises:
        UserError: at the first thing that is not as the manifest says.
    """
    try:
        with (
            path.open("rb") as stream,
            tarfile.open(
                fileobj=stream, mode="r:", tarinfo=PlainFile, encoding="utf-8", errors="strict"
            ) as archive,
        ):
            return _read_members(archive, stream, path, folder)
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: is cut short or damaged, or no archive of runs ({error}); copy it again"
        ) from None


def _read_members(
    archive: tarfile.TarFile, stream: BinaryIO, path: Path, folder: Path | None
) -> Manifest:
    members = iter(archive)
    last = next(members, None)
    if last is None or last.name != MANIFEST or not 0 <= last.size <= LARGEST_MANIFEST:
        raise UserError(f"{path}: not an archive of runs: it does not begin with {MANIFEST}")
    manifest = Manifest.from_bytes(archive.extractfile(last).read(), path)
    missing = dict(manifest.files)
    for last in members:
        name = last.name
        if name not in missing:
            again = "comes twice" if name in manifest.files else f"is not in its {MANIFEST}"
            raise UserError(f"{path}: its member {name!r} {again}; nothing was imported")
        size, sha256 = missing.pop(name)
        if last.size != size:
            raise UserError(f"{path}: {name} has {last.size} bytes, not {size}")
        if _copied(archive.extractfile(last), folder, name) != sha256:
            raise UserError(
                f"{path}: the SHA-256 of {name} is not the one in its {MANIFEST}; "
                "copy the archive again"
            )
    # tarfile also ends, without a word, at a header that it cannot read
    end = stream.seek(last.offset_data + last.size + -last.size % tarfile.BLOCKSIZE)
    rest = iter(lambda: stream.read(CHUNK), b"")
    if os.fstat(stream.fileno()).st_size - end < tarfile.BLOCKSIZE or any(map(any, rest)):
        raise tarfile.ReadError("something else than zeros where the archive ends")
    if missing:
        raise UserError(f"{path}: lacks {next(iter(missing))}, which its {MANIFEST} lists")
    return manifest


def _copied(content: io.BufferedReader, folder: Path | None, name: str) -> str:
    """The SHA-256 of a member's content, written to `folder`, if given, on the way."""
    digest = hashlib.sha256()
    with _new_file(folder, name) as copy:
        while chunk := content.raw.read(CHUNK):  # raw: not through a second buffer
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def _new_file(folder: Path | None, name: str) -> BinaryIO:
    """A file that is not there yet, also where names differ by case alone; or a sink."""
    if folder is None:
        return Path(os.devnull).open("wb")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.open("xb")


def _trained(folder: Path, manifest: Manifest, archive: Path) -> list[Finished]:
    """What an extracted archive trained. Raises UserError where a record is not of its files."""
    found = []
    for name in manifest.files:
        if (path := folder / name).name not in (RUN_FILES[-1], CLASSIFIER_FILES[-1]):
            continue
        if path.name == CLASSIFIER_FILES[-1]:
            _note_images(path, folder / "data" / path.parents[1].name / "dataset.json")
        finished = read(path.parent)
        if finished is None:
            raise UserError(f"{archive}: {name} is not the record of a whole training")
        if path.name == RUN_FILES[-1] and finished.label != str(Path(name).parent):
            raise UserError(f"{archive}: {name} is the record of {finished.label}")
        kind = finished.record.get("features")
        if path.name == CLASSIFIER_FILES[-1] and kind != path.parent.name:
            raise UserError(f"{archive}: {name} is the record of {kind} features")
        if not finished.intact():
            raise UserError(f"{archive}: {name} is not the record of the files beside it")
        own = finished.record.get("run", {})
        config = {key: own[key] for key in own if key not in ("dataset", "model")}
        if "decides" in finished.record and own and config != finished.decides["config"]:
            raise UserError(f"{archive}: {name} says two things of how it was trained")
        found.append(finished)
    return found


def _note_images(record: Path, dataset: Path) -> None:
    """Have a network's record name the images: earlier versions left that to the dataset's."""
    try:
        fields = json.loads(record.read_bytes())
        if fields.get("decides") is None:
            checksum = json.loads(dataset.read_bytes())["checksum"]
            decides = of_record(fields | {"dataset_checksum": checksum})
            files.write_json(record, fields | {"decides": decides})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # then it is for unknown images, or no record


def import_archive(archive: Path, results: Path) -> str:
    """Keep what an archive trained among the finished trainings of `results`; all of it or nothing.

    Returns:
        Lines that say what was done, and what to do next.

    Raises:
        UserError: where the archive is not right.
    """
    store = Store(results)
    store.folder.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix=".import-", dir=store.folder))
    try:
        manifest = read_archive(archive, private / "archive")
        trained = _trained(private / "archive", manifest, archive)
        there = {each.key: store.get(each.key) for each in trained}
        for key, kept in there.items():
            if kept is not None and not kept.intact():
                store.drop(key)
        new = sum(store.get(finished.key) is None for finished in trained)
        for finished in trained:
            if store.keep(finished) is None:
                raise UserError(f"{store.folder} cannot be written; make it writable")
    finally:
        shutil.rmtree(private, ignore_errors=True)
    old = f", {len(trained) - new} of which were there already" if new < len(trained) else ""
    return (
        f"{store.folder}: {counted(len(trained), 'finished training')} of "
        f"{manifest.experiment}{old}; to measure and draw without training:\n"
        "snakemake --cores 2 --configfile CONFIG --config runs=restore"
    )


def verify(archive: Path) -> str:
    """Read an archive and compare every checksum; a line that says so."""
    manifest = read_archive(archive)
    trained = ", trained at " + ", ".join(manifest.commits) if manifest.commits else ""
    return (
        f"{archive}: {_counted_runs(manifest)} of {manifest.experiment}{trained}; "
        "all checksums are right"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.publish.archive", description="Take finished runs to another machine."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    action = actions.add_parser("export", help="put the finished runs of an experiment in a file")
    action.add_argument("--results", type=Path, required=True, help="results/<experiment>")
    action.add_argument("--output", type=Path, required=True, help="the archive, a .tar")
    action = actions.add_parser("import", help="check an archive, and keep what it trained")
    action.add_argument("archive", type=Path)
    action.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of all results: results"
    )
    action = actions.add_parser("verify", help="check an archive and extract nothing")
    action.add_argument("archive", type=Path)
    options = parser.parse_args(arguments)
    if options.action == "export":
        print(export(options.results, options.output))
    elif options.action == "import":
        print(import_archive(options.archive, options.results))
    else:
        print(verify(options.archive))


if __name__ == "__main__":
    command(main)
