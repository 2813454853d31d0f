"""Distance of the aggregate posterior to the prior over whole splits (Zhao, Song & Ermon 2017).

The two diagnostics of the InfoVAE paper for q(z) against p(z) = N(0, I), both from one code
z ~ q(z|x_i) for every image of a split:

* ``mmd``: MMD² over the whole split, with the scales that the objectives' kernels have at σ_p² = 1.
  It is unbiased for images drawn from a population, so it may be negative; nothing is clipped.
  ``null_low`` to ``null_high`` holds 95 % of the estimates if q = p, by random relabelling of codes
  and samples. It is not a confidence interval of MMD².
* ``log_det``: log det of the covariance of q(z), 0 for the prior.

An encoder fitted to its images can lay their codes out more evenly than samples of the prior. A
training split may then lie below the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior, command_line, map_threads, require_at_least
from hebae.config.protocols import Diagnostics, add_protocol
from hebae.config.run import read_run
from hebae.measures.covariance import log_det

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def _inverse_multiquadratic(squared: np.ndarray, constant: float, out: np.ndarray) -> None:
    np.add(squared, constant, out=out)
    np.divide(constant, out, out=out)


def _gaussian(squared: np.ndarray, constant: float, out: np.ndarray) -> None:
    np.multiply(squared, -1 / constant, out=out)
    np.exp(out, out=out)


# C/(C + ‖a − b‖²) and exp(−‖a − b‖²/C), from the squared distances
KERNELS: dict[str, Callable[[np.ndarray, float, np.ndarray], None]] = {
    "imq": _inverse_multiquadratic,
    "gaussian": _gaussian,
}


class Mmd(NamedTuple):
    """An estimate of MMD², its permutation interval and its one-sided p-value; no unit."""

    estimate: float
    null_low: float
    null_high: float
    p_value: float


def kernel_matrix(a: np.ndarray, b: np.ndarray, kernel: str) -> np.ndarray:
    """Σ_s k_s(a_i, b_j) of points (n, d) and (m, d), C_s = 2·d·s: (n, m).

    2·d is the mean of ‖a − b‖² for two samples of N(0, I).
    """
    squared = a @ (-2 * b.T)
    squared += np.einsum("id,id->i", a, a)[:, None]
    squared += np.einsum("jd,jd->j", b, b)
    np.maximum(squared, 0, out=squared)  # rounding can leave equal points below 0
    total, term = np.zeros_like(squared), np.empty_like(squared)
    for scale in SCALES:
        KERNELS[kernel](squared, 2 * a.shape[1] * scale, term)
        total += term
    return total


def relabellings(n: int, m: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Which of n + m pooled points count as codes, bool, (n + m, 1 + permutations).

    Column 0 is the observed labelling, the first n points. Each other column has n random points.
    """
    labels = np.zeros((n + m, 1 + permutations), bool)
    labels[:n, 0] = True
    for column in range(1, 1 + permutations):
        labels[rng.permutation(n + m)[:n], column] = True
    return labels


def mmd(
    codes: np.ndarray,
    prior: np.ndarray,
    kernel: str = "imq",
    permutations: int = 200,
    rng: np.random.Generator | None = None,
    chunk: int = 512,
    threads: int = 1,
) -> Mmd:
    """MMD² between codes (n, d) and samples of the prior (m, d), n and m ≥ 2; no unit.

    This is the U-statistic of Gretton et al. 2012, Lemma 6: the within terms leave out i = j, and
    the cross term takes all pairs. The interval is from the 2.5 % to the 97.5 % quantile of the
    estimates for `permutations` ≥ 1 random relabellings of the pooled points. They are drawn from
    `rng`, by default always the same ones. The p-value is (1 + #{relabelled ≥ observed}) / (1 +
    permutations).

    Every pair i < j of the pooled points is computed once, for all labellings together. With U the
    kernel above the diagonal and A the labellings, all sums follow from U·A. The work is done in
    blocks of `chunk` × `chunk`: a thread takes about 40·chunk² bytes, and A takes
    (n + m)·(2 + permutations). `chunk` changes the result by rounding only, `threads` not at all.

    10,000 codes against 10,000 samples take 4 s on one slow core, and 60,000 take 50 s. float32
    would halve that.
    """
    n, m = len(codes), len(prior)
    if min(n, m) < 2:
        raise ValueError(f"MMD² needs two points of either kind, not {n} codes and {m} samples")
    points = np.concatenate([codes, prior])
    labels = relabellings(n, m, permutations, rng or np.random.default_rng(0))
    # a last column that is all ones: what it yields are the sums over all points
    labels = np.column_stack([labels, np.ones(n + m, bool)])

    def pair_sums(start: int) -> np.ndarray:
        """Σ k over the pairs i < j, i in the chunk from `start`, in which both, i or j are codes.

        Of every labelling: (3, 2 + permutations).
        """
        rows = slice(start, start + chunk)
        product = np.zeros((len(points[rows]), labels.shape[1]))
        for column in range(start, len(points), chunk):
            others = slice(column, column + chunk)
            block = kernel_matrix(points[rows], points[others], kernel)
            if column == start:
                block = np.triu(block, 1)
            product += block @ labels[others].astype(float)
        own = labels[rows].astype(float)
        return np.stack([(own * product).sum(0), product[:, -1] @ own, product.sum(0)])

    # added in the order of the chunks, whichever thread they were computed on
    both, first, second = sum(map_threads(pair_sums, range(0, len(points), chunk), threads))
    cross = first + second - 2 * both
    neither = both[-1] - both - cross
    estimates = 2 * (both / (n * (n - 1)) + neither / (m * (m - 1)) - cross / (n * m))[:-1]
    observed, null = estimates[0], estimates[1:]
    low, high = np.quantile(null, (0.025, 0.975))
    p_value = (1 + int(np.count_nonzero(null >= observed))) / (1 + permutations)
    return Mmd(float(observed), float(low), float(high), p_value)


