"""Take what an archive has in place of a training: ``python -m hebae.publish.restore --help``.

Files are copied as they are, after their checksums, the description of the run and the data it
was trained on are compared with what this machine has. Nothing is unpickled here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.run import Run
from hebae.data.store import MANIFEST, PreparedDataset, read_prepared
from hebae.publish.archive import CLASSIFIER_FILES, imported_manifest, read, read_record
from hebae.training import RUN_FILES


def checked(archive: Path, folder: str, names: Sequence[str]) -> dict[str, bytes]:
    """The content of files of an imported archive, by name, as its manifest describes them.

    Raises:
        UserError: naming the file that is another, or is not there.
    """
    listed = imported_manifest(archive).files
    contents = {}
    for name in names:
        member = f"{folder}/{name}"
        try:
            content = read(archive, member, listed[member])
        except (KeyError, FileNotFoundError):
            raise UserError(
                f"{archive / member}: not in the archive that was imported; runs=train trains it"
            ) from None
        if content is None:
            raise UserError(
                f"{archive / member}: its SHA-256 is not the archive's; delete {archive} and "
                "import the archive again"
            )
        contents[name] = content
    return contents


def check_dataset(path: Path, checksum: object, dataset: PreparedDataset) -> None:
    """Whether something was trained on the images that this machine has. Raises UserError."""
    if checksum != dataset.checksum:
        raise UserError(
            f"{path}: trained on other images than {dataset.name} here (checksum "
            f"{str(checksum)[:12]}, here {dataset.checksum[:12]}); get the same raw files, or "
            "train with runs=train"
        )


def run_files(run: Run, archive: Path, dataset: PreparedDataset) -> dict[str, bytes]:
    """The files of a run, from an imported archive.

    Raises:
        UserError: where the archive's run is damaged, another one, or trained on other images.
    """
    contents = checked(archive, f"runs/{run.path}", RUN_FILES)
    path = archive / "runs" / run.path / "run.json"
    record = read_record(path, run)
    check_dataset(path, record.get("dataset_checksum"), dataset)
    for key, value in (
        ("weights_sha256", hashlib.sha256(contents["weights.pt"]).hexdigest()),
        ("image_shape", list(dataset.image_shape)),
    ):
        if record.get(key) != value:
            raise UserError(
                f"{path}: its {key} is {json.dumps(record.get(key)):.80}, not {json.dumps(value)}; "
                "runs=train trains it here"
            )
    return contents


def classifier_files(label: str, archive: Path, dataset: PreparedDataset) -> dict[str, bytes]:
    """The files of the classifier of a dataset of this label, with which distances are taken.

    Raises:
        UserError: where it is damaged, or was trained on other images.
    """
    contents = checked(archive, f"features/{label}/classifier", CLASSIFIER_FILES)
    data = checked(archive, f"data/{label}", [MANIFEST])[MANIFEST]
    try:
        checksum = json.loads(data)["checksum"]
    except (ValueError, TypeError, KeyError):
        checksum = None
    check_dataset(archive / "data" / label / MANIFEST, checksum, dataset)
    return contents


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.publish.restore",
        description="Copy from an imported archive what it trained.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", help="a run as JSON (hebae.config.run.Run)")
    what.add_argument("--classifier", help="label of the dataset whose classifier it is")
    parser.add_argument("--archive", type=Path, required=True, help="the imported folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)

    dataset = read_prepared(options.data)
    if options.run is not None:
        contents = run_files(Run.from_json(options.run), options.archive, dataset)
    else:
        contents = classifier_files(options.classifier, options.archive, dataset)
    for name, content in contents.items():  # the last one says that the others are whole
        files.write_bytes(options.output / name, content)


if __name__ == "__main__":
    command(main)
