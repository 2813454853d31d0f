"""The autoencoder of a run: networks, objective and reconstruction term, built once.

All code that trains, scores, encodes or draws uses this class. The loss of a model is
:meth:`Autoencoder.forward` with the function of its objective (:mod:`hebae.models.objectives`).
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hebae.base.device import computed
from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.config.registry import resolve
from hebae.config.run import Run
from hebae.models.divergences.gaussian import factor_kl, posterior_kl, widened_factors
from hebae.models.latent import (
    Latent,
    Normal,
    fixed_deviation,
    learned_deviation,
    of_codes,
)

WIDTHS = (0.0, *(0.03 * 2 ** (k / 2) for k in range(13)))
"""The candidates for s, which widens q(z|x), in units of the prior's deviation: 0, .03 to 1.92."""
PILOT = 100
"""At most so many images, and at most a tenth of them, choose s; they are not scored."""


class Loss(NamedTuple):
    """The loss of a batch, with its terms."""

    loss: Tensor
    """scale · mean error + λ · R, a scalar."""
    terms: Tensor
    """Mean error, R and mean KL(q(z|x_i) ‖ p), which is 0 if undefined; (3,), no gradient."""
    adversary_loss: Tensor | None
    """The loss of the divergence's adversary, a scalar; None if it has no adversary."""


@dataclass(frozen=True)
class Terms:
    """The terms of the objective on a split or in an epoch, means over images.

    They are in nats if there is a likelihood; otherwise ``reconstruction`` is a mean square.
    ``posterior_kl`` is the mean of KL(q(z|x_i) ‖ p), None for a deterministic encoder.
    ``noise_deviation`` is √(mean over images and dimensions of Var(z_j|x)), 0 for a deterministic
    encoder. ``elbo_widened`` is the bound of :meth:`Autoencoder.widened_bound`. Both are None where
    they were not computed.
    """

    reconstruction: float
    regulariser: float
    posterior_kl: float | None
    noise_deviation: float | None = None
    elbo_widened: float | None = None

    def bounds(self, paper_bound: bool, likelihood: bool) -> dict[str, float | None]:
        """The terms and both bounds, as columns of a table.

        ``elbo_paper`` is −(reconstruction + R), which Fig. 1a plots. For HEBAE, R is the aggregate
        KL, which leaves out the index-code information (Eq. 10). ``elbo`` is the per-sample bound,
        which can be compared across models; ``elbo_widened`` is the same with a wider q. Each is
        None if it is not defined, and all are without a likelihood.
        """
        bound = -(self.reconstruction + self.regulariser) if paper_bound else None
        kl = self.posterior_kl
        return {
            "reconstruction": self.reconstruction,
            "regulariser": self.regulariser,
            "elbo_paper": bound,
            "elbo": -(self.reconstruction + kl) if likelihood and kl is not None else None,
            "elbo_widened": self.elbo_widened,
            "noise_deviation": self.noise_deviation,
        }