def log_det_of_the_prior(n: int, d: int) -> tuple[float, float] | None:
    """2.5 and 97.5 % of :func:`log_det` for n codes from N(0, I_d); None where n ≤ d.

    n·Σ̂ is Wishart with n − 1 degrees of freedom, so that log det Σ̂ is distributed as
    Σ_{i=1..d} log χ²_{n−i} − d log n (Muirhead 1982, Theorem 3.2.15): below 0 for few codes.
    """
    if n <= d:
        return None
    freedom = n - np.arange(1, d + 1)
    draws = np.log(np.random.default_rng(0).chisquare(freedom, (20_000, d))).sum(1)
    low, high = np.quantile(draws - d * np.log(n), (0.025, 0.975))
    return float(low), float(high)


def diagnostics(
    posterior: Posterior,
    rng: np.random.Generator,
    kernel: str = "imq",
    permutations: int = 200,
    n_prior: int | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """One row: n_codes, n_prior, kernel, mmd, null_low, null_high, p_value, log_det, log_det_low,
    log_det_high.

    `n_prior` is the number of samples of the prior. By default it is the number of codes, but at
    least 2,000, so that samples add little noise to a small split, and at most 10,000, to limit the
    time. The result does not depend on `threads`.
    """
    require_at_least(1, threads=threads)
    n, d = posterior.mean.shape
    if n_prior is None:
        n_prior = max(2_000, min(n, 10_000))
    codes = posterior.sample(rng)
    prior = rng.standard_normal((n_prior, d))
    estimate, low, high, p_value = mmd(codes, prior, kernel, permutations, rng, threads=threads)
    log_det_low, log_det_high = log_det_of_the_prior(n, d) or (None, None)
    return dict(
        n_codes=n,
        n_prior=n_prior,
        kernel=kernel,
        mmd=estimate,
        null_low=low,
        null_high=high,
        p_value=p_value,
        log_det=log_det(codes),
        log_det_low=log_det_low,
        log_det_high=log_det_high,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line(
        "Distance of the codes of both splits to the prior.", "CSV table to write"
    )
    parser.add_argument(
        "--train-posterior", type=Path, required=True, help="posterior of the training split"
    )
    add_protocol(parser, Diagnostics)
    options = parser.parse_args(arguments)
    asked = options.protocol
    run, record = read_run(options.run)
    if "n_train" not in record:
        raise UserError(f"{options.run}: does not say how many images it was trained on (n_train)")
    rows = []
    for split, path in (("train", options.train_posterior), ("test", options.posterior)):
        posterior = Posterior.load(path)
        if len(posterior.mean) < 2:
            raise UserError(f"{path}: one image only; the MMD needs two")
        rng = np.random.default_rng(derive_seed(run.seed, f"diagnostics/{split}"))
        # our threads share the points; threads of BLAS under each of them would only get in the way
        with threadpool_limits(1):
            row = diagnostics(
                posterior, rng, asked.kernel, asked.permutations, threads=options.threads
            )
        rows.append(run.identity | dict(n_train=record["n_train"], split=split) | row)
    write_csv(options.output, rows)


if __name__ == "__main__":
    command(main)
