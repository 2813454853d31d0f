"""Fréchet distances of a trained run (Fig. 1b): ``python -m hebae.measures.fid.fid --help``.

Images are compared with real ones, the reference. Column ``sampling`` says which images:

* ``prior``: decoded codes z ~ N(0, I);
* ``gaussian``, ``mixture``: decoded draws from a density that is fitted to the codes of the images
  that the run was trained on (:mod:`hebae.measures.fid.samplings`);
* ``reconstruction``: decoded codes of images;
* ``midpoints``: decoded midpoints between codes of two different images;
* ``real``: real images of the other split. As many samples of a perfect model would be at this
  distance.

A code is z ~ q(z|x). Those of ``reconstruction`` and ``midpoints`` belong to images of the other
split too. The distance of a finite sample to itself is 0, and to another sample it is not, so what
is made of the reference's own images does not compare with what is not (docs/samples.md).

Codes are decoded in float32, clipped and rounded to 8-bit images. The feature network gets these
directly; saving them as PNG would change nothing. ``fid.csv`` also has what a FID depends on
besides the model: the numbers of images of each kind, and the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.seeds import derive_seed
from hebae.codes.encode import posterior_of, training_images
from hebae.codes.trained import Trained, command_line
from hebae.config.protocols import Fid, add_protocol
from hebae.data.store import read_prepared
from hebae.measures.fid import samplings
from hebae.measures.fid.features.network import FeatureNet, feature_moments, open_features
from hebae.measures.fid.frechet import Moments, frechet_distance
from hebae.measures.fid.reference import Reference, choose
from hebae.models.latent import normal_stream


def samples(trained: Trained, count: int) -> Iterator[Tensor]:
    """`count` images of the prior's codes, uint8 (n, height, width, channels), in chunks."""
    # all codes at once, so that they do not depend on the size of a chunk
    normal = normal_stream(derive_seed(trained.run.seed, "fid"), trained.device)
    prior = normal(torch.empty(count, trained.run.latent_dim, device=trained.device))
    return trained.decode(prior, "fid")


def codes_of(sampling: str, codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The codes that a sampling decodes, at most `count` of them, (·, d).

    Args:
        sampling: gaussian, mixture, reconstruction or midpoints.
        codes: z ~ q(z|x) of images, one each, (N, d).
        seed: of the run.
    """
    seed = derive_seed(seed, f"fid/{sampling}")
    match sampling:
        case "gaussian":
            return samplings.gaussian(codes, count, np.random.default_rng(seed))
        case "mixture":
            return samplings.mixture(codes, count, seed)
        case "midpoints":
            return samplings.midpoints(codes, count, np.random.default_rng(seed))
        case "reconstruction":
            # of the images with which `real` compares
            return codes[choose(len(codes), min(count, len(codes)))]
    raise ValueError(f"no sampling {sampling!r}")


def codes_of_splits(trained: Trained, data: Path, asked: Fid) -> dict[str, np.ndarray]:
    """By sampling, one code z ~ q(z|x) of each image that it is about, (N, d)."""
    run = trained.run
    between = asked.floor.split
    splits = {
        "gaussian": "train",
        "mixture": "train",
        "reconstruction": between,
        "midpoints": between,
    }
    wanted = {sampling: splits[sampling] for sampling in asked.samplings if sampling in splits}
    codes = {}
    for split in sorted(set(wanted.values())):
        images = training_images(data, run) if split == "train" else trained.images
        rng = np.random.default_rng(derive_seed(run.seed, f"fid/codes/{split}"))
        codes[split] = posterior_of(trained, images, split).sample(rng)
    return {sampling: codes[split] for sampling, split in wanted.items()}


def distances(
    trained: Trained, net: FeatureNet, reference: Reference, asked: Fid, data: Path
) -> Iterator[tuple[str, int, float | None]]:
    """The prior's and each asked sampling's number of images and distance, but not that of `real`.

    None for codes or a decoder with values that are not finite, whose images would be black.
    """
    run, decoder = trained.run, trained.model.decoder
    sound = all(bool(torch.isfinite(value).all()) for value in decoder.state_dict().values())

    def distance(images: Iterator[Tensor], count: int, sampling: str) -> float:
        moments = feature_moments(net, images, count, f"FID of {run.path}, {sampling}")
        return between(moments, reference)

    count = asked.n_generated
    yield "prior", count, distance(samples(trained, count), count, "prior") if sound else None
    for sampling, of_images in codes_of_splits(trained, data, asked).items():
        if not (sound and np.isfinite(of_images).all()):
            yield sampling, count, None
            continue
        codes = codes_of(sampling, of_images, count, run.seed)
        on_device = torch.from_numpy(codes).float().to(trained.device)
        images = trained.decode(on_device, f"fid/{sampling}")
        yield sampling, len(codes), distance(images, len(codes), sampling)


def between(moments: Moments | Reference, reference: Reference) -> float:
    """The distance of the features of some images from the reference."""
    return frechet_distance(moments.mean, moments.covariance, reference.mean, reference.covariance)


def rank_warning(n_features: int, **counts: int) -> str | None:
    """A warning about too few images: N images give a covariance of rank N − 1 at most."""
    short = [
        f"{count} {kind} images {'<' if count < n_features else '='} {n_features} features"
        for kind, count in counts.items()
        if count <= n_features
    ]
    return f"rank-deficient: {', '.join(short)}" if short else None


def load_moments(path: Path, features: Path, net: FeatureNet, data: Path) -> Reference:
    """Moments of real images. Raises UserError if they are of other features or data."""
    found = Reference.load(path)
    source, prepared = found.source, read_prepared(data)
    for what, folder, theirs, ours in (
        ("features", features, source.weights_sha256, net.record.weights_sha256),
        ("data", data, source.dataset_checksum, prepared.checksum),
    ):
        if theirs != ours:
            raise UserError(f"{path} was made with other {what} than {folder}; make it again")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Fréchet distances between images of a trained run and real images.")
    parser.add_argument("--features", type=Path, required=True, help="their folder")
    parser.add_argument(
        "--reference", type=Path, required=True, help="moments of real images, .npz"
    )
    parser.add_argument(
        "--real", type=Path, help="those of the other split, .npz, for the sampling real"
    )
    add_protocol(parser, Fid)
    options = parser.parse_args(arguments)
    asked = options.protocol
    if asked.n_generated < 2:
        raise UserError(f"fid.n_generated is {asked.n_generated}; a covariance needs 2 images")

    trained = Trained.open(options)
    net = open_features(options.features, trained.device)
    given = options.features, net, options.data
    reference = load_moments(options.reference, *given)
    found = list(distances(trained, net, reference, asked, options.data))
    if "real" in asked.samplings:
        if options.real is None:
            raise UserError("--real is needed for the sampling real")
        real = load_moments(options.real, *given)
        found.append(("real", real.source.count, between(real, reference)))
    record = net.record
    rows = [
        {
            "sampling": sampling,
            "n_generated": count,
            "n_reference": reference.source.count,
            "reference": reference.source.split,
            "features": record.label,
            "fid": distance,
            "common_weight": trained.common_weight,
            "n_features": record.n_features,
            "accuracy": record.accuracy,
            "warning": rank_warning(
                record.n_features, generated=count, reference=reference.source.count
            ),
        }
        for sampling, count, distance in found
    ]
    write_csv(options.output, (trained.run.identity | row for row in rows))


if __name__ == "__main__":
    command(main)
