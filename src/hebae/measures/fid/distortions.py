"""A distance of distorted images: ``python -m hebae.measures.fid.distortions --help``.

Real images of the other split are distorted more and more and compared with the reference. A
distance that says how good samples are has to grow with what they may suffer from: blur, noise,
large pixels, and modes that are missing (Heusel et al. 2017, Fig. 3, do this for the FID).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

from hebae.base.device import set_up
from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.seeds import derive_seed
from hebae.config.protocols import Fid, add_protocol
from hebae.config.registry import FEATURES
from hebae.data.store import load_prepared, read_prepared
from hebae.measures.fid.features.network import FeatureNet, feature_moments, open_features
from hebae.measures.fid.fid import between, load_moments
from hebae.measures.fid.reference import CHUNK, Reference, choose

BLURS = (1 / 64, 1 / 32, 1 / 16, 1 / 8)
"""Standard deviations of the blur, in heights of the image."""
LEAST_BLUR = 0.4  # pixels; below it, rounding to 8 bits undoes most of the blur
NOISES = (8, 16, 32, 64)
"""Standard deviations of the noise, in 8-bit values."""
MODES = 8
DROPPED = (2, 4, 6, 7)
"""Modes that are missing, of :data:`MODES`."""
SMALL_SIDE = 8
"""Modes are told apart by images of about so many pixels a side."""


def blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    """Images (n, height, width, channels), uint8, after a Gaussian of a deviation in pixels."""
    sizes = (0, deviation, deviation, 0)
    return _to_8_bits(gaussian_filter(images.astype(np.float32), sizes))


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    """Images with Gaussian noise of a deviation in 8-bit values; always the same noise, scaled."""
    rng = np.random.default_rng(derive_seed(0, "distortions/noise"))
    return _to_8_bits(images + np.float32(deviation) * rng.standard_normal(images.shape, "f4"))


def pixelated(images: np.ndarray, side: float) -> np.ndarray:
    """Images in which each block of side × side pixels has its mean."""
    return _to_8_bits(_blocks(images, int(side)).repeat(int(side), axis=1).repeat(int(side), 2))


def _blocks(images: np.ndarray, side: int) -> np.ndarray:
    """The means of blocks, (n, height / side, width / side, channels)."""
    n, height, width, channels = images.shape
    split = images.reshape(n, height // side, side, width // side, side, channels)
    return split.mean((2, 4), dtype=np.float32)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def modes(images: np.ndarray) -> np.ndarray:
    """The mode of each image, (n,): its cluster by k-means, numbered as they are left out.

    The largest is left out last, so that enough images are left; of the others, the largest first.
    """
    height, width, _ = images.shape[1:]
    sides = [s for s in _divisors(height, width) if s * SMALL_SIDE <= max(height, width)]
    small = _blocks(images, max(sides, default=1)).reshape(len(images), -1)
    seed = derive_seed(0, "distortions/modes") % 2**32
    found = KMeans(MODES, n_init=3, random_state=seed).fit(small).labels_
    largest, *others = np.argsort(-np.bincount(found, minlength=MODES), kind="stable")
    return np.argsort([*others, largest])[found]


def _divisors(height: int, width: int) -> list[int]:
    common = gcd(height, width)
    return [side for side in range(1, common + 1) if common % side == 0]


def distorted(images: np.ndarray) -> Iterator[tuple[str, float, np.ndarray]]:
    """Each distortion, its strengths from 0 on in its own unit, and the images.

    Args:
        images: uint8 (n, height, width, channels).
    """
    height, width, _ = images.shape[1:]
    blurs = [b * height for b in BLURS if b * height >= LEAST_BLUR]
    blocks = [side for side in _divisors(height, width) if 2 <= side <= min(height, width) // 4]
    for name, function, strengths in (
        ("blur", blurred, blurs),
        ("noise", noisy, NOISES),
        ("pixelation", pixelated, blocks),
    ):
        yield name, 0.0, images
        for strength in strengths:
            yield name, float(strength), function(images, strength)
    mode = modes(images)
    # as many images at each strength: a distance depends on how many there are
    n = int((mode >= max(DROPPED)).sum())
    rng = np.random.default_rng(derive_seed(0, "distortions/kept"))
    for dropped in (0, *DROPPED):
        kept = np.flatnonzero(mode >= dropped)
        yield "modes", dropped / MODES, images[np.sort(rng.choice(kept, n, replace=False))]


def distances(
    images: np.ndarray, net: FeatureNet, reference: Reference
) -> Iterator[dict[str, Any]]:
    """A row a distortion and strength."""
    for name, strength, shown in distorted(images):
        chunks = (torch.from_numpy(shown[i : i + CHUNK]) for i in range(0, len(shown), CHUNK))
        moments = feature_moments(net, chunks, len(shown), f"{name} {strength:g}")
        yield {
            "distortion": name,
            "strength": strength,
            "n_images": len(shown),
            "fid": between(moments, reference),
        }


def falls(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Where a stronger distortion of the same kind has no larger distance, in words.

    A distortion that fits the images at no strength proves nothing, and is named too.
    """
    counts = Counter(row["distortion"] for row in rows)
    alone = [f"no {name} fits images of this size" for name, n in counts.items() if n == 1]
    return alone + [
        f"{two['distortion']} of {two['strength']:g} is at {two['fid']:.4g}, of "
        f"{one['strength']:g} at {one['fid']:.4g}"
        for one, two in pairwise(rows)
        if one["distortion"] == two["distortion"] and not two["fid"] > one["fid"]
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.measures.fid.distortions",
        description="Fréchet distances of distorted real images.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--features", type=Path, required=True, help="folder of the features")
    parser.add_argument(
        "--reference", type=Path, required=True, help="moments of real images, .npz"
    )
    add_protocol(parser, Fid)
    parser.add_argument("--output", type=Path, required=True, help=".csv file to write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    device = set_up(options.device, options.threads)
    net, prepared = open_features(options.features, device), read_prepared(options.data)
    reference = load_moments(options.reference, options.features, net, options.data)
    images, _ = load_prepared(options.data, options.protocol.floor.split)
    chosen = choose(len(images), min(len(images), options.protocol.n_generated))
    if len(chosen) <= MODES:
        raise UserError(f"{prepared.name}: {len(chosen)} images are too few for {MODES} modes")
    rows = list(distances(images[chosen], net, reference))
    if FEATURES[net.record.features].needs_proof and (found := falls(rows)):
        raise UserError(
            f"the distance in {net.record.label} features does not grow with distortions of real "
            f"images ({'; '.join(found)}), so it is not used; choose other fid.features"
        )
    same = {
        "dataset": prepared.name,
        "features": net.record.label,
        "n_reference": reference.source.count,
        "reference": reference.source.split,
        "accuracy": net.record.accuracy,
    }
    write_csv(options.output, (same | row for row in rows))


if __name__ == "__main__":
    command(main)
