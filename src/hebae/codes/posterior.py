"""The posterior of a trained run over a whole split, and what commands of measures share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from hebae.base import files, npz
from hebae.base.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z|x_i) = N(μ_i, D_i L Lᵀ D_i), D_i = diag σ_i, for the N images of a split.

    A code is z = μ_i + σ_i ∘ (L ε), ε ~ N(0, I_d). For a VAE, L is the identity. For HEBAE (Eq. 8),
    L is the Cholesky factor of the covariance of means, or the square root of its diagonal.

    mean, sigma: (N, d); mixing: L, (d, d). All float64; codes have no unit (p(z) = N(0, I)).
    """

    mean: np.ndarray
    sigma: np.ndarray
    mixing: np.ndarray

    @classmethod
    def load(cls, path: Path) -> Posterior:
        """Read ``posterior.npz``; a file that is missing or wrong is a :class:`UserError`.

        float32 is converted to float64, because measures subtract nearly equal numbers.
        """
        if not path.exists():
            raise UserError(f"{path}: no such posterior; encode the run first")
        try:
            arrays = npz.read(path, ("mean", "sigma", "mixing"))
            posterior = cls(**{name: np.asarray(arrays[name], np.float64) for name in arrays})
        except ValueError as reason:
            raise UserError(
                f"{path}: not a readable posterior ({reason}); delete it and encode again"
            ) from None
        if problem := posterior._problem():
            raise UserError(f"{path}: {problem}; delete it and encode again")
        return posterior

    def save(self, path: Path) -> None:
        """Write ``posterior.npz``, whole or not at all."""
        with files.replacing(path) as stream:
            np.savez(stream, **vars(self))

    def _problem(self) -> str | None:
        if self.mean.ndim != 2 or self.mean.size == 0:
            return f"mean has shape {self.mean.shape}, expected (images, dimensions)"
        d = self.mean.shape[1]
        for name, expected in (("sigma", self.mean.shape), ("mixing", (d, d))):
            if (shape := getattr(self, name).shape) != expected:
                return f"{name} has shape {shape}, expected {expected}"
        for name in ("mean", "sigma", "mixing"):
            if not np.isfinite(getattr(self, name)).all():
                return f"{name} has values that are not finite (did the training diverge?)"
        if (self.sigma < 0).any():
            return "sigma has negative values"
        return None

    @property
    def deterministic(self) -> bool:
        """Whether a code is a function of its image: σ = 0 throughout."""
        return not self.sigma.any()

    def subset(self, rows: np.ndarray) -> Posterior:
        """The posterior of some of the images; rows: their indices, (n,)."""
        return Posterior(self.mean[rows], self.sigma[rows], self.mixing)

    def sample(self, rng: np.random.Generator, draws: int | None = None) -> np.ndarray:
        """Codes z ~ q(z|x_i), float64: (N, d), or (N, draws, d) when `draws` is given."""
        each = 1 if draws is None else draws
        noise = rng.standard_normal((len(self.mean), each, self.mean.shape[1])) @ self.mixing.T
        codes = self.mean[:, None] + self.sigma[:, None] * noise
        return codes[:, 0] if draws is None else codes


def map_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> list[Result]:
    """``list(map(function, items))`` on `threads` threads; with one, none is started.

    Threads suffice, because numpy and minepy release the interpreter lock.
    """
    if threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def require_at_least(minimum: int, **options: int) -> None:
    """:class:`UserError` naming the first option that is below `minimum`."""
    for name, value in options.items():
        if value < minimum:
            raise UserError(f"--{name} is {value}; it must be at least {minimum}")


def command_line(description: str, output: str) -> argparse.ArgumentParser:
    """The parser of every command that measures posteriors; `output` is the help of --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--posterior", type=Path, required=True, help="posterior.npz of the run")
    parser.add_argument("--run", type=Path, required=True, help="run.json of the same run")
    parser.add_argument("--output", type=Path, required=True, help=output)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser
