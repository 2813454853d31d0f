"""A small run for tests to vary."""

import dataclasses
import math
from pathlib import Path

import torch

from hebae.base.progress import Progress
from hebae.config.run import Run, Training
from hebae.models.reconstruction import bernoulli
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Outcome, Single, fit

RUN = Run(
    dataset="digits",
    model="HEBAE",
    latent_dim=4,
    lam=1.0,
    seed=3,
    objective="hebae",
    parameters={},
    network="dense",
    network_parameters={"encoder_widths": [64, 32], "decoder_widths": [32, 32]},
    reconstruction="bernoulli",
    reconstruction_parameters={},
    training=Training(epochs=12, batch_size=128, learning_rate=1e-3, learning_rate_decay=0.995),
)

BERNOULLI = bernoulli((8, 8, 1))


def changed(**fields) -> Run:
    """RUN with other fields, those of its training included."""
    training = {key: fields.pop(key) for key in list(fields) if hasattr(RUN.training, key)}
    return dataclasses.replace(
        RUN, **fields, training=dataclasses.replace(RUN.training, **training)
    )


def trained(run: Run, images: dict[str, torch.Tensor], folder: Path, checkpoints=None) -> Outcome:
    """A run trained to its end, with its history in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = checkpoints or Checkpoints(folder / "c", "key", every=1e9)
    train, test = images["train"], images["test"]
    single = Single(run, train.shape[1:], train.device)
    (outcome,) = fit(single, {"train": train, "test": test}, checkpoints, folder / "history.csv")
    return outcome


def silent() -> Progress:
    """Progress that says nothing."""
    return Progress("", 1, "step", every=math.inf)
