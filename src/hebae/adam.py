"""Adam, on PyTorch's own kernel.

``torch.optim.Adam`` imports the compiler (``torch._dynamo``) when it is made, most of a second
in every process of a sweep of short runs; the function underneath does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA2 = 0.999


class Adam:
    """``torch.optim.Adam(parameters, betas=(beta1, .999), eps=epsilon, fused=True)``.

    The rate is given at each step.

    Args:
        parameters: float tensors that require a gradient.
        epsilon: added to the root of the second moment.
        beta1: decay of the first moment.
    """

    def __init__(self, parameters: Iterable[Tensor], epsilon: float, beta1: float = 0.9) -> None:
        self.parameters = list(parameters)
        self.epsilon = epsilon
        self.beta1 = beta1
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters against their gradients, and forget the gradients."""
        adam(
            self.parameters,
            [p.grad for p in self.parameters],
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=BETA2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave, on this optimiser's device."""
        for name, tensors in self.state_dict().items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)
