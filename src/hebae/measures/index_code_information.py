"""Information of a code about its image's index, and the distance of all codes to the prior.

The paper's Eq. 10 (ELBO surgery, Hoffman & Johnson 2016), q(z) = 1/N Σ_j q(z|x_j):

    mean_i KL(q(z|x_i) ‖ p) = I(n; z) + KL(q(z) ‖ p),     0 ≤ I(n; z) ≤ log N.

All in nats, by Monte Carlo over codes z ~ q(z|x_i) against all N posteriors: a mixture over a
batch of M could not read more than log M. Nothing is clipped, so noise may show below 0.

``kl_gaussian`` is the KL the paper plots (Eq. 7), KL(N(m, S) ‖ N(0, I)), with the moments of
sampled codes z over the split where the paper takes the means μ of a batch. As log p is quadratic,
KL(q(z) ‖ p) = KL(q(z) ‖ N(m, S)) + kl_gaussian: what ``kl_aggregate`` has on top of it is how far
q(z) is from a Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from hebae.errors import UserError, command
from hebae.files import write_csv
from hebae.measures.covariance import moments
from hebae.measures.posterior import (
    Posterior,
    command_line,
    map_threads,
    require_at_least,
)
from hebae.run import read_run
from hebae.streams import derive_seed

LOG_2PI = float(np.log(2 * np.pi))


def log_densities(
    posterior: Posterior, codes: np.ndarray, owner: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """log q(z|x_owner) and log q(z) of codes (n, d), owner (n,) the image of each: two (n,), nats.

    Differences are whitened, L⁻¹ D_j⁻¹ (z − μ_j), before they are squared. Multiplying the square
    out into one matrix product takes half the time at d = 16 and three times as long at d = 64,
    and it cancels: with σ = 1e-6, where nothing in HEBAE's regulariser holds σ up, it is .02 nats
    off for single codes.

    One code against all posteriors at a time, so a thread takes 8·(2d + 2)·N bytes.
    A σ that is 0 or an L that is singular has no density: :class:`UserError`.
    """
    if not posterior.sigma.all():
        raise UserError("sigma is 0 for some codes and not for others, so they have no density")
    sign, log_determinant = np.linalg.slogdet(posterior.mixing)
    if sign == 0:
        raise UserError("the mixing matrix is singular, so the codes have no density")
    inverse = np.linalg.inv(posterior.mixing)
    # dimensions first: sums over them then run along whole rows of images
    mean = np.ascontiguousarray(posterior.mean.T)
    scale = np.ascontiguousarray(1 / posterior.sigma.T)
    diagonal = not (inverse - np.diag(np.diag(inverse))).any()
    if diagonal:
        scale *= np.diag(inverse)[:, None]
    log_normaliser = -np.log(posterior.sigma).sum(1) - log_determinant - len(mean) / 2 * LOG_2PI

    def densities(part: np.ndarray) -> np.ndarray:
        result = np.empty((2, len(part)))
        difference = np.empty_like(mean)
        mixed = difference if diagonal else np.empty_like(mean)
        for column, code in enumerate(part):
            np.subtract(codes[code][:, None], mean, out=difference)
            np.multiply(difference, scale, out=difference)
            if not diagonal:
                np.matmul(inverse, difference, out=mixed)
            log_density = log_normaliser - np.einsum("dn,dn->n", mixed, mixed) / 2
            peak = log_density.max()
            result[0, column] = log_density[owner[code]]
            result[1, column] = peak + np.log(np.exp(log_density - peak).mean())
        return result

    parts = np.array_split(np.arange(len(codes)), threads)
    own, aggregate = np.concatenate(map_threads(densities, parts, threads), axis=1)
    return own, aggregate


def gaussian_kl(codes: np.ndarray) -> float | None:
    """KL(N(m, S) ‖ N(0, I)) in nats, m and S the moments of codes (n, d); None where S is singular.

    ½ (tr S + mᵀm − d − log det S), Eq. 7.
    """
    mean, covariance = moments(codes)
    d = len(mean)
    if np.linalg.matrix_rank(covariance, hermitian=True) < d:
        return None
    log_determinant = np.linalg.slogdet(covariance)[1]
    return float((np.trace(covariance) + mean @ mean - d - log_determinant) / 2)


def index_code_information(
    posterior: Posterior, rng: np.random.Generator, draws: int = 1, threads: int = 1
) -> dict[str, float | None]:
    """nats (I(n; z)), log_n, kl_aggregate (KL(q(z) ‖ p)) and kl_gaussian, from `draws` codes an
    image. Independent of `threads`.

    Deterministic codes have I = log N exactly where no two are equal (else the entropy of the
    code's value) and an infinite KL(q(z) ‖ p), left empty (None).
    """
    require_at_least(1, draws=draws, threads=threads)
    n, d = posterior.mean.shape
    log_n = float(np.log(n))
    if posterior.deterministic:
        counts = np.unique(posterior.mean, axis=0, return_counts=True)[1]
        codes, kl_aggregate = posterior.mean, None
        nats = log_n - float(counts @ np.log(counts)) / n
    else:
        codes = posterior.sample(rng, draws).reshape(n * draws, d)
        own, aggregate = log_densities(posterior, codes, np.repeat(np.arange(n), draws), threads)
        log_prior = -(codes**2).sum(1) / 2 - d / 2 * LOG_2PI
        nats = float((own - aggregate).mean())
        kl_aggregate = float((aggregate - log_prior).mean())
    return dict(nats=nats, log_n=log_n, kl_aggregate=kl_aggregate, kl_gaussian=gaussian_kl(codes))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line(__doc__)
    parser.add_argument("--draws", type=int, default=1, help="codes an image (default: 1)")
    options = parser.parse_args(arguments)
    run, _ = read_run(options.run)
    posterior = Posterior.load(options.posterior)
    rng = np.random.default_rng(derive_seed(run.seed, "index_code_information"))
    # our threads share the codes; more of BLAS's under each would only get in their way
    try:
        with threadpool_limits(1):
            row = index_code_information(posterior, rng, options.draws, options.threads)
    except UserError as error:
        raise UserError(f"{options.posterior}: {error}") from None
    write_csv(options.output, [run.identity | row])


if __name__ == "__main__":
    command(main)
