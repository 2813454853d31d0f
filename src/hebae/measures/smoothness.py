"""How fast a decoder changes with the code: ``python -m hebae.measures.smoothness --help``.

With g(z) the mean of p(x|z), u a random direction of length 1 and h a step, the table has

    Δ(h) = √ E (1/P) ‖g(z + h u) − g(z)‖²,

over codes z of the prior or of test images, with P = height · width · channels. Pixels are in units
of the image's range, [0, 1]. The prior's standard deviation along u is 1. Δ(h)/h is the rate at
which the image changes. Reference values (docs/samples.md):

* a linear decoder g(z) = W z + b: Δ(h)/h = ‖W‖_F / √(d P), the same at every h;
* a jump of one pixel by 1 where a coordinate of z ~ N(0, I) crosses 0: a step crosses it with a
  probability that is proportional to h, so that Δ(h)/h grows as h^(−1/2) as h → 0.

So a rate that rises as h → 0 tells a jump from a slope. The mean of ‖g(z + h u) − g(z)‖ would not:
for either it is proportional to h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.base.seeds import derive_seed
from hebae.codes.encode import posterior_of
from hebae.codes.trained import Trained, command_line

STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""h, from local to one standard deviation of the prior."""
POINTS = 1000
"""The largest number of codes. Of 1,000, Δ(h) has a relative standard error of about 1 %."""


@torch.inference_mode()
def changes(
    decoder: Callable[[Tensor], Tensor],
    codes: Tensor,
    directions: Tensor,
    steps: Sequence[float] = STEPS,
    chunk: int = 1000,
) -> list[float]:
    """Δ(h) for each step h, over codes z (n, d) and their directions u (n, d), ‖u‖ = 1.

    Args:
        decoder: codes (m, d) to images (m, ...), in the unit of the result.
        chunk: how many codes are decoded together; it changes the result by rounding only.
    """
    squares = torch.zeros(len(steps), dtype=torch.float64)
    for z, u in zip(codes.split(chunk), directions.split(chunk), strict=True):
        here = decoder(z).flatten(1)
        for k, step in enumerate(steps):
            apart = decoder(z + step * u).flatten(1) - here
            squares[k] += float(apart.double().square().mean(dim=1).sum())
    return (squares / len(codes)).sqrt().tolist()


def rows(trained: Trained) -> list[dict[str, Any]]:
    """Rows at (prior, codes), step (h), change (Δ(h)), n (the number of codes)."""
    run = trained.run
    rng = np.random.default_rng(derive_seed(run.seed, "smoothness"))
    n = min(POINTS, len(trained.images))
    codes = posterior_of(trained, trained.images, "test").sample(rng)
    places = {
        "prior": rng.standard_normal((n, run.latent_dim)),
        "codes": codes[np.sort(rng.choice(len(codes), n, replace=False))],
    }

    def decoder(z: Tensor) -> Tensor:
        return trained.model.reconstruction.mean(trained.model.decoder(z))

    found = []
    for at, z in places.items():
        u = rng.standard_normal(z.shape)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        z, u = (torch.from_numpy(array).float().to(trained.device) for array in (z, u))
        found += [
            dict(at=at, step=step, change=change, n=n)
            for step, change in zip(
                STEPS, changes(decoder, z, u, chunk=trained.model.chunk), strict=True
            )
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("How fast the decoder of a trained run changes with the code.")
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    run = trained.run
    if run.entries.network.autoregressive:
        raise UserError(
            f"run {run.path}: an autoregressive decoder gives no image from a code alone"
        )
    write_csv(options.output, (run.identity | row for row in rows(trained)))


if __name__ == "__main__":
    command(main)
