"""Training of the faces' networks, in images per second, against plain PyTorch and pythae.

The same VAE everywhere (App. B.2 with frozen batch normalisation, 64 latent dimensions, batches
of 100 images of 64 × 64 × 3, Adam): ours as ``hebae.training`` runs it, a loop in float32 as
PyTorch is by default, and pythae's trainer on the same plain networks. A sweep's throughput is
that of two runs of one thread side by side, or of one run of two threads, whichever is better; at
full width, of the latter. bfloat16 is measured where the processor has instructions for it.

What the images show does not matter for speed: without prepared ones (``--data-dir``), they are
random.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from benchmarks import harness

SHAPE = (64, 64, 3)
BATCH = 100
LATENT = 64
RATE = 1e-3
WEIGHT = 0.001  # of the regulariser, as in config/celeba-cpu.yaml
WAYS = {"2 runs of 1 thread": (2, 1), "1 run of 2 threads": (1, 2)}
# the steps measured, and in which ways: at full width two runs side by side take minutes a step
WIDTHS = {"quarter width": (0.25, 8, list(WAYS)), "full width": (1.0, 1, ["1 run of 2 threads"])}
PEERS = {"plain loop, float32": "plain", "pythae, float32": "pythae"}


def images_of(data: Path | None, count: int):
    """uint8 images (count, 64, 64, 3)."""
    import numpy as np
    import torch

    if data is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    from hebae.data.store import load_prepared

    images, _ = load_prepared(data, "train")
    return torch.from_numpy(np.resize(images, (count, *images.shape[1:])))


def our_run(width: float, precision: str):
    from hebae.config.run import Run, Training

    return Run(
        dataset="celeba",
        model="VAE",
        latent_dim=LATENT,
        lam=WEIGHT,
        seed=0,
        objective="vae",
        parameters={},
        network="convolutional",
        network_parameters={"width": width, "batch_norm": "frozen"},
        reconstruction="squared_error",
        reconstruction_parameters={"reduction": "mean", "factor": 1},
        training=Training(
            epochs=1,
            batch_size=BATCH,
            learning_rate=RATE,
            learning_rate_decay=1,
            precision=precision,
        ),
    )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Without the lines that a training prints."""
    logging.disable(logging.WARNING)
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def ours(images, width: float, precision: str) -> float:
    """Seconds of an epoch of ours, with the evaluation of one image."""
    import torch

    from hebae.training.checkpoint import Checkpoints
    from hebae.training.loop import Single, fit

    with tempfile.TemporaryDirectory() as folder, silence():
        checkpoints = Checkpoints(Path(folder), "benchmark", float("inf"))
        split = {"train": images, "test": images[:1]}
        single = Single(our_run(width, precision), SHAPE, torch.device("cpu"))
        (outcome,) = fit(single, split, checkpoints)
    return outcome.rows[-1]["seconds"]


