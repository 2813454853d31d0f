"""Moments of real images' features, for the FID: ``python -m hebae.measures.fid.reference --help``.

They depend on the dataset, the split, the number of images and the feature network, but not on a
run or an experiment. Inception takes minutes to hours for them, so they are kept in a cache, under
a hash of everything that decides them.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from hebae.base import files, npz, sources
from hebae.base.device import set_up
from hebae.base.errors import UserError, command
from hebae.base.seeds import derive_seed
from hebae.config.protocols import RealImages, add_protocol
from hebae.config.registry import FEATURES, lookup
from hebae.data.store import load_prepared, read_prepared
from hebae.measures.fid.features.network import (
    FeatureNet,
    feature_moments,
    open_features,
    read_record,
)
from hebae.measures.fid.frechet import Moments

CHUNK = 500  # images that are read at once; the network takes as many of them as it can


@dataclass(frozen=True)
class Source:
    """What decides reference moments."""

    dataset: str
    dataset_checksum: str
    split: str
    count: int
    weights_sha256: str  # of the feature network


@dataclass(frozen=True, eq=False)
class Reference:
    """Mean (f,) and covariance (f, f), float64, of the features of `source.count` images."""

    source: Source
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what :meth:`save` wrote. Raises UserError if it is missing or damaged."""
        names = [field.name for field in fields(Source)]
        try:
            arrays = npz.read(path, ("mean", "covariance", *names))
            mean, covariance = arrays.pop("mean"), arrays.pop("covariance")
            if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
                raise ValueError(f"mean {mean.shape} and covariance {covariance.shape}")
            if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
                raise ValueError("values that are not finite")
            source = Source(**{name: arrays[name].item() for name in names})
        except (ValueError, TypeError) as reason:
            raise UserError(
                f"{path} is missing or no readable reference ({reason}); delete it and make it "
                "again"
            ) from None
        return cls(source, mean, covariance)

    def save(self, path: Path) -> None:
        """Write an .npz of ``mean``, ``covariance`` and the fields of source."""
        with files.replacing(path) as stream:
            np.savez(
                stream,
                mean=self.mean,
                covariance=self.covariance,
                **asdict(self.source),
            )


def choose(available: int, count: int) -> np.ndarray:
    """The sorted indices of the reference images: all, or `count` random ones, always the same."""
    rng = np.random.default_rng(derive_seed(0, "reference"))
    return np.sort(rng.choice(available, count, replace=False))


def compute(net: FeatureNet, images: np.ndarray, rows: np.ndarray, what: str) -> Moments:
    """Moments of the features of some images; uint8 (N, height, width, channels), on disk."""
    chunks = (
        torch.from_numpy(images[rows[start : start + CHUNK]])
        for start in range(0, len(rows), CHUNK)
    )
    return feature_moments(net, chunks, len(rows), what)


def cache_path(cache: Path, source: Source, kind: str) -> Path:
    """Where the cache keeps these moments; the code that computes them counts too."""
    module = lookup(FEATURES, "features", kind).function.split(":")[0]
    decides = [
        *asdict(source).values(),
        sources.fingerprint(["hebae.measures.fid.reference", module]),
    ]
    digest = hashlib.sha256("\n".join(map(str, decides)).encode()).hexdigest()
    return cache / f"{source.dataset}-{source.split}-{source.count}-{kind}-{digest[:24]}.npz"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.measures.fid.reference",
        description="Moments of real images' features.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--features", type=Path, required=True, help="folder of the features")
    add_protocol(parser, RealImages)
    parser.add_argument("--output", type=Path, required=True, help=".npz file to write")
    parser.add_argument("--cache", type=Path, required=True, help="folder of earlier results")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    device = set_up(options.device, options.threads)
    prepared, record = read_prepared(options.data), read_record(options.features)
    asked = options.protocol
    images, _ = load_prepared(options.data, asked.split)
    count = min(asked.count, len(images)) if asked.at_most else asked.count
    if not 2 <= count <= len(images):
        raise UserError(
            f"fid.n_reference is {count}; the {asked.split} split of {prepared.name} has "
            f"{len(images)} images, and a covariance needs 2"
        )
    source = Source(
        dataset=prepared.name,
        dataset_checksum=prepared.checksum,
        split=asked.split,
        count=count,
        weights_sha256=record.weights_sha256,
    )
    cached = cache_path(options.cache.expanduser(), source, record.features)
    reference = _recall(cached, source)
    if reference is None:
        net = open_features(options.features, device)
        rows = choose(len(images), count)
        moments = compute(net, images, rows, f"{record.label}, {asked.split} split")
        reference = Reference(source, moments.mean, moments.covariance)
        reference.save(cached)
    reference.save(options.output)


def _recall(path: Path, source: Source) -> Reference | None:
    """The moments in the cache; None if they are missing, damaged or of something else."""
    if not path.exists():
        return None
    try:
        reference = Reference.load(path)
    except UserError:
        reference = None
    if reference is None or reference.source != source:
        print(f"ignoring a damaged file of the cache: {path}", file=sys.stderr)
        return None
    print(f"taken from the cache: {path}", file=sys.stderr)
    return reference


if __name__ == "__main__":
    command(main)
