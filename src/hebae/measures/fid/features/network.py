"""A network for features, in a folder of its own: ``weights.pt`` and ``features.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from hebae.base import files
from hebae.base.errors import UserError
from hebae.base.progress import Progress
from hebae.config.registry import FEATURES, lookup, resolve
from hebae.measures.fid.frechet import Moments

WEIGHTS = "weights.pt"
RECORD = "features.json"  # written last


@dataclass(frozen=True)
class FeaturesRecord:
    """The description of features: the content of ``features.json``."""

    features: str  # a name in hebae.config.registry.FEATURES
    n_features: int
    weights_sha256: str
    dataset: str | None  # what the network was trained on, if that is one of our datasets
    accuracy: float | None  # on its test split, averaged over the factors
    accuracies: dict[str, float] | None  # of each factor
    preprocessing: str
    decides: dict[str, Any] | None = None  # what decided its training, if it was trained here
    kept: dict[str, Any] | None = None  # what was asked for, if another training was kept

    @property
    def label(self) -> str:
        """The name in tables. Distances in features with different labels do not compare."""
        return self.features if self.dataset is None else f"{self.features} of {self.dataset}"


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A feature network on a device, ready to be called."""

    record: FeaturesRecord
    network: nn.Module
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of images: uint8 (n, height, width, channels) to float32 (n, n_features).

        Memory does not grow with the number of images.
        """
        chunks = images.split(self.network.chunk)
        return torch.cat([self.network(chunk.to(self.device)).float() for chunk in chunks])


def write_features(folder: Path, weights: BinaryIO, **fields: Any) -> FeaturesRecord:
    """Write a folder of features; `fields` are those of its record, without the checksum."""
    # nobody must find the old file while we write, or after we were killed
    (folder / RECORD).unlink(missing_ok=True)
    with files.replacing(folder / WEIGHTS) as stream:
        shutil.copyfileobj(weights, stream)
    record = FeaturesRecord(weights_sha256=files.sha256(folder / WEIGHTS), **fields)
    files.write_json(folder / RECORD, asdict(record))
    return record


def read_record(folder: Path) -> FeaturesRecord:
    """Read the record of a folder of features. Raises UserError if it is missing or damaged."""
    path = folder / RECORD
    try:
        record = FeaturesRecord(**json.loads(path.read_bytes()))
        if type(record.n_features) is not int or not isinstance(record.weights_sha256, str):
            raise ValueError("fields of the wrong type")
    except PermissionError:
        raise  # which is no damage
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from None
    return record


def open_features(folder: Path, device: torch.device) -> FeatureNet:
    """The feature network in a folder. Raises UserError if it is missing, damaged or changed."""
    record = read_record(folder)
    load = resolve(lookup(FEATURES, "features", record.features).function)
    path = folder / WEIGHTS
    try:
        if files.sha256(path) != record.weights_sha256:
            raise ValueError(f"its SHA-256 is not the one in {RECORD}")
        network = load(path)
    except PermissionError:
        raise
    except Exception as error:  # PyTorch does not document what reading may raise
        raise _unreadable(path, error) from None
    return FeatureNet(record, network.eval().to(device), device)


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"{path} is missing or damaged ({reason}); delete {path.parent} and make it again"
    )


def feature_moments(net: FeatureNet, chunks: Iterable[Tensor], total: int, what: str) -> Moments:
    """Moments of the features of `total` images that come in chunks."""
    moments = Moments(net.record.n_features)
    with Progress(what, total, "image", every=30) as progress:
        for images in chunks:
            moments.add(net(images).cpu().numpy())
            progress.advance(len(images))
    return moments
