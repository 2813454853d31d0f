"""Importance-weighted bounds on log p(x): ``python -m hebae.measures.bounds --help``.

Burda, Grosse & Salakhutdinov 2016, Eq. 8: with k codes z_j ~ q(z|x),

    L_k = E log 1/k Σ_j p(x|z_j) p(z_j) / q(z_j|x)  ≤  log p(x),

in nats. L_1 is the per-sample ELBO. L_k rises with k and tends to log p(x). q(z|x_i) =
N(μ_i, D_i L Lᵀ D_i) is that of :mod:`hebae.codes.encode`: for HEBAE, L belongs to the whole split.

Every q gives a bound on the same log p(x). If an encoder's q is too narrow for its decoder, as
HEBAE's is, the bound shows the narrowness of q rather than p(x). So there is a second bound for
each k, with a wider q: N(μ_i, D_i L Lᵀ D_i + s² I), with one s for all images and dimensions.
Derivations and limits: docs/bounds.md.
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

WIDTHS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
"""The candidates for s, in units of the prior's standard deviation."""
PILOT = 20
"""The number of images on which s is chosen."""


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


def factors(sigma: Tensor, mixing: Tensor, width: float | None = None) -> tuple[Tensor, Tensor]:
    """A_i with A_i A_iᵀ = D_i L Lᵀ D_i [+ s² I], (n, d, d), and log|det A_i|, (n,).

    Without a width A_i = D_i L directly, because squaring would lose tiny σ.

    Args:
        sigma: σ, shape (n, d).
        mixing: L, shape (d, d).
        width: s > 0.
    """
    factor = sigma[:, :, None] * mixing
    if width is None:
        return factor, sigma.log().sum(dim=1) + torch.linalg.slogdet(mixing).logabsdet
    identity = torch.eye(len(mixing), dtype=mixing.dtype, device=mixing.device)
    factor = torch.linalg.cholesky(factor @ factor.mT + width**2 * identity)
    return factor, factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)


@torch.inference_mode()
def weights_of_images(
    trained: Trained,
    posterior: Posterior,
    n_images: int,
    samples: int,
    width: float | None = None,
) -> Iterator[Tensor]:
    """Log weights of `samples` codes of each of the first images, (n, samples), some at a time.

    Noise is drawn image by image, so it does not depend on how many images are decoded together.
    Memory is that of the decoder for a chunk, plus about 40·samples·d bytes.
    """
    run, device = trained.run, trained.device
    if width is None:
        _check_density(posterior)
    size = trained.model.chunk
    generator = torch.Generator(device).manual_seed(derive_seed(run.seed, "bounds"))
    arrays = posterior.mean, posterior.sigma, posterior.mixing
    mean, sigma, mixing = (torch.from_numpy(array).to(device) for array in arrays)
    like = {"dtype": mean.dtype, "device": device, "generator": generator}
    together = max(1, size // samples)
    for start in range(0, n_images, together):
        part = slice(start, min(start + together, n_images))
        x = trained.model.reconstruction.inputs(trained.on_device(trained.images[part]))
        noise = torch.stack([torch.randn((samples, run.latent_dim), **like) for _ in x])
        factor, log_det = factors(sigma[part], mixing, width)
        codes = mean[part, None] + noise @ factor.mT
        owner = torch.arange(len(x), device=device).repeat_interleave(samples)
        chunks = zip(codes.flatten(0, 1).split(size), owner.split(size), strict=True)
        errors = [trained.model.error(chunk.float(), x[own]).double() for chunk, own in chunks]
        error = torch.cat(errors).view(len(x), samples)
        yield log_weights(error, codes, noise, log_det)


def _check_density(posterior: Posterior) -> None:
    if not posterior.sigma.all() or np.linalg.slogdet(posterior.mixing).sign == 0:
        raise UserError(
            "sigma is 0 for some codes, or the mixing matrix is singular, so codes have no density"
        )


def choose_width(trained: Trained, posterior: Posterior, n_images: int, samples: int) -> float:
    """The s of :data:`WIDTHS` with the highest L_k of so many samples, on the first few images."""
    n = min(n_images, PILOT)

    def mean_bound(width: float) -> float:
        weights = torch.cat(list(weights_of_images(trained, posterior, n, samples, width)))
        return float(importance_bounds(weights, [samples]).mean())

    return max(WIDTHS, key=mean_bound)


def bounds_of_images(
    trained: Trained,
    posterior: Posterior,
    n_images: int,
    samples: Sequence[int],
    width: float | None = None,
) -> np.ndarray:
    """L_k of the first test images, (n_images, len(samples)), in nats.

    Progress goes to stderr.
    """
    widened = "" if width is None else f", widened by {width:g}"
    bounds: list[np.ndarray] = []
    with Progress(f"bounds of {trained.run.path}{widened}", n_images, "image") as progress:
        for weights in weights_of_images(trained, posterior, n_images, max(samples), width):
            bounds.append(importance_bounds(weights, samples).cpu().numpy())
            progress.advance(len(weights))
    return np.concatenate(bounds)


def table_rows(
    own: np.ndarray, widened: np.ndarray, width: float, samples: Sequence[int]
) -> list[dict[str, float | None]]:
    """Rows samples (k), bound, standard_error, n_images, width (s), widened, widened_error.

    Args:
        own: L_k of the encoder's q(z|x), (n, len(samples)); `bound` is its mean over images.
        widened: the same with q widened by `width`.

    The standard errors are those of means over images, None for a single one.
    """
    rows = []
    for k, *bounds in zip(samples, own.T, widened.T, strict=True):
        (bound, error), (other, other_error) = map(_mean_and_error, bounds)
        row = dict(samples=k, bound=bound, standard_error=error, n_images=len(own))
        rows.append(row | dict(width=width, widened=other, widened_error=other_error))
    return rows


def _mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None


def _check(options: argparse.Namespace, trained: Trained, posterior: Posterior) -> None:
    """Refuse what this run and its data do not have. Raises UserError."""
    entries, n_images = trained.run.entries, len(trained.images)
    if not entries.objective.stochastic:
        raise UserError(
            f"run {trained.run.path}: the encoder of {trained.run.objective!r} is deterministic, "
            "so it has no bound"
        )
    if not entries.reconstruction.likelihood:
        raise UserError(
            f"run {trained.run.path}: {trained.run.reconstruction!r} is no likelihood, so there is "
            "no bound on it"
        )
    if (images := options.protocol.images) is not None and images > n_images:
        raise UserError(f"bounds.images: {images} is more than the {n_images} test images")
    if posterior.mean.shape != (expected := (n_images, trained.run.latent_dim)):
        raise UserError(
            f"{options.posterior}: mean has shape {posterior.mean.shape}, and this run's test "
            f"split needs {expected}; encode again"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Importance-weighted bounds on the log-likelihood of the test split.")
    parser.add_argument("--posterior", type=Path, required=True, help="posterior.npz of the run")
    add_protocol(parser, Bounds)
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    posterior = Posterior.load(options.posterior)
    _check(options, trained, posterior)
    n_images = options.protocol.images or len(trained.images)
    samples = sorted(options.protocol.samples)
    try:
        own = bounds_of_images(trained, posterior, n_images, samples)
    except UserError as error:
        raise UserError(f"{options.posterior}: {error}") from None
    width = choose_width(trained, posterior, n_images, max(samples))
    widened = bounds_of_images(trained, posterior, n_images, samples, width)
    rows = table_rows(own, widened, width, samples)
    write_csv(options.output, (trained.run.identity | row for row in rows))


if __name__ == "__main__":
    command(main)
