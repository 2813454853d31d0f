"""A small run for tests to vary."""

import dataclasses
import json
import math
from pathlib import Path

import torch

from hebae.base import files
from hebae.base.progress import Progress
from hebae.config.run import Run, Training
from hebae.models.reconstruction import bernoulli
from hebae.training.checkpoint import Checkpoints
from hebae.training.finished import Machine, of_run
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


HERE = Machine({"torch": "2.15.0", "numpy": "2.4.0"}, "cpu", "bfloat16")


def add_run(
    folder: Path, run: Run = RUN, machine: Machine = HERE, data: str = "d", **fields
) -> Path:
    """A run's folder as a training leaves it."""
    files.write_bytes(folder / "weights.pt", run.path.encode())
    rows = [{**run.identity, "epoch": epoch, "seconds": 1.5 * epoch} for epoch in (1, 2)]
    files.write_csv(folder / "history.csv", rows)
    record = {
        "run": json.loads(run.to_json()),
        "weights_sha256": files.sha256(folder / "weights.pt"),
        "history_sha256": files.sha256(folder / "history.csv"),
        "decides": of_run(run, data, machine),
        "training_seconds": 3.0,
    }
    files.write_json(folder / "run.json", record | fields)
    return folder
