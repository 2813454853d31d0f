"""Images of a trained run for the qualitative figures: ``python -m hebae.images --help``.

``images.npz`` holds uint8 arrays, so that a figure needs neither weights nor torch:
``originals`` and ``reconstructions`` (2·k, h, w, c), the end points of k interpolations;
``interpolations`` (k, steps, h, w, c); ``samples`` (rows, columns, h, w, c).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebae import files
from hebae.errors import UserError, command
from hebae.evaluation import encode, normal_stream
from hebae.model import choose_device, load_model
from hebae.prepared import load_prepared
from hebae.registry import RECONSTRUCTIONS, lookup, resolve
from hebae.run import read_run
from hebae.streams import derive_seed


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes on the straight line between two codes (d,), both ends included; (steps, d)."""
    fraction = torch.linspace(0, 1, steps, device=start.device)[:, None]
    return (1 - fraction) * start + fraction * end


def end_points(labels: np.ndarray, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each class named, in order, the first test image of it not taken already."""
    taken: list[int] = []
    for label in (label for pair in pairs for label in pair):
        found = [index for index in np.flatnonzero(labels == label) if index not in taken]
        if not found:
            raise UserError(f"panels.interpolations: no test image of class {label} is left")
        taken.append(int(found[0]))
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Reconstruct, interpolate and sample.")
    parser.add_argument("--run", type=Path, required=True, help="run.json of the run")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="images.npz to write")
    parser.add_argument(
        "--interpolations", required=True, help="pairs of classes, such as 7-3,6-9,2-7"
    )
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--samples", type=int, nargs=2, required=True, metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    run, record = read_run(options.run)
    model = load_model(run, record["image_shape"], options.weights).to(device)
    reconstruction = resolve(lookup(RECONSTRUCTIONS, "reconstruction", run.reconstruction))
    images, labels = load_prepared(options.data, "test")
    pairs = [tuple(map(int, pair.split("-"))) for pair in options.interpolations.split(",")]

    originals = torch.from_numpy(images[end_points(labels, pairs)]).to(device)
    codes, _ = encode(run, model, originals, reconstruction)
    rows, columns = options.samples
    _, normal = normal_stream(derive_seed(run.seed, "sample"), device)
    prior = normal(torch.empty(rows * columns, run.latent_dim, device=device))

    @torch.inference_mode()
    def decode(z: Tensor) -> np.ndarray:
        return reconstruction.pixels(model["decoder"](z)).cpu().numpy()

    lines = [interpolate(codes[2 * k], codes[2 * k + 1], options.steps) for k in range(len(pairs))]
    arrays = {
        "originals": originals.cpu().numpy(),
        "reconstructions": decode(codes),
        "interpolations": np.stack([decode(line) for line in lines]),
        "samples": decode(prior).reshape(rows, columns, *record["image_shape"]),
    }
    with files.replacing(options.output) as stream:
        np.savez(stream, **arrays)


if __name__ == "__main__":
    command(main)
