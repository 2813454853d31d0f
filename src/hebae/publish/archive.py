"""Finished runs in one file, for another machine: ``python -m hebae.publish.archive --help``.

An archive is a plain tar, as weights do not compress. Its first member, ``manifest.json``, lists
every other one with size and SHA-256: each run's weights, history and record, the tables, the
checksums of the prepared data, the classifiers that distances are taken with. Images, which are
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
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import hebae
from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.text import counted
from hebae.config.run import Run, differences, read_run
from hebae.training import RUN_FILES

FORMAT = 1
MANIFEST = "manifest.json"
CLASSIFIER_FILES = ("weights.pt", "features.json")  # the last one says that the others are whole

LABEL = "[A-Za-z0-9][A-Za-z0-9_-]*"  # of experiments, datasets and models, as in the schema
MEMBER = re.compile(
    rf"runs/{LABEL}/{LABEL}/z[0-9]+/w[0-9][0-9.e+-]*(/n[0-9]+)?/s[0-9]+"
    rf"/({'|'.join(map(re.escape, RUN_FILES))})"
    r"|tables/[a-z0-9_]+\.csv"
    rf"|data/{LABEL}/dataset\.json"
    rf"|features/{LABEL}/classifier/({'|'.join(map(re.escape, CLASSIFIER_FILES))})"
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
                fields["experiment"], contents, fields["hebae"], tuple(fields["commits"])
            )
            if not re.fullmatch(LABEL, manifest.experiment):
                raise ValueError(f"no name of an experiment: {manifest.experiment!r:.80}")
            if not all(map(str.isprintable, (manifest.hebae, *manifest.commits))):
                raise ValueError("a version or commit that is none")
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


def _run_folders(results: Path) -> tuple[list[Path], int]:
    """The folders of finished runs, sorted, and how many runs are not finished."""
    runs = results / "runs"
    folders = {path.parent for name in RUN_FILES for path in runs.rglob(name)}
    finished = sorted(folder for folder in folders if (folder / "run.json").exists())
    return finished, len(folders) - len(finished)


def _check_weights(folder: Path, record: str, remedy: str) -> None:
    """Compare a folder's weights with the SHA-256 in its record. Raises UserError."""
    weights = folder / "weights.pt"
    try:
        expected = json.loads((folder / record).read_bytes())["weights_sha256"]
        if files.sha256(weights) != expected:
            raise ValueError(f"its SHA-256 is not the one in {record}")
    except FileNotFoundError:
        raise UserError(f"{weights} is missing; {remedy}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{weights} is damaged ({error}); {remedy}") from None


def _check_run(folder: Path, runs: Path) -> dict[str, Any]:
    """The record of a finished run. Raises UserError where the folder is not that run."""
    run, record = read_run(folder / "run.json")
    remedy = f"delete {folder}, and it is trained again"
    if runs / run.path != folder:
        raise UserError(f"{folder / 'run.json'} is the record of {run.path}; {remedy}")
    _check_weights(folder, "run.json", remedy)
    if not (folder / "history.csv").is_file():
        raise UserError(f"{folder / 'history.csv'} is missing; {remedy}")
    return record


def _classifier_folders(results: Path) -> Iterator[Path]:
    """The folders of trained classifiers, checked. Raises UserError."""
    for record in results.glob("features/*/classifier/features.json"):
        dataset = record.parents[1].name
        remedy = f"delete {record.parent}, and it is trained again"
        _check_weights(record.parent, record.name, remedy)
        # without it nobody could tell whether they have the images it was trained on
        manifest = results / "data" / dataset / "dataset.json"
        if not manifest.is_file():
            raise UserError(f"{manifest} is missing; snakemake {manifest} makes it")
        yield record.parent


