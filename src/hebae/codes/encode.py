"""Encode the splits of a trained run: ``python -m hebae.codes.encode --help``.

``posterior.npz`` belongs to the test split, ``posterior_train.npz`` to the images that the run was
trained on. Each has ``mean`` (N, d), ``sigma`` (N, d; zeros for a deterministic encoder) and
``mixing`` (d, d), all float32. The codes of image i are z = μ_i + σ_i∘(L ε). For HEBAE, L is a
factor of the covariance of the whole split's means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hebae.base.errors import UserError, command
from hebae.base.seeds import derive_seed
from hebae.codes.posterior import Posterior
from hebae.codes.trained import Trained, command_line
from hebae.config.run import Run
from hebae.data.store import load_prepared, training_subset
from hebae.models.latent import SingularCovariance, normal_stream


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line("Encode the test split of a trained run, or both splits.")
    parser.add_argument("--train-output", type=Path, help="file for the images it was trained on")
    options = parser.parse_args(arguments)
    trained = Trained.open(options)
    write_posterior(options.output, trained, trained.images, "test")
    if options.train_output is not None:
        images = training_images(options.data, trained.run)
        write_posterior(options.train_output, trained, images, "train")


def write_posterior(path: Path, trained: Trained, images: np.ndarray, split: str) -> None:
    """Encode images, uint8 (N, height, width, channels), and write their posterior."""
    posterior_of(trained, images, split).save(path)


def posterior_of(trained: Trained, images: np.ndarray, split: str) -> Posterior:
    """The posterior of images, uint8 (N, height, width, channels); arrays are float32.

    Raises UserError, naming the split, if HEBAE's L does not exist.
    """
    run = trained.run
    images = trained.on_device(images)
    mean, log_sigma = trained.model.encode_images(images)
    mixing = None
    if run.entries.objective.needs_covariance:
        normal = normal_stream(derive_seed(run.seed, "encode"), trained.device)
        try:
            with torch.inference_mode():
                mixing = trained.model.latent(mean, log_sigma, normal).mixing
        except SingularCovariance as error:
            raise UserError(f"run {run.path}, {split} split: {error}") from None
    sigma = torch.zeros_like(mean) if log_sigma is None else log_sigma.exp()
    mixing = torch.eye(run.latent_dim) if mixing is None else mixing
    return Posterior(*(array.cpu().numpy() for array in (mean, sigma, mixing)))


def training_images(data: Path, run: Run) -> np.ndarray:
    """The images that a run was trained on, uint8 (N, height, width, channels), on disk."""
    images = load_prepared(data, "train")[0]
    subset = training_subset(len(images), run.n_train, run.seed)
    return images if subset is None else images[subset]


if __name__ == "__main__":
    command(main)
