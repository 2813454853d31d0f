"""Take what an archive has in place of a training: ``python -m hebae.publish.restore --help``.

Files are copied as they are, after their checksums, the description of the run and the data it
was trained on are compared with what this machine has. Nothing is unpickled here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.run import Run, read_run
from hebae.data.store import MANIFEST, PreparedDataset, read_prepared
from hebae.publish.archive import (
    CLASSIFIER_FILES,
    RUN_FILES,
    difference,
    imported_manifest,
    read,
)


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


def check_record(path: Path, record: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare fields of a record with what they should be. Raises UserError."""
    for key, value in expected.items():
        if record.get(key) != value:
            raise UserError(
                f"{path}: its {key} is {json.dumps(record.get(key)):.80}, not {json.dumps(value)}; "
                "runs=train trains it here"
            )


def check_dataset(path: Path, checksum: object, dataset: PreparedDataset) -> None:
    """Whether something was trained on the images that this machine has. Raises UserError."""
    if checksum != dataset.checksum:
        raise UserError(
            f"{path}: trained on other images than {dataset.name} here (checksum "
            f"{str(checksum)[:12]}, here {dataset.checksum[:12]}); get the same raw files, or "
            "train with runs=train"
        )


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files in the order given: the last one says that the others are whole."""
    for name, content in contents.items():
        files.write_bytes(folder / name, content)


def restore_run(run: Run, archive: Path, dataset: PreparedDataset, output: Path) -> None:
    """Copy a run from an imported archive to its folder.

    Raises:
        UserError: where the archive's run is damaged, another one, or trained on other images.
    """
    contents = checked(archive, f"runs/{run.path}", RUN_FILES)
    path = archive / "runs" / run.path / "run.json"
    trained, record = read_run(path)
    if different := difference(trained, run):
        raise UserError(f"{path}: {different}; change the config, or train with runs=train")
    check_dataset(path, record.get("dataset_checksum"), dataset)
    sha256 = hashlib.sha256(contents["weights.pt"]).hexdigest()
    shape = list(dataset.image_shape)
    check_record(path, record, {"weights_sha256": sha256, "image_shape": shape})
    write(output, contents)


def restore_classifier(label: str, archive: Path, dataset: PreparedDataset, output: Path) -> None:
    """Copy the classifier of a dataset of this label, with which distances are taken.

    Raises:
        UserError: where it is damaged, or was trained on other images.
    """
    contents = checked(archive, f"features/{label}/classifier", CLASSIFIER_FILES)
    data = checked(archive, f"data/{label}", [MANIFEST])[MANIFEST]
    path = archive / "data" / label / MANIFEST
    try:
        checksum = json.loads(data)["checksum"]
    except (ValueError, TypeError, KeyError):
        checksum = None
    check_dataset(path, checksum, dataset)
    write(output, contents)


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
        restore_run(Run.from_json(options.run), options.archive, dataset, options.output)
    else:
        restore_classifier(options.classifier, options.archive, dataset, options.output)


if __name__ == "__main__":
    command(main)
