"""Training the paper's dense networks on MNIST-sized images: ours, pythae, the matrix products.

    python -m benchmarks.dense --data-dir DIR

The same networks, batch and optimiser on both sides (App. B.1: 784-784-800-z, z-800-800-784,
128 images, Adam), the same 60,000 images, and no evaluation. A value is run-epochs a second in the
second epoch, an epoch like those that follow: of one run on one or two threads, and of a sweep, two
runs side by side on a thread each. The floor is what the same machine takes for the matrix products
of the three passes alone, each into memory that is there already; and, as a second floor, for them
and Adam, which moves seven times the parameters' bytes through memory. bfloat16 is measured where
the processor has instructions for it.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness

WIDTHS = {"encoder_widths": [784, 800], "decoder_widths": [800, 800]}
LATENT_DIM = 10
BATCH = 128
SPLIT = 60_000
# (copies, threads)
MODES = {
    "one run, 1 thread": (1, 1),
    "one run, 2 threads": (1, 2),
    "two runs side by side": (2, 1),
}
FLOORS = ("matrix products", "products and Adam")
OBJECTIVES = {
    "VAE": {"objective": "vae"},
    "WAE-MMD": {"objective": "wae_mmd"},
    "InfoVAE-MMD": {"objective": "infovae", "parameters": {"divergence": {"name": "mmd"}}},
}


def ours(
    objective: str, precision: str, threads: int, images: Path | None
) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """A function that trains so many steps, and one that evaluates so many images."""
    import torch

    from hebae.base.device import set_up
    from hebae.base.progress import Progress
    from hebae.config.run import Run, Training
    from hebae.models.latent import normal_stream
    from hebae.training import loop

    set_up("cpu", threads)
    run = Run(
        **{"parameters": {}, **OBJECTIVES[objective]},
        dataset="mnist",
        model=objective,
        latent_dim=LATENT_DIM,
        lam=1.0,
        seed=0,
        network="dense",
        network_parameters=WIDTHS,
        reconstruction="bernoulli",
        reconstruction_parameters={},
        training=Training(1, BATCH, 1e-3, 0.995, precision=precision),
    )
    pixels = torch.from_numpy(load(images))
    single = loop.Single(run, pixels.shape[1:], pixels.device)

    def steps(count: int) -> None:
        progress = Progress("", count, "step", every=math.inf)
        loop.train_epoch(single, pixels[: count * BATCH], 0, progress)

    def evaluation(count: int) -> None:
        single.evaluated(0).evaluate(pixels[:count], normal_stream(0, pixels.device))

    return steps, evaluation


def pythae(objective: str, threads: int, images: Path | None) -> Callable[[int], Any]:
    """A function that trains so many steps, with pythae's own trainer."""
    import torch
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    torch.set_num_threads(threads)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 800), nn.ReLU()
            )
            self.mean = nn.Linear(800, LATENT_DIM)
            self.log_variance = nn.Linear(800, LATENT_DIM)

        def forward(self, x):
            hidden = self.layers(x)
            output = ModelOutput(embedding=self.mean(hidden))
            if objective != "WAE-MMD":
                output["log_covariance"] = self.log_variance(hidden)
            return output

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(LATENT_DIM, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(),
                nn.Linear(800, 784), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 28, 28))

    kind, config, options = {
        "VAE": (models.VAE, models.VAEConfig, {"reconstruction_loss": "bce"}),
        "WAE-MMD": (models.WAE_MMD, models.WAE_MMD_Config, {}),
        "InfoVAE-MMD": (
            models.INFOVAE_MMD,
            models.INFOVAE_MMD_Config,
            {"reconstruction_loss": "bce"},
        ),
    }[objective]
    model = kind(
        config(input_dim=(1, 28, 28), latent_dim=LATENT_DIM, **options),
        encoder=Encoder(),
        decoder=Decoder(),
    )
    pixels = torch.from_numpy(load(images)).float().div(255).reshape(-1, 1, 28, 28)
    folder = tempfile.TemporaryDirectory()

    def trainer(count: int) -> BaseTrainer:
        part = BaseDataset(pixels[: count * BATCH], torch.zeros(count * BATCH))
        made = BaseTrainer(
            model,
            part,
            None,
            BaseTrainerConfig(
                output_dir=folder.name,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
                optimizer_cls="Adam",
                no_cuda=True,
            ),
        )
        made.prepare_training()
        return made

    return lambda count: trainer(count).train_step(1)


