"""A small convolutional network for features, and how it is trained on a task.

The task is to tell the classes of images: a dataset's own labels (:mod:`.classifier`), or how far
images were turned (:mod:`.rotation`). Its features are the layer before the class scores.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, cos, inf, pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hebae.base.device import set_up
from hebae.base.progress import Progress
from hebae.base.seeds import derive_seed
from hebae.data.store import PreparedDataset, load_prepared, read_prepared
from hebae.measures.fid.features.network import write_features
from hebae.training.finished import Machine, Store, installed, of_features, read
from hebae.training.optimiser import Adam
from hebae.training.plan import read_plan, taken

N_FEATURES = 64  # 1,000 images give their covariance its full rank many times over
WIDTHS = (16, 32, 64)  # filters of the layers; further layers have as many as the last
SMALLEST = 4  # pixels of a side at which halving ends
BATCH_SIZE = 64
# The least number of images in training; small datasets are passed through more often.
EXAMPLES = 20_000
LEAST_EPOCHS = 3
LEARNING_RATE = 3e-3  # falls to 0 along half a cosine
ADAM_EPSILON = 1e-8

Draw = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""From images, uint8 (n, height, width, channels), their labels in the dataset, int64 (n, ·), and
a generator: the images as the network sees them, and the classes that it is to tell, (n, k)."""


@dataclass(frozen=True)
class Task:
    """What a network is trained to tell."""

    features: str
    """The name in :data:`hebae.config.registry.FEATURES`."""
    draw: Draw
    classes: Callable[[PreparedDataset], dict[str, int]]
    """By factor, the number of its classes. Raises UserError for images that the task is not for.
    """


