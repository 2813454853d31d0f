"""MIC and TIC against minepy in a plain loop, and index-code information against all pairs.

``python -m benchmarks.information``

Both sides of a case are processes that have loaded everything when the clock starts, have the
same posterior and draw the same codes. Their values must be identical, those of the index-code
information equal to 1e-10; all pairs are whitened one code at a time, in buffers that stay. Two
jobs side by side are what the workflow runs: one thread each, seconds per job.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from minepy import MINE
from threadpoolctl import threadpool_limits

from benchmarks import harness
from hebae.codes.posterior import Posterior
from hebae.measures import index_code_information, mutual_information

CODES = 1000  # of the index-code information; all pairs at d = 64 take half a minute for 10,000


def evenly(images: int, d: int) -> Posterior:
    """Dimensions from informative to collapsed: σ from .1 to .95, Var(z_j) = 1."""
    sigma = np.linspace(0.1, 0.95, d)
    mean = np.random.default_rng(0).normal(size=(images, d)) * np.sqrt(1 - sigma**2)
    return Posterior(mean, np.broadcast_to(sigma, mean.shape).copy(), np.eye(d))


def like_trained(kind: str, images: int, d: int) -> Posterior:
    """Codes of unit variance with the σ and L of models trained on MNIST for 3 epochs.

    hebae: λ = 1, σ is 1e-6 to .06, its median .001, and L is nearly I. vae: λ = 1, .05 to .35.
    collapsed: λ = 10, nearly the prior.
    """
    rng = np.random.default_rng(0)
    shape = (images, d)
    if kind == "hebae":
        sigma = np.exp(rng.normal(np.log(1e-3), 1.5, shape))
        mixing = np.linalg.cholesky(np.eye(d) + np.tril(rng.normal(0, 0.02, (d, d)), -1))
    else:
        low, high = {"vae": (0.05, 0.35), "collapsed": (0.9, 1.0)}[kind]
        sigma, mixing = rng.uniform(low, high, shape), np.eye(d)
    return Posterior(rng.normal(size=shape) * np.sqrt(1 - sigma.clip(max=1) ** 2), sigma, mixing)


def minepy_loop(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    scores = []
    for x, y in pairs:
        mine = MINE(alpha=0.6, c=15, est="mic_e")
        mine.compute_score(x, y)
        scores.append((mine.mic(), mine.tic(norm=True)))
    return np.array(scores)


def mean_vs_sample(side: str, posterior: Posterior, threads: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    if side == "hebae":
        return mutual_information.mean_vs_sample(posterior, rng, threads)
    codes = posterior.sample(rng)
    return minepy_loop(list(zip(posterior.mean.T.copy(), codes.T.copy(), strict=True)))


def indices_draws(
    side: str, posterior: Posterior, threads: int, indices: int, draws: int, sets: int
) -> np.ndarray:
    rng = np.random.default_rng(1)
    if side == "hebae":
        return mutual_information.indices_draws(posterior, rng, indices, draws, sets, threads)
    label = np.repeat(np.arange(indices, dtype=float), draws)
    pairs = []
    for _ in range(sets):
        rows = rng.choice(len(posterior.mean), indices, replace=False)
        codes = posterior.subset(rows).sample(rng, draws).reshape(indices * draws, -1)
        pairs += [(label, column) for column in codes.T.copy()]
    return minepy_loop(pairs).reshape(sets, -1, 2).mean(0)


def index_code(side: str, posterior: Posterior, threads: int, codes: int) -> np.ndarray:
    """log q(z|x) and log q(z) of some codes, against all images."""
    noise = np.random.default_rng(1).standard_normal((codes, posterior.mean.shape[1]))
    if side == "hebae":
        owner = np.arange(codes)
        return np.array(index_code_information.log_densities(posterior, noise, owner, threads))
    chosen = posterior.mean[:codes] + posterior.sigma[:codes] * (noise @ posterior.mixing.T)
    inverse = np.linalg.inv(posterior.mixing)
    diagonal = not np.any(inverse != np.eye(len(inverse)))
    mean, scale = posterior.mean.T.copy(), np.ascontiguousarray(1 / posterior.sigma.T)
    constant = -np.log(posterior.sigma).sum(1) - np.linalg.slogdet(posterior.mixing)[1]
    constant -= len(mean) / 2 * np.log(2 * np.pi)
    difference = np.empty_like(mean)
    mixed = difference if diagonal else np.empty_like(mean)
    rows = []
    for image, code in enumerate(chosen):
        np.subtract(code[:, None], mean, out=difference)
        np.multiply(difference, scale, out=difference)
        if not diagonal:
            np.matmul(inverse, difference, out=mixed)
        density = constant - np.einsum("dn,dn->n", mixed, mixed) / 2
        peak = density.max()
        rows.append((density[image], peak + np.log(np.exp(density - peak).mean())))
    return np.array(rows).T


def cases(images: int, d: int, wide: int, sets: int, codes: int) -> dict[str, tuple]:
    """Name: (function of a side and threads, its posterior's maker)."""
    drawn = partial(indices_draws, indices=20, draws=50, sets=sets)
    table: dict[str, tuple[Callable, Callable[[], Posterior]]] = {
        f"MIC/TIC mean_vs_sample: {d} dimensions × {images} points": (
            mean_vs_sample,
            partial(evenly, images, d),
        ),
        f"MIC/TIC indices_draws: {d} dimensions × {sets} sets of 20 × 50": (
            drawn,
            partial(evenly, images, d),
        ),
    }
    for kind, size in (("hebae", d), ("hebae", wide), ("vae", d), ("collapsed", d)):
        table[f"log q(z): {codes} codes, {images} images, d = {size}, {kind}"] = (
            partial(index_code, codes=codes),
            partial(like_trained, kind, images, size),
        )
    return table


def measured(case: str, side: str, threads: int, sizes: dict[str, int]) -> None:
    """What a measured process does: prints seconds and values."""
    function, posterior = cases(**sizes)[case]
    posterior = posterior()
    with threadpool_limits(1):
        harness.wait_for_start()
        started = time.perf_counter()
        values = function(side, posterior=posterior, threads=threads)
        seconds = time.perf_counter() - started
    print(json.dumps(dict(seconds=seconds, values=values.tolist())))


class Sides:
    """The sides of a case; whatever one of them finds, all must."""

    def __init__(self, case: str, tolerance: float, sizes: dict[str, int]) -> None:
        self.case, self.tolerance, self.sizes = case, tolerance, sizes
        self.values: np.ndarray | None = None

    def seconds(self, side: str, threads: int = 1, copies: int = 1) -> float:
        """Seconds per job, of the slowest of the copies that ran side by side."""
        what = json.dumps(dict(case=self.case, side=side, threads=threads, sizes=self.sizes))
        command = ["-m", "benchmarks.information", "--measure", what]
        results = harness.together(command, copies)
        for result in results:
            values = np.array(result["values"])
            self.values = values if self.values is None else self.values
            if not np.allclose(values, self.values, rtol=self.tolerance, atol=self.tolerance):
                sys.exit(f"{self.case}: {side} has other values")
        return max(result["seconds"] for result in results) / copies


def benchmark(turns: int, sizes: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for case in cases(**sizes):
        if case.startswith("MIC"):
            of = Sides(case, 0, sizes).seconds
            sides = {
                "minepy in a loop": partial(of, "loop"),
                "hebae, 2 threads": partial(of, "hebae", threads=2),
                "hebae, 2 jobs side by side": partial(of, "hebae", copies=2),
            }
        else:
            of = Sides(case, 1e-10, sizes).seconds
            sides = {"all pairs": partial(of, "all"), "hebae": partial(of, "hebae")}
        rows += harness.in_turn(case, sides, turns, "seconds")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.command_line(__doc__, turns=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, nargs=2, default=(10, 64), metavar=("D", "WIDE"))
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--codes", type=int, default=CODES)
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measured(**options.measure)
        return
    d, wide = options.dimensions
    sizes = dict(images=options.images, d=d, wide=wide, sets=options.sets, codes=options.codes)
    table = harness.save("information", benchmark(options.turns, sizes), options.output)
    harness.draw("information", table, options.output)
    for case, rows in table.groupby("case", sort=False):
        plain, *ours = dict.fromkeys(rows.side)
        for side in ours:
            times = harness.spread(harness.ratios(table, case, plain, side))
            print(f"{case}: {side} {times} × as fast as {plain}")


if __name__ == "__main__":
    main()
