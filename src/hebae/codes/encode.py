"""Encode the splits of a trained run: ``python -m hebae.codes.encode --help``.

``posterior.npz`` is the test split's, ``posterior_train.npz`` that of the images the run was
trained on. Each has ``mean`` (N, d), ``sigma`` (N, d; zeros for a deterministic encoder) and
``mixing`` (d, d), all float32: the codes of image i are z = μ_i + σ_i∘(L ε). For HEBAE, L
belongs to the covariance of the whole split's means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.base.seeds import derive_seed
from hebae.codes.trained import Trained, command_line
from hebae.data.store import load_prepared, training_subset
from hebae.models.divergences.gaussian import SingularCovariance
from hebae.models.evaluation import encode, normal_stream, objective_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Encode the test split of a trained run, or both splits.")
    parser.add_argument("--train-output", type=Path, help="file for the images it was trained on")
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    run = trained.run
    write_posterior(options.output, trained, trained.images, "test")
    if options.train_output is not None:
        images = load_prepared(options.data, "train")[0]
        subset = training_subset(len(images), run.n_train, run.seed)
        images = images if subset is None else images[subset]
        write_posterior(options.train_output, trained, images, "train")


def write_posterior(path: Path, trained: Trained, images: np.ndarray, split: str) -> None:
    """Encode images, uint8 (N, height, width, channels), and write what the module states."""
    run = trained.run
    images = trained.on_device(images)
    mean, log_sigma = encode(run, trained.model, images, trained.reconstruction)
    mixing = None
    if run.entries.objective.needs_covariance:
        normal = normal_stream(derive_seed(run.seed, "encode"), trained.device)
        try:
            with torch.inference_mode():
                mixing = objective_of(run, trained.model)(mean, log_sigma, normal).mixing
        except SingularCovariance as error:
            raise UserError(f"run {run.path}, {split} split: {error}") from None
    arrays = {
        "mean": mean,
        "sigma": torch.zeros_like(mean) if log_sigma is None else log_sigma.exp(),
        "mixing": torch.eye(run.latent_dim) if mixing is None else mixing,
    }
    with files.replacing(path) as stream:
        np.savez(stream, **{name: array.cpu().numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    command(main)