def contents(results: Path) -> tuple[Manifest, int]:
    """What an archive of ``results/<experiment>`` holds, and how many runs are left out.

    Left out are runs that are not finished.

    Raises:
        UserError: naming a run that is damaged; or where there is none.
    """
    experiment = results.absolute().name
    if not results.is_dir() or not re.fullmatch(LABEL, experiment):
        raise UserError(f"{results}: not the results of an experiment; say results/<experiment>")
    folders, unfinished = _run_folders(results)
    if not folders:
        raise UserError(f"{results}: there is no finished run to export")
    records = [_check_run(folder, results / "runs") for folder in folders]
    paths = [folder / name for folder in folders for name in RUN_FILES]
    for folder in _classifier_folders(results):
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
    )
    return Manifest.from_bytes(manifest.to_bytes(), results), unfinished  # as it will be read


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
    manifest, unfinished = contents(results)
    write_archive(manifest, results, output)
    left_out = f" ({unfinished} unfinished left out)" if unfinished else ""
    return (
        f"{output}: {counted(len(manifest.runs), 'run')}{left_out}, {output.stat().st_size} bytes, "
        f"SHA-256 {files.sha256(output)}"
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


def _difference(folder: Path, manifest: Manifest) -> str | None:
    """What in an imported folder is not as in the archive; None where nothing is."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    expected = {MANIFEST, *manifest.files}
    if other := found ^ expected:
        return min(other)
    if (folder / MANIFEST).read_bytes() != manifest.to_bytes():
        return MANIFEST
    changed = (name for name, file in manifest.files.items() if read(folder, name, file) is None)
    return next(changed, None)


def read(folder: Path, name: str, file: File) -> bytes | None:
    """The content of an imported file; None where it is not what the manifest says."""
    path = folder / name
    if path.stat().st_size != file.size:
        return None
    content = path.read_bytes()
    return content if hashlib.sha256(content).hexdigest() == file.sha256 else None


def import_archive(archive: Path, output: Path) -> str:
    """Extract an archive to a folder of the experiment's name in `output`, whole or not at all.

    Returns:
        Lines that say what was done, and what to do next.

    Raises:
        UserError: where the archive is not right, or the folder is there and holds anything else.
    """
    output.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix=".import-", dir=output))
    temporary = private / "archive"
    try:
        temporary.mkdir()
        manifest = read_archive(archive, temporary)
        (temporary / MANIFEST).write_bytes(manifest.to_bytes())
        folder = output / manifest.experiment
        done = "imported"
        if folder.exists():
            if different := _difference(folder, manifest):
                raise UserError(
                    f"{folder} is there and not the same ({different}); move it away or delete "
                    "it, then import again"
                )
            done = "there already, and the same"
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return (
        f"{folder}: {counted(len(manifest.runs), 'run')} {done}; "
        "to measure and draw without training:\n"
        "snakemake --cores 2 --configfile CONFIG --config runs=restore"
    )


def verify(archive: Path) -> str:
    """Read an archive and compare every checksum; a line that says so."""
    manifest = read_archive(archive)
    trained = ", trained at " + ", ".join(manifest.commits) if manifest.commits else ""
    return (
        f"{archive}: {counted(len(manifest.runs), 'run')} of {manifest.experiment}{trained}; "
        "all checksums are right"
    )


# What the workflow asks of an imported folder


def imported_manifest(folder: Path) -> Manifest:
    """The manifest of an imported folder. Raises UserError."""
    path = folder / MANIFEST
    try:
        return Manifest.from_bytes(path.read_bytes(), path)
    except OSError:
        raise UserError(
            f"{folder}: no archive was imported here; make import ARCHIVE=…, "
            "or train with runs=train"
        ) from None


def difference(trained: Run, asked: Run) -> str | None:
    """The first key in which two runs differ, in words; None where they are the same."""
    found = differences(*(json.loads(run.to_json()) for run in (trained, asked)))
    return next(
        (f"trained with {key} {was}, the config says {says}" for key, was, says in found), None
    )


def read_record(path: Path, asked: Run) -> dict[str, Any]:
    """The record of a finished run. Raises UserError where it was trained otherwise than asked."""
    trained, record = read_run(path)
    if different := difference(trained, asked):
        raise UserError(f"{path}: {different}; change the config, or train with runs=train")
    return record


def check_imported(folder: Path, runs: Sequence[Run], classifiers: Iterable[str]) -> None:
    """Whether an imported folder has these runs, and classifiers of these datasets.

    Looks at names and records alone, so it may be asked at the door; :mod:`hebae.publish.restore`
    compares the checksums.

    Raises:
        UserError: naming what is missing, or the first run that was trained otherwise.
    """
    manifest = imported_manifest(folder)
    missing = [
        run.path
        for run in runs
        if not _has(folder, manifest, [f"runs/{run.path}/{name}" for name in RUN_FILES])
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"{folder} lacks {len(missing)} of {counted(len(runs), 'run')}: "
            f"{', '.join(missing[:3])}{more}; runs=train trains what is not there"
        )
    for dataset in classifiers:
        names = [f"features/{dataset}/classifier/{name}" for name in CLASSIFIER_FILES]
        if not _has(folder, manifest, [*names, f"data/{dataset}/dataset.json"]):
            raise UserError(
                f"{folder} lacks the classifier of {dataset}, which its fid is taken with; "
                "runs=train trains it"
            )
    for run in runs:
        read_record(folder / "runs" / run.path / "run.json", run)


def _has(folder: Path, manifest: Manifest, names: Iterable[str]) -> bool:
    return all(name in manifest.files and (folder / name).is_file() for name in names)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.publish.archive", description="Take finished runs to another machine."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    action = actions.add_parser("export", help="put the finished runs of an experiment in a file")
    action.add_argument("--results", type=Path, required=True, help="results/<experiment>")
    action.add_argument("--output", type=Path, required=True, help="the archive, a .tar")
    action = actions.add_parser("import", help="check an archive, and extract it for the workflow")
    action.add_argument("archive", type=Path)
    action.add_argument(
        "--output", type=Path, default=Path("restored"), help="where the workflow looks: restored"
    )
    action = actions.add_parser("verify", help="check an archive and extract nothing")
    action.add_argument("archive", type=Path)
    options = parser.parse_args(arguments)
    if options.action == "export":
        print(export(options.results, options.output))
    elif options.action == "import":
        print(import_archive(options.archive, options.output))
    else:
        print(verify(options.archive))


if __name__ == "__main__":
    command(main)
