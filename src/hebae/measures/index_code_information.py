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
from hebae.measures.covariance import log_det, moments

LOG_2PI = float(np.log(2 * np.pi))

# A posterior so many nats below the code's own contributes 2e-22 of a density. For any number of
# images that fit in memory, all such posteriors together are less than a rounding error.
NEGLIGIBLE = 50.0
CHUNK = 16  # codes whose bounds are computed together


def log_densities(
    posterior: Posterior, noise: np.ndarray, owner: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """log q(z|x_i) and log q(z) of codes z = μ_i + D_i L ε: two (n,), in nats.

    noise: ε, (n, d); owner: the image i of each code, (n,).

    The code itself has lost the noise where σ is below its rounding, 1e-16·|μ|. So log q(z|x_i) is
    that of the noise, −½‖ε‖² − log det D_i L − d/2 log 2π, and the difference to the mean of image
    j is (μ_i − μ_j) + D_i L ε: for j = i the noise alone.

    Differences are whitened, L⁻¹ D_j⁻¹ (z − μ_j), before they are squared. Multiplying the square
    out into one matrix product for all codes and images would lose digits: with σ = 1e-6, which
    HEBAE reaches, it is .02 nats off for single codes. But a lower bound of the square rules out
    most images (:func:`_bounds`), and only the others are whitened. Everything that is left out of
    a sum is below its last digit.

    A thread takes about 8·(2d + CHUNK)·N bytes, and all threads share 8·(6d·n + 5d·N).
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
    displaced = posterior.sigma[owner] * (noise @ posterior.mixing.T)

    def log_density(
        code: int, images: np.ndarray | slice, out: np.ndarray | None = None
    ) -> np.ndarray:
        """log q(z|x) of a code for all k images, (k,); out: (d, k) to work in."""
        whitened = np.subtract(mean[:, owner[code], None], mean[:, images], out=out)
        whitened += displaced[code, :, None]
        whitened *= scale[:, images]
        if not diagonal:
            whitened = inverse @ whitened
        return log_normaliser[images] - np.einsum("dk,dk->k", whitened, whitened) / 2

    own = log_normaliser[owner] - np.einsum("nd,nd->n", noise, noise) / 2
    near_0 = mean - mean.mean(1, keepdims=True)  # where bounds lose the fewest digits
    codes = near_0.T[owner] + displaced
    of_codes, of_images = _bounds(codes, near_0, scale, np.linalg.norm(mixing, 2), log_normaliser)

    def aggregate(start: int) -> list[float]:
        part = slice(start, start + CHUNK)
        near = of_codes[part] @ of_images <= 2 * (NEGLIGIBLE - own[part, None])
        work = np.empty_like(mean)
        result = []
        for code, chosen in enumerate(near, start):
            images = np.flatnonzero(chosen)
            if 2 * len(images) > len(chosen):  # all are less work than a selection of most
                found = log_density(code, slice(None), work)
            else:
                found = log_density(code, images)
            peak = found.max()
            result.append(peak + np.log(np.exp(found - peak).sum() / len(chosen)))
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
    log_determinant = log_det(codes)
    if log_determinant is None:
        return None
    return float((np.trace(covariance) + mean @ mean - len(mean) - log_determinant) / 2)


def information_of_values(codes: np.ndarray) -> float:
    """I(n; z) in nats of deterministic codes (N, d): log N exactly if no two are equal."""
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    return float(np.log(len(codes)) - counts @ np.log(counts) / len(codes))


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
        codes, kl_aggregate = posterior.mean, None
        nats = information_of_values(codes)
    else:
        noise, owner = rng.standard_normal((n * draws, d)), np.repeat(np.arange(n), draws)
        codes = posterior.mean[owner] + posterior.sigma[owner] * (noise @ posterior.mixing.T)
        own, aggregate = log_densities(posterior, noise, owner, threads)
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
