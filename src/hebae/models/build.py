"""The networks of a run: built from its description, or loaded with their weights."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from hebae.base.device import computed
from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.config.registry import resolve
from hebae.config.run import Run


def build_model(run: Run, image_shape: Sequence[int]) -> nn.ModuleDict:
    """Freshly initialised ``encoder`` and ``decoder``, on the CPU.

    The weights depend on the run's seed alone, not on the device they will live on. There is an
    ``adversary`` too where the objective's divergence needs one.
    """
    stochastic = run.entries.objective.stochastic
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "initialise"))
    encoder, decoder = resolve(run.entries.network.function)(
        image_shape, run.latent_dim, stochastic, generator, **run.network_parameters
    )
    modules = {"encoder": encoder, "decoder": decoder}
    divergence, parameters = run.divergence or (None, {})
    if divergence is not None and divergence.adversary is not None:
        generator = torch.Generator().manual_seed(derive_seed(run.seed, "initialise adversary"))
        own = {key: parameters[key] for key in parameters if key in divergence.adversary_parameters}
        modules["adversary"] = resolve(divergence.adversary)(run.latent_dim, generator, **own)
    return nn.ModuleDict(modules)


def working_copy(run: Run, model: nn.ModuleDict) -> nn.ModuleDict:
    """The networks that a training computes with, where weights are kept in float32.

    For bfloat16 the weights of dense layers, large beside what is done with them, are copies in
    bfloat16, rounded as they move rather than in each pass: the values are autocast's. All else
    is the model's own, also an adversary, which is part of the objective.
    """
    device = next(model.parameters()).device
    if computed(run.training.precision, device) != "bfloat16":
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    working = copy.deepcopy(model, shared)
    for module in (*working["encoder"].modules(), *working["decoder"].modules()):
        if isinstance(module, nn.Linear):
            for name, parameter in module.named_parameters(recurse=False):
                low = parameter.detach().to(torch.bfloat16)
                module.register_parameter(name, nn.Parameter(low))
    return working


def load_model(
    run: Run, image_shape: Sequence[int], weights: Path, sha256: str | None = None
) -> nn.ModuleDict:
    """The trained networks of a run, in evaluation mode.

    Raises:
        UserError: for a file that is missing, is not the one whose SHA-256 is given, or is
            anything but the tensors of these networks.
    """
    model = build_model(run, image_shape)
    try:
        content = weights.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its SHA-256 is not the one in the run's record")
        # weights_only: a weights file is data, never code
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # PyTorch states no list of what reading may raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot load {weights}: {reason}; delete it, and it is trained again"
        ) from None
    return model.eval()
