"""The learning rate, and Adam on PyTorch's own kernel.

``torch.optim.Adam`` gives the same bits at the same speed. But creating it imports the compiler
(``torch._dynamo``), which takes 1.2 s of a core in every process of a sweep of short runs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hebae.base.device import computed
from hebae.config.run import Training
from hebae.models.autoencoder import Autoencoder

BETA2 = 0.999
EPSILON = 1e-7  # Keras's default, which the released code uses


def learning_rate(epoch: int, training: Training) -> float:
    """Adam's rate in an epoch counted from 0: initial · decay^epoch, divided at the steps.

    App. B.1 has a decay, App. B.2 has steps. The divisors of all steps that have passed multiply.
    """
    divisors = (divisor for epochs, divisor in training.learning_rate_steps if epoch >= epochs)
    rate = training.learning_rate * training.learning_rate_decay**epoch
    return rate / math.prod(divisors)


def resets(epoch: int, training: Training) -> bool:
    """Whether Adam starts anew, its moments 0, in an epoch counted from 0.

    The released code creates it again in each epoch on MNIST, and at each step of the schedule on
    CelebA; the text does not say so.
    """
    if training.reset_optimiser == "epoch":
        return True
    steps = (epochs for epochs, _ in training.learning_rate_steps)
    return training.reset_optimiser == "step" and epoch in steps


def working_copy(model: Autoencoder) -> Autoencoder:
    """The model with respect to which gradients are taken; the parameters stay in float32.

    With the precision bfloat16 its dense layers have copies of the parameters in bfloat16. They are
    rounded once for each step, when the parameters move, instead of in each pass. The values are
    those of autocast. Everything else is the model's own, including an adversary, which is part of
    the objective.
    """
    if computed(model.run.training.precision, model.device) != "bfloat16":
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    working = copy.deepcopy(model, shared)
    for module in (*working.encoder.modules(), *working.decoder.modules()):
        if isinstance(module, nn.Linear):
            for name, parameter in module.named_parameters(recurse=False):
                low = parameter.detach().to(torch.bfloat16)
                module.register_parameter(name, nn.Parameter(low))
    return working


class Adam:
    """``torch.optim.Adam(parameters, betas=(beta1, .999), eps=epsilon, fused=True)``.

    The learning rate is an argument of each step.

    Args:
        parameters: float32 tensors that require a gradient.
        epsilon: added to the root of the second moment.
        beta1: decay of the first moment.
        working: a copy of each parameter in fewer bits, which follows the parameter and has the
            gradient (:func:`working_copy`); by default the parameters themselves.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        epsilon: float,
        beta1: float = 0.9,
        working: Iterable[Tensor] | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.working = self.parameters if working is None else list(working)
        self.epsilon = epsilon
        self.beta1 = beta1
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]
        # A CPU has one parameter's gradient in its cache until that parameter has moved; on a GPU
        # every group costs a launch.
        count = len(self.parameters)
        alone = count > 0 and self.parameters[0].device.type == "cpu"
        self.groups = [slice(k, k + 1) for k in range(count)] if alone else [slice(0, count)]

    def minimise(self, loss: Tensor, learning_rate: float) -> None:
        """Move the parameters against the gradient of a loss, and clear the gradient."""
        loss.backward()
        with torch.no_grad():
            torch._foreach_add_(self.steps, 1)
            for group in self.groups:
                gradients = [
                    w.grad.to(p.dtype)
                    for p, w in zip(self.parameters[group], self.working[group], strict=True)
                ]
                for working in self.working[group]:
                    working.grad = None
                # the kernel that torch.optim.adam.adam(fused=True) calls
                torch._fused_adam_(
                    self.parameters[group],
                    gradients,
                    self.means[group],
                    self.squares[group],
                    [],
                    self.steps[group],
                    lr=learning_rate,
                    beta1=self.beta1,
                    beta2=BETA2,
                    weight_decay=0.0,
                    eps=self.epsilon,
                    amsgrad=False,
                    maximize=False,
                )
                self.copy_to_working(group)

    def reset(self) -> None:
        """Set the moments and the number of steps back to 0, as in a new optimiser."""
        for tensor in (*self.means, *self.squares, *self.steps):
            tensor.zero_()

    @torch.no_grad()
    def copy_to_working(self, group: slice = slice(None)) -> None:
        """Update the working copies, if there are any, from the parameters (all by default)."""
        for parameter, working in zip(self.parameters[group], self.working[group], strict=True):
            if working is not parameter:
                working.copy_(parameter)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`, on this optimiser's device."""
        for name, tensors in self.state_dict().items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)