class Network(nn.Module):
    """3×3 convolutions that halve the image until it is 4 pixels a side, then two dense layers.

    The features have about mean 0 and variance 1 over the images of training, as the task draws
    them (batch normalisation without scale), so distances in them read alike across datasets. The
    rectifier comes after them, so that none is constant.

    Args:
        image_shape: height, width, channels.
        n_classes: of each factor; each has a head of its own.
        generator: source of the initial parameters.
    """

    chunk = 250

    def __init__(
        self,
        image_shape: Sequence[int],
        n_classes: Sequence[int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        height, width, channels = image_shape
        layers: list[nn.Module] = []
        strides = [2] * max(0, ceil(np.log2(max(height, width) / SMALLEST))) + [1]
        for depth, stride in enumerate(strides):
            filters = WIDTHS[min(depth, len(WIDTHS) - 1)]
            layers += [
                nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            channels, height, width = filters, ceil(height / stride), ceil(width / stride)
        self.features = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * height * width, N_FEATURES, bias=False),
            nn.BatchNorm1d(N_FEATURES, affine=False),
        )
        self.heads = nn.ModuleList(nn.Linear(N_FEATURES, classes) for classes in n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        for head in self.heads:
            nn.init.zeros_(head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, channels) to features (n, N_FEATURES)."""
        return self.features(images.permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1))

    def scores(self, images: Tensor) -> list[Tensor]:
        """Logits of each factor's classes, (n, classes)."""
        hidden = self(images).relu()
        return [head(hidden) for head in self.heads]


def load(weights: Path) -> Network:
    """The network that a weights file describes."""
    content = torch.load(weights, map_location="cpu", weights_only=True)
    network = Network(content["image_shape"], content["n_classes"])
    network.load_state_dict(content["state"])
    return network


def train(
    task: Task,
    images: np.ndarray,
    labels: np.ndarray,
    n_classes: Sequence[int],
    device: torch.device,
) -> Network:
    """Train on images, uint8 (N, height, width, channels), with labels, int64 (N, ·).

    The loss is the cross entropy, summed over the task's factors, of which each has a number of
    classes. Each epoch writes a line to stderr.
    """
    generator = torch.Generator().manual_seed(derive_seed(0, f"{task.features}/initialise"))
    network = Network(images.shape[1:], n_classes, generator).to(device)
    optimiser = Adam(network.parameters(), ADAM_EPSILON)
    epochs = max(LEAST_EPOCHS, ceil(EXAMPLES / len(images)))
    batches = ceil(len(images) / BATCH_SIZE)
    with Progress(task.features, epochs, "epoch", every=inf) as progress:
        for epoch in range(epochs):
            rng = np.random.default_rng(derive_seed(0, f"{task.features}/order", epoch))
            total = torch.zeros((), device=device)
            for step, rows in enumerate(np.array_split(rng.permutation(len(images)), batches)):
                drawn = task.draw(images[rows], labels[rows], rng)
                batch, targets = (torch.from_numpy(array).to(device) for array in drawn)
                scores = network.scores(batch)
                loss = sum(map(functional.cross_entropy, scores, targets.unbind(1)))
                done = (epoch + step / batches) / epochs
                optimiser.minimise(loss, LEARNING_RATE * (1 + cos(pi * done)) / 2)
                total += loss.detach() * len(rows)
            progress.advance()
            said = f"cross entropy {float(total) / len(images):.4f}"
            progress.say(f"epoch {epoch + 1}/{epochs}  {said}", said)
    return network.eval()


@torch.inference_mode()
def accuracies(task: Task, network: Network, images: np.ndarray, labels: np.ndarray) -> list[float]:
    """Share of the images (N, ...), with labels (N, ·), whose class is told, per factor."""
    device = next(network.parameters()).device
    rng = np.random.default_rng(derive_seed(0, f"{task.features}/test"))
    right = torch.zeros(len(network.heads), dtype=torch.int64)
    for start in range(0, len(images), network.chunk):
        rows = slice(start, start + network.chunk)
        shown, targets = task.draw(np.array(images[rows]), np.array(labels[rows]), rng)
        scores = network.scores(torch.from_numpy(shown).to(device))
        guesses = torch.stack([score.argmax(1) for score in scores], dim=1).cpu()
        right += (guesses == torch.from_numpy(targets)).sum(0)
    return (right.double() / len(images)).tolist()


def main(task: Task, module: str, arguments: Sequence[str] | None = None) -> None:
    """The command ``python -m <module>``: train a task's network, unless that has been done."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=f"Train the network of {task.features} features."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--results", type=Path, help="folder of all results, where finished trainings are kept"
    )
    parser.add_argument("--plan", type=Path, help="what the workflow planned (hebae.training.plan)")
    parser.add_argument("--label", help="its folder below results/<experiment>, as in the plan")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    device = set_up(options.device, options.threads)
    prepared = read_prepared(options.data)
    classes = task.classes(prepared)
    here = Machine(installed(), device.type, "float32")
    decides = of_features(task.features, prepared.checksum, here)
    store = None if options.results is None else Store(options.results)
    if store is not None:
        plan = read_plan(options.plan)
        if taken(store, plan, decides, options.output, label=options.label):
            return
    n_classes = list(classes.values())
    network = train(task, *load_prepared(options.data, "train"), n_classes, device)
    shares = accuracies(task, network, *load_prepared(options.data, "test"))
    by_factor = dict(zip(classes, shares, strict=True))
    print(
        "test accuracy  " + "  ".join(f"{name} {share:.4f}" for name, share in by_factor.items()),
        file=sys.stderr,
    )

    weights = io.BytesIO()
    torch.save(
        {
            "image_shape": list(prepared.image_shape),
            "n_classes": n_classes,
            "state": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
        },
        weights,
    )
    weights.seek(0)
    write_features(
        options.output,
        weights,
        features=task.features,
        n_features=N_FEATURES,
        dataset=prepared.name,
        accuracy=sum(shares) / len(shares),
        accuracies=by_factor,
        preprocessing="8-bit values scaled to [−1, 1], at the dataset's own size",
        decides=decides,
    )
    if store is not None and (finished := read(options.output)):
        store.keep(finished)
