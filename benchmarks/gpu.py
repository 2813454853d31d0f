"""Training on a GPU: ``python -m benchmarks.gpu``, from the package alone.

Seconds of a HEBAE run on as many images as MNIST has, evaluation of every epoch included, from
when everything is on the device (App. B.1, paper's networks); of a pack of such runs, λ and seeds,
trained together (:mod:`hebae.training.stack`); and images a second of the faces' networks at full
width (App. B.2). In every precision, after a warm-up epoch of each. What
images show does not matter for speed:
they are random.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import faces, harness
from hebae.base.device import set_up
from hebae.base.progress import Progress
from hebae.config.run import Run, Training
from hebae.training import loop
from hebae.training.checkpoint import Checkpoints
from hebae.training.stack import Stack

PRECISIONS = ("float32", "tf32", "bfloat16")


def mnist_run(number: int, epochs: int, precision: str) -> Run:
    """One of a sweep: four weights for each seed."""
    return Run(
        dataset="mnist",
        model="HEBAE",
        latent_dim=10,
        lam=(1.0, 0.1, 0.01, 10.0)[number % 4],
        seed=number // 4,
        objective="hebae",
        parameters={},
        network="dense",
        network_parameters={"encoder_widths": [784, 800], "decoder_widths": [800, 800]},
        reconstruction="bernoulli",
        reconstruction_parameters={},
        training=Training(epochs, 128, 1e-3, 0.995, precision=precision),
    )


def random_images(count: int, shape: Sequence[int], device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return images.to(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time until the device has done the work."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def training_seconds(
    images: dict[str, Tensor], runs: int, epochs: int, precision: str, device: torch.device
) -> float:
    """Of one run, or of a pack of several."""
    set_up(device.type, 1, precision)
    with tempfile.TemporaryDirectory() as name, faces.silence():

        def fit(epochs: int) -> None:
            checkpoints = Checkpoints(Path(name), "benchmark", float("inf"))
            sweep = [mnist_run(number, epochs, precision) for number in range(runs)]
            shape = images["train"].shape[1:]
            trainee = (
                loop.Single(sweep[0], shape, device) if runs == 1 else Stack(sweep, shape, device)
            )
            for outcome in loop.fit(trainee, images, checkpoints):
                if outcome.failure is not None:
                    sys.exit(f"a run failed: {outcome.failure}")

        fit(1)
        return seconds_of(partial(fit, epochs), device)


def faces_rate(images: Tensor, width: float, precision: str, device: torch.device) -> float:
    """Images a second of an epoch after the first."""
    set_up(device.type, 1, precision)
    single = loop.Single(faces.our_run(width, precision), faces.SHAPE, device)
    progress = Progress("", 2, "epoch", every=math.inf)
    epochs = (partial(loop.train_epoch, single, images, epoch, progress) for epoch in range(2))
    seconds = [seconds_of(epoch, device) for epoch in epochs]
    return len(images) / seconds[1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.command_line(__doc__, turns=3)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--pack", type=int, default=16, help="runs trained together")
    parser.add_argument("--images", type=int, default=60_000, help="for training; a sixth to test")
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--width", type=float, default=1.0, help="of the faces' networks")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    options = parser.parse_args(arguments)

    device = set_up(options.device, 1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    images = {
        split: random_images(count, (28, 28, 1), device)
        for split, count in (("train", options.images), ("test", options.images // 6))
    }
    pictures = random_images(options.faces, faces.SHAPE, device)
    rows = []
    dense = f"MNIST, {options.epochs} epochs"
    sizes = {"one run": 1, f"{options.pack} runs together": options.pack}
    sides = {
        f"{what}, {precision}": partial(
            training_seconds, images, runs, options.epochs, precision, device
        )
        for precision in options.precisions
        for what, runs in sizes.items()
    }
    rows += harness.in_turn(dense, sides, options.turns, "seconds")
    sides = {
        precision: partial(faces_rate, pictures, options.width, precision, device)
        for precision in options.precisions
    }
    rows += harness.in_turn("faces, training", sides, options.turns, "images/s")
    table = harness.save("gpu", rows, options.output)
    harness.draw("gpu", table, options.output)
    print(name)
    for precision in options.precisions:
        one, many = (f"{what}, {precision}" for what in sizes)
        line = harness.ratios(table, dense, many, one)
        print(f"{many}: {harness.spread(line)} times the seconds of one run")


if __name__ == "__main__":
    main()