class Autoencoder(nn.Module):
    """``encoder``, ``decoder`` and, if the objective's divergence needs one, ``adversary``.

    They are initialised on the CPU, so that the initial parameters depend on the run's seed but not
    on the device that they will be moved to.

    Args:
        run: what is trained.
        image_shape: height, width, channels.
    """

    def __init__(self, run: Run, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.run = run
        self.image_shape = tuple(image_shape)
        entries = run.entries
        self.reconstruction = resolve(entries.reconstruction.function)(
            image_shape, **run.reconstruction_parameters
        )
        generator = torch.Generator().manual_seed(derive_seed(run.seed, "initialise"))
        self.encoder, self.decoder = resolve(entries.network.function)(
            image_shape,
            run.latent_dim,
            entries.objective.learns_deviation,
            generator,
            **run.network_parameters,
        )
        self.adversary = None
        self.deviation = self._deviation()
        self.objective = self._objective()

    def _deviation(self) -> Callable[[Tensor, Tensor | None], Tensor | None]:
        """log σ from μ and the encoder's second output, which is None if it has none."""
        entry = self.run.entries.objective
        own = self._own(entry.deviation_parameters)
        if entry.learns_deviation:
            return lambda mean, output: learned_deviation(output.float(), **own)
        if entry.fixed_deviation:
            return lambda mean, output: fixed_deviation(mean, **own)
        return lambda mean, output: None

    def _own(self, names: Collection[str]) -> dict[str, Any]:
        """Those of the run's parameters that have these names."""
        return {name: value for name, value in self.run.parameters.items() if name in names}

    def _objective(self) -> Callable[..., Latent]:
        """The objective's function with its parameters, and its adversary if it needs one."""
        run = self.run
        entry, divergence = run.entries.objective, run.entries.divergence
        given = self._own(entry.parameters)
        if entry.takes_lam:
            given["lam"] = run.lam
        if divergence is not None:
            _, parameters = run.divergence

            def own(names: Sequence[str]) -> dict[str, Any]:
                return {name: parameters[name] for name in parameters if name in names}

            keywords = own(divergence.parameters)
            if divergence.adversary is not None:
                seed = derive_seed(run.seed, "initialise adversary")
                self.adversary = resolve(divergence.adversary)(
                    run.latent_dim,
                    torch.Generator().manual_seed(seed),
                    **own(divergence.adversary_parameters),
                )
                keywords["adversary"] = self.adversary
            function = partial(resolve(divergence.function), **keywords)
            given["divergence"] = function if divergence.takes_posterior else of_codes(function)
        return partial(resolve(entry.function), **given)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def chunk(self) -> int:
        """How many images pass the networks at once. It limits memory and changes only rounding.

        It is 1,000 MNIST images or 65 faces, because activations grow with the image. For an
        autoregressive decoder, which has channels at the image's full size, it is 127 MNIST images.
        """
        values = 100_000 if self.run.entries.network.autoregressive else 800_000
        return max(1, min(1000, values // prod(self.image_shape)))

    def _autocast(self, device: torch.device) -> AbstractContextManager:
        """The context in which networks run; moments, divergences and losses stay in float32."""
        enabled = computed(self.run.training.precision, device) == "bfloat16"
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """μ and log σ (n, d), float32, of ``reconstruction.inputs``; log σ is None if σ is 0."""
        with self._autocast(x.device):
            mean, output = self.encoder(x)
        mean = mean.float()
        return mean, self.deviation(mean, output)

    def latent(
        self,
        mean: Tensor,
        log_sigma: Tensor | None,
        normal: Normal,
        progress: float = 1.0,
        check: bool = True,
    ) -> Latent:
        """Codes, and what the objective charges for them.

        Args:
            mean: μ, shape (n, d).
            log_sigma: log σ, shape (n, d), or None.
            normal: source of noise.
            progress: the share of the training's steps that are done.
            check: raise SingularCovariance if a covariance lacks full rank; otherwise give NaN.
        """
        entry = self.run.entries.objective
        given: dict[str, Any] = {}
        if self.run.needs_covariance:
            given["check"] = check
        if entry.takes_progress:
            given["progress"] = progress
        return self.objective(mean, log_sigma, normal, **given)

    def error(self, codes: Tensor, x: Tensor) -> Tensor:
        """The error of each image, (n,), from codes (n, d) and ``reconstruction.inputs``."""
        with self._autocast(x.device):
            output = self.decoder(codes, x)
        return self.reconstruction.error(output.float(), x)

    def forward(
        self,
        images: Tensor,
        normal: Normal,
        lam: float | Tensor,
        progress: float = 1.0,
        check: bool = True,
    ) -> Loss:
        """The loss of a batch of images, uint8 (n, height, width, channels), at λ = ``lam``."""
        x = self.reconstruction.inputs(images)
        mean, log_sigma = self.encode(x)
        latent = self.latent(mean, log_sigma, normal, progress, check)
        error = self.error(latent.z, x).mean()
        loss = self.reconstruction.scale * error + lam * latent.regulariser
        with torch.no_grad():
            kl = torch.zeros_like(error)
            if log_sigma is not None:
                kl = posterior_kl(mean, log_sigma, latent.mixing).mean()
            terms = torch.stack([error, latent.regulariser, kl]).detach()
        return Loss(loss, terms, latent.adversary_loss)

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """μ and log σ (N, d) of images, uint8 (N, height, width, channels), chunk by chunk."""
        chunks = [
            self.encode(self.reconstruction.inputs(chunk)) for chunk in images.split(self.chunk)
        ]
        mean, log_sigma = zip(*chunks, strict=True)
        return torch.cat(mean), None if log_sigma[0] is None else torch.cat(log_sigma)

    @torch.inference_mode()
    def evaluate(
        self, images: Tensor, normal: Normal, widened: Normal | None = None
    ) -> tuple[Terms, Latent]:
        """Score a whole split, with one code an image and moments over the whole split.

        The aggregate KL of a batch is biased upwards (docs/paper.md); that of the split hardly is.

        Args:
            images: uint8 (N, height, width, channels).
            normal: source of noise.
            widened: source of noise for the bound of :meth:`widened_bound`, if it is wanted and
                the reconstruction term is a likelihood.
        """
        mean, log_sigma = self.encode_images(images)
        latent = self.latent(mean, log_sigma, normal)
        total = torch.zeros((), dtype=torch.float64, device=images.device)
        for chunk, codes in zip(images.split(self.chunk), latent.z.split(self.chunk), strict=True):
            total += self.error(codes, self.reconstruction.inputs(chunk)).sum()
        kl, deviation, bound = None, 0.0, None
        if log_sigma is not None:
            kl = float(posterior_kl(mean, log_sigma, latent.mixing).mean())
            variance = (2 * log_sigma.double()).exp()
            if latent.mixing is not None:
                variance = variance * latent.mixing.double().square().sum(dim=1)
            deviation = math.sqrt(float(variance.mean()))
        if widened is not None and self.run.entries.reconstruction.likelihood:
            bound = self.widened_bound(images, mean, log_sigma, latent.mixing, widened)[0]
        error, regulariser = float(total) / len(images), float(latent.regulariser)
        return Terms(error, regulariser, kl, deviation, bound), latent

    @torch.inference_mode()
    def widened_bound(
        self,
        images: Tensor,
        mean: Tensor,
        log_sigma: Tensor | None,
        mixing: Tensor | None,
        normal: Normal,
    ) -> tuple[float | None, float | None]:
        """The per-sample bound with q(z|x_i) = N(μ_i, D_i L Lᵀ D_i + s² I), and s.

        s is one of :data:`WIDTHS`, the best on the first images, which are then left out; all
        candidates see the same noise. The KL is exact, the error is that of one code an image
        (docs/bounds.md). None where no candidate has a finite bound, or with fewer than 10 images.

        Args:
            images: uint8 (N, height, width, channels).
            mean, log_sigma: μ and log σ of all of them, (N, d); log σ is None if σ is 0.
            mixing: L, (d, d); None is the identity.
            normal: source of noise.
        """
        noise = normal(mean)
        pilot = min(PILOT, len(images) // 10)
        # codes without noise have no density
        widths = WIDTHS if log_sigma is not None else WIDTHS[1:]

        def total(numbers: slice, widths: Sequence[float]) -> Tensor:
            """The sum of the bounds of these images, for each width; (widths,)."""
            own = None if log_sigma is None else log_sigma[numbers]
            centre, drawn = mean[numbers].double(), noise[numbers].double()
            codes, kl = [], []
            for width in widths:
                factor, log_det = widened_factors(own, mixing, width, centre)
                codes.append(centre + (factor @ drawn[:, :, None])[:, :, 0])
                kl.append(factor_kl(centre, factor, log_det))
            x = self.reconstruction.inputs(images[numbers])
            # all widths together, as calls cost more than codes where networks are small
            together = max(1, self.chunk // len(x))
            errors = [
                self.error(torch.cat(of).float(), torch.cat([x] * len(of)))
                for of in (codes[k : k + together] for k in range(0, len(codes), together))
            ]
            error = torch.cat(errors).view(len(widths), len(x)).double()
            return -(error + torch.stack(kl)).sum(dim=1)

        def mean_bounds(first: int, last: int, widths: Sequence[float]) -> list[float]:
            starts = range(first, last, self.chunk)
            parts = [total(slice(k, min(k + self.chunk, last)), widths) for k in starts]
            return (torch.stack(parts).sum(dim=0) / (last - first)).tolist()

        if pilot == 0:
            return None, None
        found = dict(zip(widths, mean_bounds(0, pilot, widths), strict=True))
        found = {width: bound for width, bound in found.items() if math.isfinite(bound)}
        if not found:
            return None, None
        width = max(found, key=found.__getitem__)
        (bound,) = mean_bounds(pilot, len(images), [width])
        return (bound, width) if math.isfinite(bound) else (None, None)


def load(
    run: Run, image_shape: Sequence[int], path: Path, sha256: str | None = None
) -> Autoencoder:
    """The trained autoencoder of a run, in evaluation mode.

    Raises:
        UserError: for a file that is missing, has another SHA-256 than the given one, or does not
            hold the tensors of these networks.
    """
    model = Autoencoder(run, image_shape)
    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its SHA-256 is not the one in the run's record")
        # weights_only: a file of tensors is data, never code
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except PermissionError:
        raise  # which is no damage
    except Exception as error:  # PyTorch states no list of what reading may raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot load {path}: {reason}; delete it, and it is trained again"
        ) from None
    return model.eval()
