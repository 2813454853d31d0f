"""The store of finished trainings, each under a key of what decided it.

A finished training is a folder ``results/.trained/<key>`` with its files. They are hard links to
the files of the run, so they take no space. The key is a hash of what decides a training: its
config, the images and their split, the code, the versions and the kind of device. The same training
is never repeated but taken from this folder.

Planning a workflow uses this module too, so it needs neither PyTorch nor NumPy.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from hebae.base import files, sources
from hebae.base.errors import UserError
from hebae.config.registry import FEATURES, TRAINED_FEATURES
from hebae.config.run import Run, described, differences
from hebae.training import CLASSIFIER_FILES, RUN_FILES, SOURCES

FOLDER = ".trained"
"""The folder of the store, in the folder of results. No experiment's name begins with a dot."""

Decides = dict[str, Any]
"""What decides a training. ``config`` describes it, ``data`` is the checksum of the prepared
dataset, and ``code`` has a hash of each source file. ``versions``, ``device`` and ``precision`` say
what computed it. An unknown value is None, which counts as equal."""


class Machine(NamedTuple):
    """The versions, device and precision of trainings, as far as they are known."""

    versions: dict[str, str] | None
    device: str | None
    """cpu or cuda."""
    precision: str | None
    """The precision of networks if a config leaves it to the device."""


def installed() -> dict[str, str] | None:
    """The versions that trainings depend on; None if PyTorch is not installed."""
    try:
        return {name: metadata.version(name) for name in ("torch", "numpy")}
    except metadata.PackageNotFoundError:
        return None


def of_run(run: Run, checksum: str | None, machine: Machine) -> Decides:
    """What decides the training of a run.

    The labels of the dataset and the model are only names, and decide nothing.
    """
    fields = json.loads(run.to_json())
    config = {name: value for name, value in fields.items() if name not in ("dataset", "model")}
    entries = hashlib.sha256(str(run.entries).encode()).hexdigest()[:16]
    code = sources.digests([*SOURCES, *run.modules]) | {"config/registry.py": entries}
    precision = run.training.precision
    return _decides(
        config, checksum, code, machine, machine.precision if precision == "auto" else precision,
        subset=run.n_train is not None,
    )  # fmt: skip


def of_features(name: str, checksum: str | None, machine: Machine) -> Decides:
    """What decides the training of a dataset's feature network, by its name in the registry."""
    module = FEATURES[name].function.partition(":")[0]
    code = sources.digests([module])
    return _decides({name: True}, checksum, code, machine, "float32", subset=True)


def _decides(
    config: Mapping[str, Any],
    checksum: str | None,
    code: Mapping[str, str],
    machine: Machine,
    precision: str | None,
    subset: bool,
) -> Decides:
    versions = machine.versions
    if versions is not None and not subset:
        # without NumPy, which only chooses images
        versions = {name: version for name, version in versions.items() if name != "numpy"}
    return {
        "config": config,
        "data": checksum,
        "code": code,
        "versions": versions,
        "device": machine.device,
        "precision": precision,
    }


def key_of(decides: Mapping[str, Any]) -> str:
    """The key of a finished training, from what decides it."""
    return hashlib.sha256(json.dumps(_plain(decides), sort_keys=True).encode()).hexdigest()[:24]


