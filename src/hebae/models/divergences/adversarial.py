"""The Jensen-Shannon divergence, from a discriminator of codes and samples of the prior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from hebae.models.latent import Discrepancy, Normal
from hebae.models.networks.dense import stack


class Discriminator(nn.Module):
    """Gives the logit T(z), (n,), that codes (n, d) were drawn from the prior.

    T(z) = log p(z) + f(z) up to a constant, with a dense network f. At the optimum
    T = log p − log q, and log p is known (Tolstikhin et al. 2017, §4). So codes far from the prior
    are pulled back from the first step on, even where the network has not been trained.

    Args:
        latent_dim: d.
        generator: source of the initial parameters.
        widths: hidden widths.
        rate_factor: this network's learning rate in units of the run's.
        adam_beta1: decay of the first moment of its own optimiser.
    """

    def __init__(
        self,
        latent_dim: int,
        generator: torch.Generator,
        *,
        widths: Sequence[int] = (256, 256),
        rate_factor: float = 0.3,
        adam_beta1: float = 0.5,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*stack([latent_dim, *widths, 1], generator)[:-1])
        self.rate_factor = rate_factor
        self.adam_beta1 = adam_beta1

    def forward(self, codes: Tensor) -> Tensor:
        log_prior = -0.5 * (codes.square() - 1).sum(dim=1)
        return log_prior + self.layers(codes)[:, 0]


def adversarial(codes: Tensor, normal: Normal, *, adversary: nn.Module) -> Discrepancy:
    """JS(q(z) ‖ p) between codes (n, d) and as many samples of N(0, I), 0 to log 2 nats.

    The discriminator lowers E_p[softplus(−T)] + E_q[softplus(T)], whose least value is log 4 − 2·JS
    (Goodfellow et al. 2014, Theorem 1). The value here is the part of JS that it has reached, a
    lower bound. Codes follow the non-saturating gradient, that of E_q[softplus(−T)] = −E_q[log D],
    as in the WAE-GAN.
    """
    # the gradient of the codes passes through the discriminator but must not move it
    frozen = {name: value.detach() for name, value in adversary.named_parameters()}
    prior = adversary(normal(codes))
    loss = softplus(-prior).mean() + softplus(adversary(codes.detach())).mean()
    fooled = softplus(-functional_call(adversary, frozen, (codes,))).mean()
    value = math.log(2) - 0.5 * loss.detach()
    return Discrepancy(value + fooled - fooled.detach(), loss)
