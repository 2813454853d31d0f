"""Images of a trained run for the qualitative figures: ``python -m hebae.codes.images --help``.

``images.npz`` holds uint8 arrays, so that a figure needs neither networks nor torch:
``originals`` and ``reconstructions`` (2·k, h, w, c) are the end points of k interpolations;
``interpolations`` is (k, steps, h, w, c), ``samples`` (rows, columns, h, w, c). ``originals`` are
the images as the networks saw them. The others are means of p(x|z); if the decoder is
autoregressive, they are drawn from p(x|z).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.seeds import derive_seed
from hebae.codes.trained import Trained, command_line
from hebae.config.protocols import Panels, add_protocol
from hebae.models.latent import normal_stream
from hebae.models.reconstruction import Reconstruction


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes on the straight line between two codes (d,), both ends included; (steps, d)."""
    fraction = torch.linspace(0, 1, steps, device=start.device)[:, None]
    return (1 - fraction) * start + fraction * end


def end_points(
    labels: np.ndarray, pairs: Sequence[tuple[int, int]], kind: str = "class"
) -> list[int]:
    """The test images that `pairs` names, in order.

    For the kind ``image`` the pairs are numbers of images, from 0. For the kind ``class`` they are
    values of the first label (N, k), and each stands for the first unused image of that class.
    """
    if kind == "image":
        if (number := max(map(max, pairs))) >= len(labels):
            raise UserError(
                f"panels.interpolations: there is no test image {number}, only {len(labels)}"
            )
        return [image for pair in pairs for image in pair]
    taken: list[int] = []
    for label in (label for pair in pairs for label in pair):
        found = [index for index in np.flatnonzero(labels[:, 0] == label) if index not in taken]
        if not found:
            raise UserError(f"panels.interpolations: no test image of class {label} is left")
        taken.append(int(found[0]))
    return taken


def seen(images: Tensor, reconstruction: Reconstruction) -> Tensor:
    """Images as the networks see them, uint8 like the images: black and white if binarised."""
    x = reconstruction.inputs(images)
    low, high = reconstruction.inputs(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    return ((x - low) / (high - low)).mul(255).round().to(torch.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Reconstruct, interpolate and sample.")
    add_protocol(parser, Panels)
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    run, reconstruction = trained.run, trained.model.reconstruction
    panels = options.protocol
    pairs = panels.interpolations

    originals = trained.on_device(
        trained.images[end_points(trained.labels, pairs, panels.end_points)]
    )
    codes, _ = trained.model.encode_images(originals)
    rows, columns = panels.samples
    normal = normal_stream(derive_seed(run.seed, "sample"), trained.device)
    prior = normal(torch.empty(rows * columns, run.latent_dim, device=trained.device))

    def decode(codes: Tensor, purpose: str, repeat: int = 1) -> np.ndarray:
        return torch.cat(list(trained.decode(codes, purpose, repeat))).cpu().numpy()

    steps = panels.steps
    lines = [interpolate(codes[2 * k], codes[2 * k + 1], steps) for k in range(len(pairs))]
    # along an interpolation only the code changes, not the random numbers
    interpolations = decode(torch.cat(lines), "interpolations", steps)
    arrays = {
        "originals": seen(originals, reconstruction).cpu().numpy(),
        "reconstructions": decode(codes, "reconstructions"),
        "interpolations": interpolations.reshape(len(pairs), steps, *originals.shape[1:]),
        "samples": decode(prior, "samples").reshape(rows, columns, *originals.shape[1:]),
    }
    with files.replacing(options.output) as stream:
        np.savez(stream, **arrays)


if __name__ == "__main__":
    command(main)
