"""Importance-weighted bounds on log p(x): ``python -m hebae.measures.bounds --help``.

Burda, Grosse & Salakhutdinov 2016, Eq. 8: with k codes z_j ~ q(z|x),

    L_k = E log 1/k Σ_j p(x|z_j) p(z_j) / q(z_j|x)  ≤  log p(x),

in nats. L_1 is the per-sample ELBO. L_k rises with k and tends to log p(x). q(z|x_i) =
N(μ_i, D_i L Lᵀ D_i) is that of :mod:`hebae.codes.encode`: for HEBAE, L belongs to the whole split.

Every q gives a bound on the same log p(x). If an encoder's q is too narrow for its decoder, as
HEBAE's is, the bound shows the narrowness of q rather than p(x). So there is a second bound for
each k, with a wider q: N(μ_i, D_i L Lᵀ D_i + s² I), with one s for all images and dimensions.
A deterministic encoder (σ = 0) has no density and only this second bound, with q = N(μ_i, s² I).
s is chosen on images that are not evaluated. Derivations and limits: docs/bounds.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.progress import Progress
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.codes.trained import Trained, command_line
from hebae.config.protocols import Bounds, add_protocol
from hebae.models.divergences.gaussian import widened_factors

WIDTHS = (0.0, *(2.0**power for power in range(-6, 2)))
"""The candidates for s: 0, the encoder's own q, and 1/64 to 2 standard deviations of the prior."""


def log_weights(error: Tensor, codes: Tensor, noise: Tensor, log_det: Tensor) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x) of codes z = μ + A ε, in nats; shape (n, k).

    log q is computed from the noise, −½‖ε‖² − log|det A| − d/2 log 2π. If A is tiny, the difference
    z − μ has lost its digits, and dividing by A would not bring them back. The last term is also in
    log p(z), so both leave it out.

    Args:
        error: −log p(x|z), shape (n, k).
        codes: z, shape (n, k, d).
        noise: ε, shape (n, k, d).
        log_det: log|det A| of each image's A = D L, shape (n,).
    """
    difference = (noise.square() - codes.square()).sum(dim=2)
    return difference / 2 - error + log_det[:, None]


def importance_bounds(weights: Tensor, samples: Sequence[int]) -> Tensor:
    """L_k of every image for each k in `samples`, from the same K log weights; (n, len(samples)).

    For k below K it is the mean over K / k groups of k codes. This is unbiased for L_k, as a single
    group is, and less noisy.

    Args:
        weights: log weights, shape (n, K), float64.
        samples: the k, each a divisor of K.
    """
    bounds = [
        (weights.unflatten(1, (-1, k)).logsumexp(dim=2) - math.log(k)).mean(dim=1) for k in samples
    ]
    return torch.stack(bounds, dim=1)


@torch.inference_mode()
def weights_of_images(
    trained: Trained,
    posterior: Posterior,
    part: range,
    samples: int,
    width: float = 0.0,
    purpose: str = "bounds",
) -> Iterator[Tensor]:
    """Log weights of `samples` codes of each image of a part, (n, samples), some at a time.

    Noise is drawn image by image, so it does not depend on how many images are decoded together.
    Memory is that of the decoder for a chunk, plus about 40·samples·d bytes.

    Args:
        part: successive test images.
        width: s, by which q is widened.
        purpose: the stream of the noise (:mod:`hebae.base.seeds`).
    """
    run, device = trained.run, trained.device
    if width == 0 and not has_density(posterior):
        raise ValueError("q has no density")
    size = trained.model.chunk
    generator = torch.Generator(device).manual_seed(derive_seed(run.seed, purpose))
    arrays = posterior.mean, posterior.sigma, posterior.mixing
    mean, sigma, mixing = (torch.from_numpy(array).to(device) for array in arrays)
    log_sigma = sigma.log()  # −∞ for a deterministic encoder
    like = {"dtype": mean.dtype, "device": device, "generator": generator}
    together = max(1, size // samples)
    for start in range(part.start, part.stop, together):
        these = slice(start, min(start + together, part.stop))
        x = trained.model.reconstruction.inputs(trained.on_device(trained.images[these]))
        noise = torch.stack([torch.randn((samples, run.latent_dim), **like) for _ in x])
        factor, log_det = widened_factors(log_sigma[these], mixing, width, mean[these])
        codes = mean[these, None] + noise @ factor.mT
        owner = torch.arange(len(x), device=device).repeat_interleave(samples)
        chunks = zip(codes.flatten(0, 1).split(size), owner.split(size), strict=True)
        errors = [trained.model.error(chunk.float(), x[own]).double() for chunk, own in chunks]
        error = torch.cat(errors).view(len(x), samples)
        yield log_weights(error, codes, noise, log_det)


def has_density(posterior: Posterior) -> bool:
    """Whether every image's own q(z|x) has one: no σ is 0, and L is not singular."""
    return bool(posterior.sigma.all()) and np.linalg.slogdet(posterior.mixing).sign != 0


