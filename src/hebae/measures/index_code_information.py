"""Information of a code about its image's index, and the distance of all codes to the prior.

The paper's Eq. 10 (ELBO surgery, Hoffman & Johnson 2016), q(z) = 1/N Σ_j q(z|x_j):

    mean_i KL(q(z|x_i) ‖ p) = I(n; z) + KL(q(z) ‖ p),     0 ≤ I(n; z) ≤ log N.

All are in nats, by Monte Carlo over codes z ~ q(z|x_i) against all N posteriors. A mixture over a
batch of M posteriors could not give more than log M. Nothing is clipped, so noise may give values
below 0.

``kl_gaussian`` is the KL that the paper plots (Eq. 7), KL(N(m, S) ‖ N(0, I)), but with the moments
of codes z sampled over the split; the paper takes the means μ of a batch. Because log p is
quadratic, KL(q(z) ‖ p) = KL(q(z) ‖ N(m, S)) + kl_gaussian. So ``kl_aggregate`` − ``kl_gaussian`` is
how far q(z) is from a Gaussian.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior, map_threads, require_at_least
from hebae.config.run import Run
from hebae.measures.covariance import moments

LOG_2PI = float(np.log(2 * np.pi))

# A posterior so many nats below the code's own contributes 2e-22 of a density. For any number of
# images that fit in memory, all such posteriors together are less than a rounding error.
NEGLIGIBLE = 50.0
CHUNK = 16  # codes whose bounds are computed together


def log_densities(
    posterior: Posterior, codes: np.ndarray, owner: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """log q(z|x_owner) and log q(z) of codes (n, d), owner (n,) the image of each: two (n,), nats.

    Differences are whitened, L⁻¹ D_j⁻¹ (z − μ_j), before they are squared. Multiplying the square
    out into one matrix product for all codes and images would lose digits: with σ = 1e-6, which
    HEBAE reaches, it is .02 nats off for single codes. But a lower bound of the square rules out
    most images (:func:`_bounds`), and only the others are whitened. Everything that is left out of
    a sum is below its last digit.

    A thread takes about 8·(2d + CHUNK)·N bytes, and all threads share 8·4d·(n + N).
    Raises :class:`UserError` if σ is 0 or L is singular, because then there is no density.
    """
    if not posterior.sigma.all():
        raise UserError("sigma is 0 for some codes and not for others, so they have no density")
    sign, log_determinant = np.linalg.slogdet(posterior.mixing)
    if sign == 0:
        raise UserError("the mixing matrix is singular, so the codes have no density")
    # D_j L = D_j diag(length) · mixing: a diagonal L is all in the scale, and `mixing` I or nearly
    length = np.linalg.norm(posterior.mixing, axis=1)
    mixing = posterior.mixing / length[:, None]
    diagonal = not (mixing - np.diag(np.diag(mixing))).any()
    inverse = np.linalg.inv(mixing)
    # dimensions first: sums over them then run along whole rows of images
    mean = np.ascontiguousarray(posterior.mean.T)
    scale = np.ascontiguousarray(1 / (posterior.sigma * length).T)
    log_normaliser = -np.log(posterior.sigma).sum(1) - log_determinant - len(mean) / 2 * LOG_2PI

    def exact(
        code: np.ndarray, images: np.ndarray | slice, out: np.ndarray | None = None
    ) -> np.ndarray:
        """log q(z|x) of codes (d,) or (d, k), of all k images each; out: (d, k) to work in."""
        whitened = np.subtract(code, mean[:, images], out=out)
        whitened *= scale[:, images]
        if not diagonal:
            whitened = inverse @ whitened
        return log_normaliser[images] - np.einsum("dk,dk->k", whitened, whitened) / 2

    own = exact(codes.T, owner)
    of_codes, of_images = _bounds(codes, mean, scale, np.linalg.norm(mixing, 2), log_normaliser)

    def aggregate(start: int) -> list[float]:
        part = slice(start, start + CHUNK)
        near = of_codes[part] @ of_images <= 2 * (NEGLIGIBLE - own[part, None])
        work = np.empty_like(mean)
        result = []
        for code, chosen in zip(codes[part, :, None], near, strict=True):
            images = np.flatnonzero(chosen)
            if 2 * len(images) > len(chosen):  # all are less work than a selection of most
                log_density = exact(code, slice(None), work)
            else:
                log_density = exact(code, images)
            peak = log_density.max()
            result.append(peak + np.log(np.exp(log_density - peak).sum() / len(chosen)))
        return result

    chunks = map_threads(aggregate, range(0, len(codes), CHUNK), threads)
    return own, np.concatenate(chunks)


def _bounds(
    codes: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    norm: float,
    log_normaliser: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Factors (n, 2d + 1) and (2d + 1, N) of a product that is ≤ −2 log q(z_i|x_j), (n, N).

    With v the scaled difference, ‖mixing⁻¹ v‖ ≥ ‖v‖ / ‖mixing‖₂, and ‖v‖² = Σ s²z² − 2s²zμ + s²μ²
    over the dimensions. A sum of 2d + 1 such products is off by at most 2d + 1 roundings of
    Σ |…| ≤ 2 Σ s²z² + s²μ²; the squares are taken smaller by more than that.

    codes: (n, d); mean, scale: (d, N); norm: ‖mixing‖₂; log_normaliser: (N,).
    """
    terms = 2 * len(mean) + 1
    shrink = 1 - 4 * (terms + 4) * np.finfo(float).eps
    precision = (scale / norm) ** 2
    linear = -2 * precision * mean
    constant = shrink * (precision * mean**2).sum(0) - 2 * log_normaliser
    of_images = np.concatenate([shrink * precision, linear, constant[None]])
    return np.column_stack([codes**2, codes, np.ones(len(codes))]), of_images


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

    Deterministic codes have I = log N exactly if no two are equal, and otherwise the entropy of the
    code's value. Their KL(q(z) ‖ p) is infinite, and is left empty (None).
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


def rows(posterior: Posterior, run: Run, threads: int) -> list[dict[str, float | None]]:
    """The row of a run's table, :func:`index_code_information`."""
    rng = np.random.default_rng(derive_seed(run.seed, "index_code_information"))
    # our threads share the codes; threads of BLAS under each of them would only get in the way
    with threadpool_limits(1):
        return [index_code_information(posterior, rng, threads=threads)]
