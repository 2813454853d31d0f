"""The identities of the paper's Section 3 on a trained run: Theorem 1 and Eqs. 5 to 11.

Each row has both sides of an equation in nats, computed in different ways, and their difference.
μ_i are the means of a split of N images, m̂ and Σ̂ their moments (1/N), S the covariance of the codes
z, p = N(0, I), and R = KL(N(m̂, Σ̂) ‖ p). `kind` says what the equation is:

* ``identity``: it holds for every encoder. The residual is rounding, or a Monte Carlo error that
  `standard_error` states.
* ``approximation``: the paper puts one side for the other. The residual is what that costs.
* ``batch``: the moments are those of a batch, as in training. The residual is what the batch adds.
* ``term``: a term of the objective by itself.

Derivations: docs/identities.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.config.run import Run
from hebae.measures.covariance import moments
from hebae.measures.index_code_information import information_of_values

DRAWS = 20_000
"""Codes of a Monte Carlo mean that needs no density of q(z)."""
PAIRS, FEWEST = 2_000_000, 500
"""Codes × images of one that does, and how many codes it has at least."""
BATCHES = 200
"""Random batches of which a mean is taken."""
BLOCK = 50_000
"""Codes × images × dimensions at a time: what fits into a processor's cache."""


class Side(NamedTuple):
    """One side of an equation, with its standard error; None where it is exact."""

    value: float
    error: float | None = None


def gaussian_kl(mean: np.ndarray, covariance: np.ndarray) -> float:
    """KL(N(m, Σ) ‖ N(0, I)) = ½(tr Σ + mᵀm − d − log det Σ) in nats (Eqs. 7, 11, 16).

    Infinite where Σ is singular: a variance is 0, or the correlations have no full rank.

    Args:
        mean: m, shape (d,).
        covariance: Σ, shape (d, d).
    """
    if singular(covariance):
        return math.inf
    log_det = 2 * np.log(np.diag(np.linalg.cholesky(covariance))).sum()
    return float((np.trace(covariance) + mean @ mean - len(mean) - log_det) / 2)


def singular(covariance: np.ndarray) -> bool:
    """Whether a covariance (d, d) has no inverse, whatever the units of its dimensions."""
    if np.diag(covariance).min() <= 0:
        return True
    correlation = _scaled(covariance)[1]
    return bool(np.linalg.matrix_rank(correlation, hermitian=True) < len(covariance))


