"""The maximum mean discrepancy between codes and the prior (Gretton et al. 2012). No unit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hebae.divergences.blocks import mean_over_blocks
from hebae.latent import Discrepancy, Normal

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

# of a scale C and squared distances; both are 1 at 0
KERNELS = {
    "imq": lambda scale, squared: scale / (scale + squared),
    "gaussian": lambda scale, squared: (squared / -scale).exp(),
}


def mmd_squared(a: Tensor, b: Tensor, scales: Sequence[float], kernel: str = "imq") -> Tensor:
    """Unbiased estimate of MMD² under a sum of kernels of several scales.

    The within-sample terms leave out the diagonal, the cross term takes all pairs (Gretton et
    al. 2012, Lemma 6), so the estimate may be negative.

    Args:
        a: shape (n, d), n ≥ 2.
        b: shape (m, d), m ≥ 2.
        scales: C of the kernels C/(C + ‖x − y‖²), ``imq``, or exp(−‖x − y‖²/C), ``gaussian``.
        kernel: which of them.
    """

    def gram(x: Tensor, y: Tensor) -> Tensor:
        squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * (x @ y.T)
        squared = squared.clamp_min(0)
        return sum(KERNELS[kernel](scale, squared) for scale in scales)

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

    The kernels' scales are C = 2·d·σ_p²·s: for s = 1 and σ_p² = 1, the mean squared distance of
    two samples of the prior (Tolstikhin et al. 2017).

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
