"""The maximum mean discrepancy between codes and the prior (Gretton et al. 2012). No unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hebae.models.divergences.blocks import mean_over_blocks
from hebae.models.latent import Discrepancy, Normal

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def _inverse_multiquadratic(scale: float, value: Tensor, slope: Tensor | None) -> None:
    value.add_(scale).reciprocal_().mul_(scale)
    if slope is not None:
        slope.addcmul_(value, value, value=-1 / scale)


def _gaussian(scale: float, value: Tensor, slope: Tensor | None) -> None:
    value.div_(-scale).exp_()
    if slope is not None:
        slope.sub_(value, alpha=1 / scale)


# The kernels C/(C + x) and exp(−x/C) of squared distances x. Each function replaces x in `value` by
# the kernel of scale C, and adds its derivative by x to `slope` if given. Both kernels are 1 at 0.
KERNELS = {"imq": _inverse_multiquadratic, "gaussian": _gaussian}


def _sum_over_scales(
    squared: Tensor, scales: Sequence[float], kernel: str, slope: Tensor | None = None
) -> Tensor:
    total, value = torch.zeros_like(squared), torch.empty_like(squared)
    for scale in scales:
        KERNELS[kernel](scale, value.copy_(squared), slope)
        total += value
    return total


class _KernelSum(torch.autograd.Function):
    """Σ_s k_s of squared distances (n, m), and its derivative by them, element by element.

    Autograd would keep a matrix for every operation of every scale until the backward pass: some 60
    for a batch. Their memory pages cost more time than the arithmetic.
    """

    @staticmethod
    def forward(squared: Tensor, scales: Sequence[float], kernel: str) -> tuple[Tensor, Tensor]:
        slope = torch.zeros_like(squared)
        return _sum_over_scales(squared, scales, kernel, slope), slope

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None

    @staticmethod
    def vmap(info, in_dims, squared: Tensor, scales: Sequence[float], kernel: str):
        # element by element, so any shape works
        return _KernelSum.apply(squared, scales, kernel), (in_dims[0], in_dims[0])


def mmd_squared(a: Tensor, b: Tensor, scales: Sequence[float], kernel: str = "imq") -> Tensor:
    """Unbiased estimate of MMD² under a sum of kernels of several scales.

    The within-sample terms leave out the diagonal, and the cross term takes all pairs (Gretton et
    al. 2012, Lemma 6). The estimate may be negative.

    Args:
        a: shape (n, d), n ≥ 2.
        b: shape (m, d), m ≥ 2.
        scales: C of the kernels C/(C + ‖x − y‖²), ``imq``, or exp(−‖x − y‖²/C), ``gaussian``.
        kernel: which of them.
    """

    def gram(x: Tensor, y: Tensor) -> Tensor:
        # distances do not change, but keep their digits where the codes are far from 0
        origin = y.detach().mean(dim=0)
        x, y = x - origin, y - origin
        squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * (x @ y.T)
        squared = squared.clamp_min(0)
        # not `requires_grad` of this tensor, which is always False under vmap
        if torch.is_grad_enabled():
            return _KernelSum.apply(squared, scales, kernel)[0]
        return _sum_over_scales(squared, scales, kernel)

    def within(x: Tensor) -> Tensor:
        n = x.shape[0]
        matrix = gram(x, x)
        return (matrix.sum() - matrix.diagonal().sum()) / (n * (n - 1))

    return within(a) + within(b) - 2 * gram(a, b).mean()


def mmd(
    codes: Tensor,
    normal: Normal,
    *,
    kernel: str = "imq",
    prior_variance: float = 1.0,
    scales: Sequence[float] = SCALES,
) -> Discrepancy:
    """MMD² between codes (n, d), n ≥ 2, and as many samples of N(0, I).

    The kernels' scales are C = 2·d·σ_p²·s. For s = 1 and σ_p² = 1 this is the mean squared distance
    between two samples of the prior (Tolstikhin et al. 2017).

    Args:
        codes: z, shape (n, d).
        normal: source of the prior's samples.
        kernel: ``imq`` or ``gaussian``.
        prior_variance: σ_p².
        scales: the factors s.
    """
    constants = [2 * codes.shape[1] * prior_variance * scale for scale in scales]
    prior = normal(codes)
    return Discrepancy(
        mean_over_blocks(lambda a, b: mmd_squared(a, b, constants, kernel), codes, prior)
    )