def plain_networks(width: float):
    """Encoder and decoder as one writes them: images (n, 3, 64, 64), tanh at the end."""
    from torch import nn

    from hebae.models.networks.convolutional import EPSILON, FILTERS, KERNEL, FrozenBatchNorm2d

    filters = [round(width * number) for number in FILTERS]
    encoder: list[nn.Module] = []
    for inputs, outputs in pairwise((3, *filters)):
        encoder += [
            nn.Conv2d(inputs, outputs, KERNEL, stride=2, padding=2, bias=False),
            FrozenBatchNorm2d(outputs, EPSILON),
            nn.ReLU(),
        ]
    encoder += [nn.Flatten(), nn.Linear(filters[-1] * 4 * 4, 2 * LATENT)]
    decoder: list[nn.Module] = [
        nn.Linear(LATENT, filters[-1] * 8 * 8),
        nn.Unflatten(1, (filters[-1], 8, 8)),
        FrozenBatchNorm2d(filters[-1], EPSILON),
        nn.ReLU(),
    ]
    for inputs, outputs in pairwise(reversed(filters)):
        double = dict(stride=2, padding=2, output_padding=1, bias=False)
        decoder += [
            nn.ConvTranspose2d(inputs, outputs, KERNEL, **double),
            FrozenBatchNorm2d(outputs, EPSILON),
            nn.ReLU(),
        ]
    decoder += [nn.ConvTranspose2d(filters[0], 3, KERNEL, padding=2, bias=False), nn.Tanh()]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def signed(images):
    """uint8 (n, 64, 64, 3) to float32 (n, 3, 64, 64) in [-1, 1]."""
    return (images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()


def plain(images, width: float) -> float:
    """Seconds of an epoch of the loop that one writes first."""
    import torch

    encoder, decoder = plain_networks(width)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    data = signed(images)
    started = time.perf_counter()
    for batch in torch.randperm(len(data)).split(BATCH):
        x = data[batch]
        mean, log_sigma = encoder(x).chunk(2, dim=1)
        output = decoder(mean + log_sigma.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(dim=1).mean()
        loss = ((output - x) ** 2).mean() + WEIGHT * kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.perf_counter() - started


def pythae(images, width: float) -> float:
    """Seconds of an epoch of pythae's trainer, without what it does between epochs."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    networks = plain_networks(width)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = networks[0]

        def forward(self, x):
            mean, log_variance = self.layers(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = networks[1]

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    config = VAEConfig(input_dim=(3, 64, 64), latent_dim=LATENT, reconstruction_loss="mse")
    with tempfile.TemporaryDirectory() as folder, silence():
        trainer = BaseTrainer(
            VAE(config, Encoder(), Decoder()),
            BaseDataset(signed(images), torch.zeros(len(images))),
            training_config=BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                no_cuda=True,
            ),
        )
        trainer.prepare_training()
        started = time.perf_counter()
        trainer.train_step(1)
        return time.perf_counter() - started


def measure(options: argparse.Namespace) -> None:
    """In a process of its own: warm up on a batch, wait, and print images per second."""
    import torch

    measured: dict[str, Callable] = {
        "plain": plain,
        "pythae": pythae,
        **{precision: partial(ours, precision=precision) for precision in ("bfloat16", "float32")},
    }
    if options.measure in ("plain", "pythae") and not options.settings:
        torch.set_num_threads(options.threads)
    else:
        from hebae.base.device import set_up

        set_up("cpu", options.threads)
    images = images_of(options.data_dir, options.count)
    seconds = measured[options.measure]
    seconds(images[:BATCH], width=options.width)
    harness.wait_for_start()
    print(json.dumps({"rate": len(images) / seconds(images, width=options.width)}))


def throughput(side: str, width: float, count: int, way: str, options) -> float:
    """Images per second of all copies together."""
    copies, threads = WAYS[way]
    arguments = dict(measure=side, width=width, count=count, threads=threads)
    command = ["-m", "benchmarks.faces"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    if options.data_dir is not None:
        command += [f"--data-dir={options.data_dir.resolve()}"]
    if options.settings:
        command += ["--settings"]
    return sum(result["rate"] for result in harness.together(command, copies))


def best(table):
    """Of each width and side the better way in each turn: what a sweep gets out of two cores."""
    table = table.assign(case=table.case.str.partition(",")[0])
    keys = ["case", "side", "turn", "unit"]
    return table.groupby(keys, as_index=False, sort=False)["value"].max()


def main() -> None:
    parser = harness.command_line(__doc__, turns=3)
    parser.add_argument("--data-dir", type=Path, help="a prepared data set of faces")
    parser.add_argument("--widths", nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument(
        "--settings", action="store_true", help="hebae's memory settings for the others, too"
    )
    for name, kind in (("measure", str), ("width", float), ("count", int), ("threads", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("pythae") is None:
        sys.exit("pythae is missing: pip install 'hebae[bench]'")
    if options.measure:
        measure(options)
        return

    own = {f"hebae, {precision}": precision for precision in harness.precisions()}
    rows = []
    for name in options.widths:
        width, steps, ways = WIDTHS[name]
        for way in ways:
            sides = {
                side: partial(throughput, key, width, steps * BATCH, way, options)
                for side, key in {**own, **PEERS}.items()
            }
            case = f"{name}, training, {way}"
            rows += harness.in_turn(case, sides, options.turns, "images/s")
    table = harness.save("faces", rows, options.output)
    harness.draw("faces", table, options.output)
    training = best(table[table.case.str.contains("training")])
    for name in options.widths:
        for side in own:
            for against in PEERS:
                ratio = harness.ratios(training, name, side, against)
                print(f"{name}: {side} / {against}: {harness.spread(ratio)}")


if __name__ == "__main__":
    main()