def choose_width(trained: Trained, posterior: Posterior, pilot: range, samples: int) -> float:
    """The s of :data:`WIDTHS` that suits the pilot's images, by L_k with k = `samples`.

    With this s the bound of other images is unbiased, because neither they nor their noise had a
    part in the choice. s = 0 is a candidate where the encoder's own q has a density.
    """
    widths = WIDTHS if has_density(posterior) else WIDTHS[1:]
    bounds = []
    for width in widths:
        weights = weights_of_images(trained, posterior, pilot, samples, width, "bounds/pilot")
        bounds.append(importance_bounds(torch.cat(list(weights)), [samples])[:, 0].cpu().numpy())
    return widths[smallest_of_the_best(np.array(bounds))]


def smallest_of_the_best(bounds: np.ndarray) -> int:
    """The first row that is at most one standard error below the row with the highest mean.

    The error is that of the mean difference from that row, image by image. Where the bound hardly
    depends on the width, as for many codes in few dimensions, noise would decide between widths of
    .25 and 2, of which the larger is far worse for fewer codes.

    Args:
        bounds: L_k by width, from the smallest, and image, (widths, n). A row that is not finite is
            never chosen if another is.
    """
    means = bounds.mean(axis=1)
    means[~np.isfinite(means)] = -np.inf
    best = int(means.argmax())
    for place in np.flatnonzero(np.isfinite(means[:best])):
        below = bounds[best] - bounds[place]
        if below.mean() <= below.std() / math.sqrt(len(below)):
            return int(place)
    return best


def bounds_of_images(
    trained: Trained,
    posterior: Posterior,
    part: range,
    samples: Sequence[int],
    width: float = 0.0,
) -> np.ndarray:
    """L_k of a part of the test images, (n, len(samples)), in nats.

    Progress goes to stderr.
    """
    widened = f", widened by {width:g}" if width else ""
    bounds: list[np.ndarray] = []
    with Progress(f"bounds of {trained.run.path}{widened}", len(part), "image") as progress:
        for weights in weights_of_images(trained, posterior, part, max(samples), width):
            bounds.append(importance_bounds(weights, samples).cpu().numpy())
            progress.advance(len(weights))
    return np.concatenate(bounds)


def table_rows(
    own: np.ndarray | None,
    widened: np.ndarray,
    width: float,
    n_pilot: int,
    samples: Sequence[int],
) -> list[dict[str, float | None]]:
    """Rows samples (k), bound, standard_error, n_images, width, widened, widened_error, n_pilot.

    Args:
        own: L_k of the encoder's q(z|x), (n, len(samples)); `bound` is its mean over images. None
            if q has no density.
        widened: the same with q widened by `width`.
        n_pilot: on how many other images `width` was chosen.

    The standard errors are those of means over images, None for a single one.
    """
    rows = []
    for place, k in enumerate(samples):
        bound, error = (None, None) if own is None else _mean_and_error(own[:, place])
        other, other_error = _mean_and_error(widened[:, place])
        row = dict(samples=k, bound=bound, standard_error=error, n_images=len(widened))
        row |= dict(width=width, widened=other, widened_error=other_error, n_pilot=n_pilot)
        rows.append(row)
    return rows


def _mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None


def _parts(
    options: argparse.Namespace, trained: Trained, posterior: Posterior
) -> tuple[range, range]:
    """The evaluated images and the pilot. Raises UserError for what this run does not have."""
    n_test = len(trained.images)
    if not trained.run.entries.reconstruction.likelihood:
        raise UserError(
            f"run {trained.run.path}: {trained.run.reconstruction!r} is no likelihood, so there is "
            "no bound on it"
        )
    if posterior.mean.shape != (expected := (n_test, trained.run.latent_dim)):
        raise UserError(
            f"{options.posterior}: mean has shape {posterior.mean.shape}, and this run's test "
            f"split needs {expected}; encode again"
        )
    return options.protocol.parts(n_test)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Importance-weighted bounds on the log-likelihood of the test split.")
    parser.add_argument("--posterior", type=Path, required=True, help="posterior.npz of the run")
    add_protocol(parser, Bounds)
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    posterior = Posterior.load(options.posterior)
    evaluated, pilot = _parts(options, trained, posterior)
    samples = sorted(options.protocol.samples)
    own = None
    if has_density(posterior):
        own = bounds_of_images(trained, posterior, evaluated, samples)
    width = choose_width(trained, posterior, pilot, max(samples))
    widened = own
    if own is None or width > 0:
        widened = bounds_of_images(trained, posterior, evaluated, samples, width)
    rows = table_rows(own, widened, width, len(pilot), samples)
    write_csv(options.output, (trained.run.identity | row for row in rows))


if __name__ == "__main__":
    command(main)
