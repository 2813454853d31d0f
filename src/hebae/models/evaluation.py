"""What a model scores on a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from hebae.base.device import computed
from hebae.config.registry import resolve
from hebae.config.run import Run
from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.latent import Latent, Normal
from hebae.models.reconstruction import Reconstruction


def chunk_size(run: Run, image_shape: Sequence[int]) -> int:
    """Images that pass the networks at once: bounds memory, changes nothing beyond rounding.

    1,000 MNIST images, 65 faces: activations grow with the image. An autoregressive decoder has
    channels at the image's full size: 127 MNIST images.
    """
    values = 100_000 if run.entries.network.autoregressive else 800_000
    return max(1, min(1000, values // prod(image_shape)))


def reconstruction_of(run: Run, image_shape: Sequence[int]) -> Reconstruction:
    """The run's reconstruction term for images (height, width, channels)."""
    return resolve(run.entries.reconstruction.function)(
        image_shape, **run.reconstruction_parameters
    )


def objective_of(run: Run, model: nn.ModuleDict, check: bool = True) -> Callable[..., Latent]:
    """The run's objective, ready to be called with (mean, log_sigma, normal).

    Without ``check`` a batch whose covariance is singular gives NaN in place of an error.
    """
    entry = run.entries.objective
    given = dict(run.parameters)
    if entry.needs_covariance:
        given["check"] = check
    if entry.takes_weight:
        given["weight"] = run.lam
    if run.divergence is not None:
        divergence, parameters = run.divergence
        own = {key: parameters[key] for key in parameters if key in divergence.parameters}
        if divergence.adversary is not None:
            own["adversary"] = model["adversary"]
        given["divergence"] = partial(resolve(divergence.function), **own)
    return partial(resolve(entry.function), **given)


def autocast(run: Run, device: torch.device) -> AbstractContextManager:
    """Where the networks run; moments, divergences and losses stay outside, in float32."""
    enabled = computed(run.training.precision, device) == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def normal_stream(seed: int, device: torch.device) -> Normal:
    """Standard normal noise from a stream of its own."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device)

    return normal


def in_float32(posterior: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Mean and log σ as the objectives want them, whatever the networks computed in."""
    mean, log_sigma = posterior
    return mean.float(), None if log_sigma is None else log_sigma.float()


@dataclass(frozen=True)
class Terms:
    """The terms of the objective on a split or in an epoch, means over images.

    In nats where there is a likelihood; ``reconstruction`` is a mean square otherwise.
    ``posterior_kl`` is the mean of KL(q(z|x_i) ‖ p), None for a deterministic encoder.
    """

    reconstruction: float
    regulariser: float
    posterior_kl: float | None

    def bounds(self, paper_bound: bool, likelihood: bool) -> dict[str, float | None]:
        """The terms and both bounds, as columns of a table.

        Without a likelihood there is no bound on it.

        ``elbo_paper`` is −(reconstruction + R), what Fig. 1a plots; for HEBAE its R is the
        aggregate KL, which leaves out the index-code information (Eq. 10). ``elbo`` is the
        per-sample bound, comparable across models. Each is None where it does not exist.
        """
        bound = -(self.reconstruction + self.regulariser) if paper_bound else None
        kl = self.posterior_kl
        return {
            "reconstruction": self.reconstruction,
            "regulariser": self.regulariser,
            "elbo_paper": bound,
            "elbo": -(self.reconstruction + kl) if likelihood and kl is not None else None,
        }


@torch.inference_mode()
def encode(
    run: Run, model: nn.ModuleDict, images: Tensor, reconstruction: Reconstruction
) -> tuple[Tensor, Tensor | None]:
    """Mean and log σ of every image; images are uint8 (N, height, width, channels)."""
    chunks = []
    for chunk in images.split(chunk_size(run, images.shape[1:])):
        with autocast(run, images.device):
            chunks.append(in_float32(model["encoder"](reconstruction.inputs(chunk))))
    mean = torch.cat([mean for mean, _ in chunks])
    log_sigma = None if chunks[0][1] is None else torch.cat([log_sigma for _, log_sigma in chunks])
    return mean, log_sigma


@torch.inference_mode()
def evaluate(
    run: Run, model: nn.ModuleDict, images: Tensor, reconstruction: Reconstruction, normal: Normal
) -> tuple[Terms, Latent]:
    """Score a whole split, with one code an image and moments over the whole split.

    A batch's aggregate KL is biased upwards (docs/paper.md), the split's hardly.
    """
    mean, log_sigma = encode(run, model, images, reconstruction)
    latent = objective_of(run, model)(mean, log_sigma, normal)
    total = torch.zeros((), dtype=torch.float64, device=images.device)
    size = chunk_size(run, images.shape[1:])
    for chunk, codes in zip(images.split(size), latent.z.split(size), strict=True):
        x = reconstruction.inputs(chunk)
        with autocast(run, images.device):
            output = model["decoder"](codes, x)
        total += reconstruction.error(output.float(), x).sum()
    kl = None
    if log_sigma is not None:
        kl = float(posterior_kl(mean, log_sigma, latent.mixing).mean())
    return Terms(float(total) / len(images), float(latent.regulariser), kl), latent
