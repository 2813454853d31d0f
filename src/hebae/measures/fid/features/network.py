"""Features in which images are compared: a network's, in a folder of its own.

The folder has ``weights.pt`` and ``features.json``, written last: see :class:`Record`. Each
network is a module with ``load(weights)``, which returns an ``nn.Module`` from images, uint8
(n, height, width, channels), to features (n, f), and with ``chunk``, the most images it may be
given at once. Which module that is stands in ``hebae.config.registry.FEATURES``; importing one of
them imports no other, so that editing it recomputes its own features alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.registry import FEATURES, lookup, resolve
from hebae.measures.fid.frechet import Moments

WEIGHTS = "weights.pt"
RECORD = "features.json"
REPORT_SECONDS = 30  # between two lines of progress in a log


@dataclass(frozen=True)
class Record:
    """What features are: the content of ``features.json``."""

    features: str  # a name in hebae.config.registry.FEATURES
    n_features: int
    weights_sha256: str
    dataset: str | None  # what the network was trained on, where that is one of ours
    accuracy: float | None  # on its test split, mean over the factors
    accuracies: dict[str, float] | None  # of each factor
    preprocessing: str

    @property
    def label(self) -> str:
        """As it stands in tables: distances in features of another label do not compare."""
        return self.features if self.dataset is None else f"{self.features} of {self.dataset}"


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A feature network on a device, ready to be called."""

    record: Record
    network: nn.Module
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images: uint8 (n, height, width, channels) to float32 (n, n_features).

        Memory is bounded however many images there are.
        """
        chunks = images.split(self.network.chunk)
        return torch.cat([self.network(chunk.to(self.device)).float() for chunk in chunks])


def write(folder: Path, weights: BinaryIO, **fields: Any) -> Record:
    """Write a folder of features; `fields` are those of :class:`Record` but the checksum."""
    # whoever reads while we write, or after we were killed, must not find the old one
    (folder / RECORD).unlink(missing_ok=True)
    with files.replacing(folder / WEIGHTS) as stream:
        shutil.copyfileobj(weights, stream)
    record = Record(weights_sha256=files.sha256(folder / WEIGHTS), **fields)
    files.write_json(folder / RECORD, asdict(record))
    return record


def read_record(folder: Path) -> Record:
    """What the features in a folder are. Raises UserError if that is missing or damaged."""
    path = folder / RECORD
    try:
        record = Record(**json.loads(path.read_bytes()))
        if type(record.n_features) is not int or not isinstance(record.weights_sha256, str):
            raise ValueError("fields of the wrong type")
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from None
    return record


def open(folder: Path, device: torch.device) -> FeatureNet:
    """The feature network in a folder. Raises UserError if it is missing, damaged or changed."""
    record = read_record(folder)
    load = resolve(lookup(FEATURES, "features", record.features).function)
    path = folder / WEIGHTS
    try:
        if files.sha256(path) != record.weights_sha256:
            raise ValueError(f"its SHA-256 is not the one in {RECORD}")
        network = load(path)
    except Exception as error:  # PyTorch states no list of what reading may raise
        raise _unreadable(path, error) from None
    return FeatureNet(record, network.eval().to(device), device)


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"{path} is missing or damaged ({reason}); delete {path.parent} and make it again"
    )


def feature_moments(net: FeatureNet, chunks: Iterable[Tensor], total: int, what: str) -> Moments:
    """Moments of the features of images that come in chunks, `total` in all.

    Progress goes to stderr: a bar at a terminal, a line now and then in a log.
    """
    moments = Moments(net.record.n_features)
    on_terminal = sys.stderr.isatty()
    started = reported = time.monotonic()
    with tqdm(
        desc=what, total=total, unit="image", disable=not on_terminal, dynamic_ncols=True
    ) as bar:
        for images in chunks:
            moments.add(net(images).cpu().numpy())
            bar.update(len(images))
            now = time.monotonic()
            if not on_terminal and (now - reported >= REPORT_SECONDS or moments.count == total):
                reported = now
                left = (now - started) * (total / moments.count - 1)
                print(
                    f"{what}: {moments.count}/{total} images  {left:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
    return moments