def _scaled(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deviations (d,) and correlations (d, d). Eigenvalues of a covariance would lose those of a
    dimension that is 1e-8 of another."""
    deviation = np.sqrt(np.diag(covariance))
    return deviation, covariance / np.outer(deviation, deviation)


def centred_kl(covariance: np.ndarray) -> float:
    """KL(N(m, Σ) ‖ N(m, I)) = ½ Σ_j (s_j² − 1 − log s_j² − log λ_j) in nats, s the deviations and λ
    the eigenvalues of the correlations of Σ (d, d)."""
    if singular(covariance):
        return math.inf
    deviation, correlation = _scaled(covariance)
    variance = deviation**2
    log_eigenvalues = np.log(np.linalg.eigvalsh(correlation))
    return float((variance - 1 - np.log(variance) - log_eigenvalues).sum() / 2)


def penalised_kl(mean: np.ndarray, covariance: np.ndarray, multiplier: float = 1.0) -> float:
    """The right side of Theorem 1 with a multiplier of its own for the mean, in nats:

    KL(N(m, Σ) ‖ N(m, I)) + multiplier · ½‖m‖² (Eq. 17).
    """
    return centred_kl(covariance) + multiplier * float(mean @ mean) / 2


def expected_regulariser(sizes: np.ndarray, d: int) -> np.ndarray:
    """E R in nats of batches of n codes of d dimensions from N(0, I), n > d.

    n Σ̂ is Wishart with n − 1 degrees of freedom, so E tr Σ̂ = d (n − 1)/n, E m̂ᵀm̂ = d/n, and
    E log det Σ̂ = Σ_{i=1..d} ψ((n − i)/2) + d log(2/n). The first two and −d cancel.

    Args:
        sizes: n, integers above d.
        d: dimensions.
    """
    from scipy.special import psi  # here, as this module is imported for its name alone too

    log_det = sum(psi((sizes - i) / 2) for i in range(1, d + 1)) + d * np.log(2 / sizes)
    return -log_det / 2


def code_moments(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance S (d, d) of q(z), exact: S = Σ̂ + mean_i D_i L Lᵀ D_i."""
    mean, covariance = moments(posterior.mean)
    noise = posterior.sigma.T @ posterior.sigma / len(posterior.sigma)
    return mean, covariance + noise * (posterior.mixing @ posterior.mixing.T)


def mean_kl(posterior: Posterior) -> float:
    """mean_i KL(q(z|x_i) ‖ p) in closed form, in nats."""
    square = posterior.mixing @ posterior.mixing.T
    log_det = np.linalg.slogdet(posterior.mixing)[1] + np.log(posterior.sigma).sum(axis=1)
    trace = (posterior.sigma**2) @ np.diag(square) + (posterior.mean**2).sum(axis=1)
    return float((trace / 2 - posterior.mean.shape[1] / 2 - log_det).mean())


def drawn_kl(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> Side:
    """KL(N(m, Σ) ‖ p) by its definition, E log N(z; m, Σ)/p(z), from drawn z; nats."""
    if singular(covariance):
        return Side(math.inf)
    deviation, correlation = _scaled(covariance)
    values, vectors = np.linalg.eigh(correlation)
    noise = rng.standard_normal((DRAWS, len(mean)))
    codes = mean + deviation * ((noise * np.sqrt(values)) @ vectors.T)
    log_det = 2 * np.log(deviation).sum() + np.log(values).sum()
    return _mean(((codes**2).sum(1) - (noise**2).sum(1) - log_det) / 2)


def drawn_posteriors(
    posterior: Posterior, centre: np.ndarray, covariance: np.ndarray, rng: np.random.Generator
) -> tuple[Side, Side]:
    """From the same codes: E ½(z − m)ᵀ S⁻¹ (z − m) under q(z), and mean_i KL(q(z|x_i) ‖ p), nats.

    log q(z|x_i) is taken from the noise, because a tiny σ is lost in z − μ_i. The second is
    infinite where codes are deterministic.
    """
    n, d = posterior.mean.shape
    draws = max(2, DRAWS // n)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    quadratic, divergence = np.empty((n, draws)), np.empty((n, draws))
    for draw in range(draws):
        noise = rng.standard_normal((n, d))
        codes = posterior.mean + posterior.sigma * (noise @ posterior.mixing.T)
        quadratic[:, draw] = (((codes - centre) @ whiten.T) ** 2).sum(1) / 2
        divergence[:, draw] = ((codes**2).sum(1) - (noise**2).sum(1)) / 2
    if posterior.deterministic:
        return _stratified(quadratic), Side(math.inf)
    log_det = np.log(posterior.sigma).sum(1) + np.linalg.slogdet(posterior.mixing)[1]
    return _stratified(quadratic), _stratified(divergence - log_det[:, None])


def informations(posterior: Posterior, rng: np.random.Generator) -> tuple[Side, Side, Side]:
    """I(n; z) as E log q(z|x_n)/q(z), as log N − E H(n|z) (Eq. 10), and the second minus the first.

    In nats, of codes of random images against all N posteriors. Differences of means are taken
    before the noise is added, so that a code's own posterior is exact at any σ.
    """
    n, d = posterior.mean.shape
    n_codes = min(DRAWS, max(FEWEST, PAIRS // n))
    owners = np.concatenate([rng.permutation(n) for _ in range(math.ceil(n_codes / n))])[:n_codes]
    noise = rng.standard_normal((n_codes, d)) @ posterior.mixing.T * posterior.sigma[owners]
    # dimensions first: sums over them then run along whole rows of images
    mean, scale = posterior.mean.T.copy(), 1 / posterior.sigma.T
    log_scale = np.log(posterior.sigma).sum(1)
    inverse = np.linalg.inv(posterior.mixing)
    diagonal = not (inverse - np.diag(np.diag(inverse))).any()
    density, entropy = np.empty(n_codes), np.empty(n_codes)
    for start in range(0, n_codes, step := max(1, BLOCK // (n * d))):
        part = slice(start, start + step)
        own = owners[part]
        with np.errstate(over="ignore"):  # infinitely far is a density of 0
            whitened = (mean[:, own, None] - mean[:, None, :]) + noise[part].T[:, :, None]
            whitened *= scale[:, None, :]
            if diagonal:
                whitened *= np.diag(inverse)[:, None, None]
            else:
                whitened = np.tensordot(inverse, whitened, 1)
            log_density = -np.einsum("dkn,dkn->kn", whitened, whitened) / 2 - log_scale
        ratio = log_density - log_density[np.arange(len(own)), own][:, None]
        peak = ratio.max(1, keepdims=True)
        share = np.exp(ratio - peak)
        total = share.sum(1)
        aggregate = peak[:, 0] + np.log(total)  # log of the sum over images, own posterior 0
        density[part] = math.log(n) - aggregate
        share /= total[:, None]
        seen = np.multiply(share, ratio, out=np.zeros_like(share), where=share > 0).sum(1)
        entropy[part] = math.log(n) - (aggregate - seen)
    return _mean(density), _mean(entropy), _mean(entropy - density)


class Batches(NamedTuple):
    """What a batch's moments give, each over random batches of a split."""

    regulariser: Side
    """R of the batch."""
    others: Side
    """½(μ − m̂)ᵀ Σ̂⁻¹ (μ − m̂) of images outside the batch, with the batch's moments."""
    cross: float
    """The mean correlation of two images' whitened means in a batch."""


def of_batches(means: np.ndarray, size: int, rng: np.random.Generator) -> Batches:
    """Of :data:`BATCHES` batches of `size` of the means (N, d), d < size < N, drawn without
    replacement. R is infinite where a batch's covariance is singular."""
    n, d = means.shape
    centre, covariance = moments(means)
    regularisers, others, cross = [], [], 0.0
    for _ in range(BATCHES):
        batch = means[rng.permutation(n)[:size]]
        mean, spread = moments(batch)
        regularisers.append(gaussian_kl(mean, spread))
        if math.isinf(regularisers[-1]):
            others.append(math.inf)
            continue
        # the second moment about m̂ of all images, less that of the batch
        about = covariance + np.outer(centre - mean, centre - mean)
        outside = (n * about - size * spread) / (n - size)
        others.append(float(np.trace(np.linalg.solve(spread, outside))) / 2)
        whitened = np.linalg.solve(np.linalg.cholesky(spread), (batch - mean).T)
        products = whitened.T @ whitened
        pairs = size * (size - 1) * d
        cross += float(products[~np.eye(size, dtype=bool)].sum()) / pairs / BATCHES
    return Batches(_mean(np.array(regularisers)), _mean(np.array(others)), cross)


def _mean(values: np.ndarray) -> Side:
    """Mean of independent values, and its standard error."""
    if not np.isfinite(values).all():
        return Side(math.inf)
    return Side(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)))


def _stratified(values: np.ndarray) -> Side:
    """Mean of values (N, draws) of the same N images, and its standard error over draws."""
    within = values.var(axis=1, ddof=1).mean()
    return Side(float(values.mean()), math.sqrt(float(within) / values.size))


def _row(
    identity: str, equation: str, kind: str, left: float, right: float, error: float | None = None
) -> dict[str, Any]:
    """A row of the table; a side that is infinite, and its residual, are empty."""
    sides = [value if math.isfinite(value) else None for value in (left, right)]
    residual = None if None in sides else left - right
    names = dict(identity=identity, equation=equation, kind=kind)
    return names | dict(left=sides[0], right=sides[1], residual=residual, standard_error=error)


def identities(
    posterior: Posterior, rng: np.random.Generator, batch_size: int, own_factor: bool
) -> Iterator[dict[str, Any]]:
    """Rows identity, equation, kind, left, right, residual (left − right), standard_error; nats.

    Args:
        batch_size: of training; batches need d < batch_size < N, and without them no row is given.
        own_factor: whether L is made from Σ̂, as HEBAE's is.

    Raises:
        UserError: if σ is 0 for some codes and not for others, or L is singular.
    """
    stochastic = not posterior.deterministic
    if stochastic and not posterior.sigma.all():
        raise UserError("sigma is 0 for some codes and not for others, so they have no density")
    if np.linalg.slogdet(posterior.mixing)[0] == 0:
        raise UserError("the mixing matrix is singular, so the codes have no density")
    n, d = posterior.mean.shape
    mean, covariance = moments(posterior.mean)
    centre, spread = code_moments(posterior)
    regulariser, of_codes = gaussian_kl(mean, covariance), gaussian_kl(centre, spread)
    full = math.isfinite(regulariser)

    # Theorem 1 and the closed form
    right = penalised_kl(mean, covariance)
    yield _row("theorem_1", "Theorem 1, Eqs. 12-17", "identity", regulariser, right)
    drawn = drawn_kl(mean, covariance, rng) if full else Side(math.inf)
    yield _row("closed_form", "Eqs. 7, 11, 16", "identity", regulariser, *drawn)

    # the reparameterisation
    if own_factor:
        square = posterior.mixing @ posterior.mixing.T
        cross = entropy = math.inf
        if full:
            cross = _cross_entropy(covariance, square)
            entropy = _cross_entropy(covariance, covariance)
        yield _row("reparameterisation", "Eqs. 8, 14", "identity", cross, entropy)
    if math.isfinite(of_codes):
        quadratic, divergence = drawn_posteriors(posterior, centre, spread, rng)
    else:
        quadratic, divergence = Side(math.inf), Side(math.inf)
    yield _row("total_covariance", "Eq. 9", "identity", quadratic.value, d / 2, quadratic.error)

    # the decomposition
    if stochastic:
        per_sample = mean_kl(posterior)
        density, entropy_form, difference = informations(posterior, rng)
        errors = [one.error or 0.0 for one in (divergence, difference)]
        right = divergence.value + difference.value
        yield _row("surgery", "Eq. 10", "identity", per_sample, right, math.hypot(*errors))
        sides = density.value, entropy_form.value
        yield _row("information", "Eq. 10", "identity", *sides, difference.error)
        information = density
    else:
        information = Side(information_of_values(posterior.mean))

    # the prior of the means
    quadratic = math.inf
    if full:
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (posterior.mean - mean).T)
        quadratic = float((whitened**2).sum()) / (2 * n)
    yield _row("plugged_in_prior", "Eq. 5", "identity", quadratic, d / 2)
    with_batches = d < batch_size < n
    batches = of_batches(posterior.mean, batch_size, rng) if with_batches else None
    if batches is not None:
        finite = math.isfinite(batches.regulariser.value)
        left = -d / 2 * math.log1p(-(batches.cross**2)) if finite else math.inf
        right = -d / 2 * math.log1p(-1 / (batch_size - 1) ** 2)
        yield _row("cross_image", "Eq. 5", "identity", left, right)

    # what the paper puts for something else
    if own_factor:
        cross = entropy = math.inf
        if full:
            scalar = 1 + (posterior.sigma**2).mean()
            cross = _cross_entropy(spread, scalar * covariance)
            entropy = _cross_entropy(spread, spread)
        yield _row("scalar_variance", "Eqs. 6, 9", "approximation", cross, entropy)
    yield _row("means_for_codes", "Eqs. 7, 9", "approximation", regulariser, of_codes)
    if stochastic:
        aggregate = per_sample - information.value
        error = information.error
        yield _row("gaussian_aggregate", "Eq. 9", "approximation", aggregate, of_codes, error)
    left, error = information
    yield _row("full_information", "Sec. 3.3", "approximation", left, math.log(n), error)

    # what a batch's moments add
    if batches is not None:
        left, error = batches.regulariser
        yield _row("batch_regulariser", "Eqs. 5, 7", "batch", left, regulariser, error)
        (of_batch, of_split) = expected_regulariser(np.array([batch_size, n]), d)
        bias = float(of_batch - of_split)
        yield _row("batch_bias", "Eqs. 5, 7", "approximation", left - regulariser, bias, error)
        left, error = batches.others
        yield _row("batch_prior", "Eq. 5", "batch", left, d / 2, error)

    yield _row("mean_penalty", "Theorem 1", "term", regulariser, centred_kl(covariance))


def _cross_entropy(of: np.ndarray, under: np.ndarray) -> float:
    """−E log N(x; 0, B) of x ~ N(0, A), for A, B (d, d): ½(d log 2π + log det B + tr B⁻¹ A)."""
    d = len(of)
    log_det = np.linalg.slogdet(under)[1]
    trace = np.trace(np.linalg.solve(under, of))
    return float(d * math.log(2 * math.pi) + log_det + trace) / 2


def rows(posterior: Posterior, run: Run, threads: int) -> list[dict[str, Any]]:
    """The rows of a run's table, :func:`identities`."""
    rng = np.random.default_rng(derive_seed(run.seed, "identities"))
    own_factor = run.entries.objective.needs_covariance
    with threadpool_limits(threads):
        return list(identities(posterior, rng, run.training.batch_size, own_factor))