def _plain(value: Any) -> Any:
    """A value in which 1 and 1.0 are the same, as in a comparison."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def of_record(record: Mapping[str, Any]) -> Decides:
    """What decided a finished training, from its ``run.json`` or ``features.json``.

    Earlier versions of this package, which kept no trainings, did not record it. The code of their
    trainings is unknown, and the commit replaces it.

    Raises:
        UserError: if it is no such record.
    """
    if (decides := record.get("decides")) is not None:
        return _checked(decides)
    if (name := record.get("features")) in TRAINED_FEATURES:
        unknown = Machine(None, None, None)
        return of_features(name, record.get("dataset_checksum"), unknown) | {"code": {}}
    run = Run.from_record(record)
    device = record.get("device")
    kind = None if device is None else "cpu" if device == "cpu" else "cuda"
    versions = record.get("versions") or {}
    known = {name: versions[name] for name in ("torch", "numpy") if name in versions}
    machine = Machine(known or None, kind, record.get("precision"))
    decides = of_run(run, record.get("dataset_checksum"), machine)
    return decides | {"code": {"commit": record.get("commit") or "unknown"}}


def _checked(decides: Any) -> Decides:
    """Check what a record says; it may come from an archive. Raises UserError."""
    texts = ("data", "device", "precision")
    mappings = ("config", "code", "versions")
    if (
        not isinstance(decides, dict)
        or set(decides) != {*texts, *mappings}
        or not all(isinstance(decides[name], str | None) for name in texts)
        or not all(isinstance(decides[name], dict | None) for name in mappings)
        or None in (decides["config"], decides["code"])
    ):
        raise UserError("not what decides a training")
    return decides


def unlike(there: Decides, here: Decides) -> list[str]:
    """What differs between what decides two trainings, in words; empty if they are the same.

    Args:
        there: what decided a finished training.
        here: what decides the training that is asked for. None in either is not compared.
    """
    found = [
        f"{name} was {was}, is now {says}"
        for name, was, says in differences(there["config"], here["config"])
    ]
    for name in ("device", "precision"):
        was, says = there.get(name), here.get(name)
        if None not in (was, says) and was != says:
            found.append(f"{name} was {was}, is now {says}")
    if None not in (there.get("versions"), here.get("versions")):
        for name, was, says in differences(there["versions"], here["versions"]):
            found.append(f"{name} was {was}, is now {says}".replace('"', ""))
    if None not in (there.get("data"), here.get("data")) and there["data"] != here["data"]:
        found.append("other images or another split")
    if other := _other_files(there["code"], here["code"]):
        found.append(other)
    return found


def same_question(there: Decides, here: Decides) -> bool:
    """Whether two trainings have the same config and images, whatever computed them."""
    asked = {name: here[name] for name in here if name not in ("config", "data")}
    return not unlike(there | asked, here)


def _other_files(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    if not there or "commit" in there:
        return "code of an earlier version" if there != here else ""
    other = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    more = f" and {len(other) - 3} more" if len(other) > 3 else ""
    return f"other code in {', '.join(other[:3])}{more}" if other else ""


# Finished trainings in folders


@dataclass(frozen=True)
class Finished:
    """A finished training in a folder, which may be that of a run or one in the store."""

    folder: Path
    names: tuple[str, ...]
    """The names of its files; the last one is the record."""
    record: dict[str, Any]
    decides: Decides

    @property
    def key(self) -> str:
        return key_of(self.decides)

    @property
    def seconds(self) -> float:
        """How long the training took, in seconds."""
        return float(self.record.get("training_seconds") or 0)

    @property
    def label(self) -> str:
        """Its folder below ``results/<experiment>`` at the time of the training."""
        if "run" in self.record:
            return f"runs/{Run.from_record(self.record).path}"
        return f"features/{self.record.get('dataset')}/{self.record.get('features')}"

    def agreed(self, asked: Decides) -> bool:
        """Whether the user has agreed to keep it instead of what is asked for."""
        try:
            return not unlike(_checked(self.record["kept"]["asked"]), asked)
        except (LookupError, TypeError, UserError):
            return False

    def intact(self) -> bool:
        """Whether its files match the record; reads all of them."""
        sums = {"weights.pt": "weights_sha256", "history.csv": "history_sha256"}
        try:
            return all(
                files.sha256(self.folder / name) == self.record.get(sums[name])
                for name in self.names[:-1]
                # earlier versions recorded only the checksum of the weights
                if sums[name] in self.record or name == "weights.pt"
            )
        except OSError:
            return False


def read(folder: Path, whole: bool = True) -> Finished | None:
    """The finished training in a folder; None if there is none.

    Args:
        whole: whether all its files have to be there, or only the record.
    """
    for names in (RUN_FILES, CLASSIFIER_FILES):
        try:
            record = json.loads((folder / names[-1]).read_bytes())
            if not whole or all((folder / name).is_file() for name in names):
                return Finished(folder, names, record, of_record(record))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, UserError):
            continue
    return None


class Store:
    """The store of finished trainings in a folder of results.

    Args:
        results: the folder of all experiments.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / FOLDER

    def keep(self, finished: Finished, copy: bool = False) -> Finished | None:
        """Add a finished training to the store; None if that is not possible.

        Args:
            finished: the training; it may be in the store already.
            copy: whether to copy its files, because they will not stay where they are.
        """
        key = finished.key
        if kept := self.get(key):
            return kept
        new = self.folder / f".{key}.{files.HOST}.{os.getpid()}"
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            for name in finished.names:
                _copy(finished.folder / name, new / name, link=not copy)
            _without_keeping(new / finished.names[-1])
            try:
                new.rename(self.folder / key)
            except OSError:
                if kept := self.get(key):  # another process added it first
                    return kept
                shutil.rmtree(self.folder / key, ignore_errors=True)  # an incomplete one
                new.rename(self.folder / key)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return self.get(key)  # the folder belongs to another user
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return self.get(key)

    def get(self, key: str) -> Finished | None:
        """The training with this key, if it is in the store with all its files."""
        return read(self.folder / key)

    def all(self) -> Iterator[Finished]:
        """All trainings in the store."""
        with contextlib.suppress(OSError):
            for folder in sorted(self.folder.iterdir()):
                if not folder.name.startswith(".") and (finished := read(folder)):
                    yield finished

    def lock(self, decides: Decides) -> Path:
        """The lock file of the process that trains it."""
        return self.folder / f".{key_of(decides)}.lock"

    def alike(self, asked: Decides) -> list[Finished]:
        """The trainings with the same config and images, the most similar first."""
        same = [each for each in self.all() if same_question(each.decides, asked)]
        return sorted(same, key=lambda each: (len(unlike(each.decides, asked)), each.key))

    def drop(self, key: str) -> None:
        """Remove a training from the store."""
        shutil.rmtree(self.folder / key, ignore_errors=True)


def take(
    finished: Finished, output: Path, run: Run | None = None, asked: Decides | None = None
) -> bool:
    """Put a training from the store into the place where it is asked for; False if it is damaged.

    Args:
        finished: the training in the store.
        output: folder of the run or feature network.
        run: the run that gives the labels of dataset and model; None leaves them as they are.
        asked: what was asked for. If it differs, the record says so under ``kept``, with the
            differences.
    """
    if not finished.intact():
        return False
    record = dict(finished.record)
    content = {name: None for name in finished.names}
    if run is not None:
        fields = described(record)
        labels = {"dataset": run.dataset, "model": run.model}
        if fields | labels != fields:
            record["run"] = {**fields, **labels}
            history = _labelled(
                (finished.folder / "history.csv").read_text(encoding="utf-8"), labels
            )
            content["history.csv"] = history.encode()
            record["history_sha256"] = hashlib.sha256(content["history.csv"]).hexdigest()
    if asked is not None and (other := unlike(finished.decides, asked)):
        record["kept"] = {"differs": other, "asked": asked}
    if record != finished.record:
        content[finished.names[-1]] = files.json_bytes(record)
    for name, written in content.items():  # the record is written last
        if written is None:
            output.mkdir(parents=True, exist_ok=True)
            _copy(finished.folder / name, output / name, link=True)
        else:
            files.write_bytes(output / name, written)
    return True


def _copy(source: Path, target: Path, link: bool) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    new = target.with_name(f".{target.name}.{files.HOST}.{os.getpid()}.part")
    new.unlink(missing_ok=True)
    try:
        if link:
            with contextlib.suppress(OSError):
                os.link(source, new)
        if not new.exists():
            shutil.copyfile(source, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _without_keeping(record: Path) -> None:
    """Remove the note ``kept`` from a record."""
    fields = json.loads(record.read_bytes())
    if fields.pop("kept", None) is not None:
        files.write_json(record, fields)


def _labelled(history: str, labels: Mapping[str, str]) -> str:
    rows = csv.DictReader(io.StringIO(history))
    return files.csv_text(row | labels for row in rows)
