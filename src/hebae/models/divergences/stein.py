"""Stein variational gradient descent of KL(q(z) ‖ p(z)) (Liu & Wang 2016)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hebae.models.divergences.blocks import mean_over_blocks
from hebae.models.latent import Discrepancy, Normal


def _squared_distances(codes: Tensor) -> Tensor:
    """‖z_i − z_j‖², (n, n), from differences.

    Multiplied out, ‖z_i‖² + ‖z_j‖² − 2 z_i·z_j would lose the digits of distances that are small
    beside ‖z‖.
    """
    distances = torch.cdist(codes, codes, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.square()


def median_squared(squared: Tensor) -> Tensor:
    """The median of ‖z_i − z_j‖² (n, n) over the pairs i ≠ j, n ≥ 2; 1 if that is 0."""
    n = squared.shape[0]
    rows, columns = torch.triu_indices(n, n, offset=1, device=squared.device)
    median = squared[rows, columns].median()
    # if most codes are equal there is no scale, and any will do
    return torch.where(median > 0, median, torch.ones_like(median))


def stein_direction(codes: Tensor, bandwidth: Tensor | None = None) -> Tensor:
    """φ(z_i) = mean_j [k(z_j, z_i) ∇log p(z_j) + ∇_{z_j} k(z_j, z_i)], shape (n, d).

    p = N(0, I), so ∇log p(z) = −z; k(x, y) = exp(−‖x − y‖²/h). Moving the codes along φ is the
    steepest descent of KL(q ‖ p) in the kernel's space (Liu & Wang 2016, Eq. 8).

    Args:
        codes: z, shape (n, d), n ≥ 2.
        bandwidth: h; by default med²/log n, so that Σ_j k(z_j, z_i) ≈ n·exp(−med²/h) = 1
            (Liu & Wang 2016, §5).
    """
    squared = _squared_distances(codes)
    h = median_squared(squared) / math.log(len(codes)) if bandwidth is None else bandwidth
    return _direction(codes, squared, h)


def _direction(codes: Tensor, squared: Tensor, h: Tensor) -> Tensor:
    kernel = (squared / -h).exp()
    mass = kernel.sum(1, keepdim=True)
    # differences from the mean lose no digits, wherever the codes lie
    mean = codes.mean(0)
    centred = codes - mean
    centred = centred - centred.mean(0)
    pull = kernel @ centred
    attraction = pull + mass * mean
    # Σ_j ∇_{z_j} k(z_j, z_i) = 2/h Σ_j (z_i − z_j) k(z_j, z_i)
    repulsion = 2 / h * (mass * centred - pull)
    return (repulsion - attraction) / codes.shape[0]


def stein_discrepancy(codes: Tensor, bandwidth: Tensor | None = None) -> Tensor:
    """Kernelised Stein discrepancy of the codes from N(0, I), a scalar; unbiased for a fixed h.

    KSD² = E_{x,y~q} u(x, y) is the rate at which φ of the same h makes KL(q ‖ p) fall. For this
    kernel and p

    u(x, y) = k(x, y)·[x·y − 2‖x − y‖²/h + 2d/h − 4‖x − y‖²/h²]

    (Liu, Lee & Jordan 2016, Theorem 3.6). Pairs i = j are left out, so it may be negative.

    Args:
        codes: z, shape (n, d), n ≥ 2.
        bandwidth: h; by default med², so that a batch and a whole split compare.
    """
    squared = _squared_distances(codes)
    return _discrepancy(codes, squared, median_squared(squared) if bandwidth is None else bandwidth)


def _discrepancy(codes: Tensor, squared: Tensor, h: Tensor) -> Tensor:
    n, d = codes.shape
    ratio = squared / h  # h² of codes that nearly coincide would be 0
    bracket = codes @ codes.T - 2 * ratio + (2 * d - 4 * ratio) / h
    terms = (-ratio).exp() * bracket
    return (terms.sum() - terms.diagonal().sum()) / (n * (n - 1))


def stein(codes: Tensor, normal: Normal) -> Discrepancy:
    """Stein variational gradient for codes (n, d), n ≥ 2; no sample of the prior is needed.

    KL(q(z) ‖ p) itself has no estimate here. The value is the discrepancy KSD², which is 0 if
    q = p. The gradient is that of SVGD: the gradient of −mean_i φ(z_i)·z_i with φ held fixed.
    """

    def surrogate(z: Tensor) -> Tensor:
        with torch.no_grad():
            squared = _squared_distances(z)
            median = median_squared(squared)
            direction = _direction(z, squared, median / math.log(len(z)))
            value = _discrepancy(z, squared, median)
        descent = -(direction * z).sum(1).mean()
        return value + descent - descent.detach()

    return Discrepancy(mean_over_blocks(surrogate, codes))
