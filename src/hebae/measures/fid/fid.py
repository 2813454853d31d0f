"""FID of a trained run's samples (Fig. 1b): ``python -m hebae.measures.fid.fid --help``.

Codes from the prior, z ~ N(0, I), are decoded in float32, clipped and rounded to 8-bit images. The
feature network gets these directly; saving them as PNG would change nothing. ``fid.csv`` also has
what a FID depends on besides the model: the numbers of images of each kind, and the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.seeds import derive_seed
from hebae.codes.trained import Trained, command_line
from hebae.config.protocols import Fid, add_protocol
from hebae.data.store import read_prepared
from hebae.measures.fid.features.network import feature_moments, open_features
from hebae.measures.fid.frechet import frechet_distance
from hebae.measures.fid.reference import Reference
from hebae.models.latent import normal_stream


def samples(trained: Trained, count: int) -> Iterator[Tensor]:
    """`count` images of the model, uint8 (n, height, width, channels), in chunks."""
    # all codes at once, so that they do not depend on the size of a chunk
    normal = normal_stream(derive_seed(trained.run.seed, "fid"), trained.device)
    prior = normal(torch.empty(count, trained.run.latent_dim, device=trained.device))
    return trained.decode(prior, "fid")


def rank_warning(n_features: int, **counts: int) -> str | None:
    """A warning about too few images: N images give a covariance of rank N − 1 at most."""
    short = [
        f"{count} {kind} images {'<' if count < n_features else '='} {n_features} features"
        for kind, count in counts.items()
        if count <= n_features
    ]
    return f"rank-deficient: {', '.join(short)}" if short else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Fréchet distance between samples of a trained run and real images.")
    parser.add_argument("--features", type=Path, required=True, help="their folder")
    parser.add_argument(
        "--reference", type=Path, required=True, help="moments of real images, .npz"
    )
    add_protocol(parser, Fid)
    options = parser.parse_args(arguments)
    count = options.protocol.n_generated
    if count < 2:
        raise UserError(f"fid.n_generated is {count}; a covariance needs 2 images")

    trained = Trained.open(options)
    run = trained.run
    net = open_features(options.features, trained.device)
    reference = Reference.load(options.reference)
    for what, folder, theirs, ours in (
        ("features", options.features, reference.source.weights_sha256, net.record.weights_sha256),
        (
            "data",
            options.data,
            reference.source.dataset_checksum,
            read_prepared(options.data).checksum,
        ),
    ):
        if theirs != ours:
            raise UserError(
                f"{options.reference} was made with other {what} than {folder}; make it again"
            )
    moments = feature_moments(net, samples(trained, count), count, f"FID of {run.path}")
    n_features = net.record.n_features
    distance = frechet_distance(
        moments.mean, moments.covariance, reference.mean, reference.covariance
    )
    row = {
        "n_generated": count,
        "n_reference": reference.source.count,
        "reference": reference.source.split,
        "features": net.record.label,
        "fid": distance,
        "common_weight": trained.common_weight,
        "n_features": n_features,
        "accuracy": net.record.accuracy,
        "warning": rank_warning(n_features, generated=count, reference=reference.source.count),
    }
    write_csv(options.output, [run.identity | row])


if __name__ == "__main__":
    command(main)
