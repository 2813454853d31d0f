"""How often a model fails to train: ``python -m hebae.measures.stability --help``.

Short runs on a grid of learning rates, initial scales and, where the network has it, both kinds of
batch normalisation. A training that breaks down is a row of the table and no error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hebae.base.device import set_up
from hebae.base.errors import command
from hebae.base.files import write_csv
from hebae.base.progress import Progress
from hebae.config.protocols import Stability, add_protocol
from hebae.config.run import Run
from hebae.models.autoencoder import Autoencoder
from hebae.models.reconstruction import Reconstruction
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Outcome, Single, autoencoder_parameters, fit
from hebae.training.record import load_images

LARGEST, HALVINGS = 16.0, 24
"""Outputs of a decoder beyond ±16 change no error by more than rounding; 24 halvings find one to
2e-6."""


class Ending(StrEnum):
    """How a training ended."""

    TRAINED = "trained"
    """Training images are reconstructed better than by the best constant image."""
    FAILED = "failed"
    """They are not, so the code serves for nothing."""
    DIVERGED = "diverged"
    """It could not be continued: a value was not finite, or a covariance singular."""


@dataclass(frozen=True)
class Cell:
    """A cell of the grid: a factor on the learning rate, one on the weights, a batch norm."""

    learning_rate_factor: float
    initial_scale: float
    batch_norm: str | None
    """None for a network without batch normalisation."""


def cells(run: Run, protocol: Stability) -> list[Cell]:
    """The grid of a run, in the order of the table."""
    norms = run.entries.network.batch_norms
    grid = product(norms, protocol.initial_scales, protocol.learning_rate_factors)
    return [Cell(factor, scale, norm) for norm, scale, factor in grid]


def run_of_cell(run: Run, cell: Cell, epochs: int) -> Run:
    """The run of a cell, but for its initial scale, which no run has."""
    rate = run.training.learning_rate * cell.learning_rate_factor
    training = replace(run.training, epochs=epochs, learning_rate=rate)
    network = dict(run.network_parameters)
    if cell.batch_norm is not None:
        network["batch_norm"] = cell.batch_norm
    return replace(run, training=training, network_parameters=network)


def scale_weights(model: Autoencoder, scale: float) -> None:
    """Multiply the matrices and kernels of encoder and decoder by a factor.

    Biases, and the scale and offset of batch normalisation, keep their initial values. Behind a
    batch normalisation in training, the factor changes no output: it divides the step's relative
    size by its square.
    """
    with torch.no_grad():
        for parameter in autoencoder_parameters(model):
            if parameter.ndim > 1:
                parameter.mul_(scale)


def constant_error(reconstruction: Reconstruction, images: Tensor, chunk: int) -> float:
    """The least mean error that one output for all images has.

    A decoder that ignores its code cannot do better, so it is the level of a model that has learned
    nothing but the average. In every pixel the error falls towards the best output and rises behind
    it, for each of our reconstruction terms: it is found by halving, by the sign of the gradient.

    Args:
        reconstruction: the term; its errors are means over these images.
        images: uint8 (N, height, width, channels).
        chunk: how many images are compared at once.
    """

    def total(output: Tensor) -> Tensor:
        """The sum of the errors; with its gradient, if the output asks for one."""
        found = torch.zeros((), dtype=torch.float64, device=images.device)
        for part in images.split(chunk):
            x = reconstruction.inputs(part)
            error = reconstruction.error(output.expand(x.shape), x).double().sum()
            if output.requires_grad:
                error.backward()
            found += error.detach()
        return found

    shape = reconstruction.inputs(images[:1]).shape
    low, high = (torch.full(shape, end, device=images.device) for end in (-LARGEST, LARGEST))
    for _ in range(HALVINGS):
        middle = ((low + high) / 2).requires_grad_()
        total(middle)
        rises, middle = middle.grad > 0, middle.detach()
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    return float(total((low + high) / 2)) / len(images)


class NoCheckpoints(Checkpoints):
    """Of trainings that are too short to be continued."""

    def __init__(self) -> None:
        super().__init__(Path(), "", math.inf)

    def load(self) -> None:
        return None

    def offer(self, state: dict[str, Any]) -> None:
        """Write nothing."""


def trained(
    run: Run, cell: Cell, protocol: Stability, images: dict[str, Tensor], device: torch.device
) -> Outcome:
    """The outcome of a cell's training."""
    asked = run_of_cell(run, cell, protocol.epochs)
    single = Single(asked, images["train"].shape[1:], device)
    scale_weights(single.model, cell.initial_scale)
    single.optimiser.copy_to_working()
    (outcome,) = fit(single, images, NoCheckpoints())
    return outcome


def row(cell: Cell, outcome: Outcome, constant: float) -> dict[str, Any]:
    """Columns learning_rate, learning_rate_factor, initial_scale, batch_norm, outcome, epoch,
    reconstruction, elbo_paper, constant_image.

    `epoch` is the one in which a training diverged, else empty. `reconstruction` and `elbo_paper`
    are means over the training images in the last epoch, empty if it diverged. `constant_image` is
    the error of the best constant image, below which a training counts as trained.
    """
    last: dict[str, Any] = dict(reconstruction=None, elbo_paper=None)
    epoch, ending = None, Ending.DIVERGED
    if outcome.failure is None:
        last = {name: outcome.rows[-2][name] for name in last}
        ending = Ending.TRAINED if last["reconstruction"] < constant else Ending.FAILED
    else:
        epoch = len(outcome.rows) // 2 + 1
    return dict(
        learning_rate=outcome.run.training.learning_rate,
        learning_rate_factor=cell.learning_rate_factor,
        initial_scale=cell.initial_scale,
        batch_norm=cell.batch_norm,
        outcome=str(ending),
        epoch=epoch,
        **last,
        constant_image=constant,
    )


def rows(
    run: Run, protocol: Stability, images: dict[str, Tensor], device: torch.device
) -> Iterator[dict[str, Any]]:
    """A row for each cell of the grid of a run.

    Args:
        images: ``train`` and ``test``, uint8 (N, height, width, channels), on the device.
    """
    images = {split: of_split[: protocol.images] for split, of_split in images.items()}
    model = Autoencoder(run, images["train"].shape[1:])
    constant = constant_error(model.reconstruction, images["train"], model.chunk)
    grid = cells(run, protocol)
    with Progress(f"stability of {run.path}", len(grid), "training") as progress:
        for cell in grid:
            outcome = trained(run, cell, protocol, images, device)
            if outcome.failure is not None:
                print(f"{cell}: {outcome.failure}", file=sys.stderr, flush=True)
            yield row(cell, outcome, constant)
            progress.advance()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How often short trainings of a model fail.")
    parser.add_argument("--run", required=True, help="the run as JSON (hebae.config.run.Run)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="CSV table to write")
    add_protocol(parser, Stability)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    run = Run.from_json(options.run)
    device = set_up(options.device, options.threads, run.training.precision)
    images, _ = load_images(run, options.data, device)
    found = list(rows(run, options.protocol, images, device))
    write_csv(options.output, (run.identity | one for one in found))


if __name__ == "__main__":
    command(main)