def floor(precision: str, threads: int, adam: bool) -> Callable[[int], Any]:
    """A function that computes the matrix products of so many steps, with Adam or without it.

    Adam keeps parameters and moments in float32, and moves them by PyTorch's fused kernel.
    """
    import torch

    from hebae.base.device import set_up

    set_up("cpu", threads)
    dtype = getattr(torch, precision)
    shapes = [(784, 784), (784, 800), (800, 2 * LATENT_DIM)]
    shapes += [(LATENT_DIM, 800), (800, 800), (800, 784)]
    x, w, g = (
        [torch.randn(size, dtype=dtype) for size in sizes]
        for sizes in (
            [(BATCH, inputs) for inputs, _ in shapes],
            [(outputs, inputs) for inputs, outputs in shapes],
            [(BATCH, outputs) for _, outputs in shapes],
        )
    )
    results = [[torch.empty_like(tensor) for tensor in tensors] for tensors in (g, w, x)]
    parameters = [tensor.float() for tensor in w]
    means, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    taken = torch.ones(())

    def move(k: int) -> None:
        gradient = results[1][k].float()
        moved = [parameters[k]], [gradient], [means[k]], [squares[k]], [], [taken]
        torch._fused_adam_(
            *moved, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-7, weight_decay=0.0, amsgrad=False,
            maximize=False,
        )  # fmt: skip
        if dtype != torch.float32:
            w[k].copy_(parameters[k])

    def steps(count: int) -> None:
        for _ in range(count):
            for k in range(len(shapes)):
                torch.mm(x[k], w[k].T, out=results[0][k])
            for k in reversed(range(len(shapes))):
                torch.mm(g[k].T, x[k], out=results[1][k])
                if k:  # nothing is upstream of the first layer
                    torch.mm(g[k], w[k], out=results[2][k])
                if adam:
                    move(k)

    return steps


def load(path: Path | None):
    """Images, uint8 (60,000, 28, 28, 1): those of a file, or noise."""
    import numpy as np

    if path is not None:
        return np.load(path)
    return np.random.default_rng(0).integers(0, 256, (SPLIT, 28, 28, 1), dtype=np.uint8)


def measure(side: str, objective: str, threads: int, steps: int, images: Path | None) -> float:
    """Seconds that a side takes for so many steps; begun when the harness says so."""
    if side == "pythae":
        run = pythae(objective, threads, images)
    elif side.startswith(FLOORS):
        run = floor(side.rpartition(" ")[2], threads, adam=side.startswith(FLOORS[1]))
    else:
        run, _ = ours(objective, side.rpartition(" ")[2], threads, images)
    run(steps)
    harness.wait_for_start()
    started = time.perf_counter()
    run(steps)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.command_line(__doc__, turns=3)
    parser.add_argument("--data-dir", type=Path, help="with MNIST; without it noise")
    parser.add_argument("--steps", type=int, default=SPLIT // BATCH, help="default: an epoch")
    parser.add_argument("--measure", help="for the benchmark's own processes")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps({"seconds": measure(**json.loads(options.measure))}))
        return

    with tempfile.TemporaryDirectory() as folder:
        images = None
        if options.data_dir is not None:
            import numpy as np

            from hebae.data import mnist

            images = str(Path(folder, "images.npy"))
            np.save(images, mnist.load(options.data_dir.expanduser()).train_images)

        def throughput(side: str, objective: str, copies: int, threads: int) -> float:
            what = dict(
                side=side, objective=objective, threads=threads, steps=options.steps, images=images
            )
            command = ["-m", "benchmarks.dense", "--measure", json.dumps(what)]
            done = harness.together(command, copies, {"TQDM_DISABLE": "1"})
            slowest = max(result["seconds"] for result in done)
            return copies * options.steps * BATCH / SPLIT / slowest

        rows = []
        for mode, (copies, threads) in MODES.items():
            for objective in OBJECTIVES if copies == 2 else ["VAE"]:
                names = ["pythae", *(f"hebae {precision}" for precision in harness.precisions())]
                if objective == "VAE":
                    names += [
                        f"{of} {precision}" for of in FLOORS for precision in harness.precisions()
                    ]
                sides = {
                    name: lambda name=name, objective=objective, copies=copies, threads=threads: (
                        throughput(name, objective, copies, threads)
                    )
                    for name in names
                }
                case = f"{objective}, {mode}"
                rows += harness.in_turn(case, sides, options.turns, "run-epochs/s")
    table = harness.save("dense", rows, options.output)
    harness.draw("dense", table, options.output)
    for case in dict.fromkeys(table.case):
        for precision in harness.precisions():
            line = harness.ratios(table, case, f"hebae {precision}", "pythae")
            print(f"{case}: {precision} {harness.spread(line)} times pythae")
            if case.startswith("VAE"):
                sides = [f"hebae {precision}", *(["pythae"] if precision == "float32" else [])]
                for floor_side, side in itertools.product(FLOORS, sides):
                    line = harness.ratios(table, case, f"{floor_side} {precision}", side)
                    print(f"{case}: {side} takes {harness.spread(line)} times {floor_side}")


if __name__ == "__main__":
    sys.exit(main())
