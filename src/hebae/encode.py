"""Encode the test split of a trained run: ``python -m hebae.encode --help``.

``posterior.npz`` has ``mean`` (N, d), ``sigma`` (N, d; zeros for a deterministic encoder) and
``mixing`` (d, d), all float32: the codes of image i are z = μ_i + σ_i∘(L ε). For HEBAE, L
belongs to the covariance of the whole split's means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hebae import files
from hebae.divergences import SingularCovariance
from hebae.errors import UserError, command
from hebae.evaluation import encode, normal_stream, objective_of
from hebae.streams import derive_seed
from hebae.trained import Trained, command_line


def main(arguments: Sequence[str] | None = None) -> None:
    options = command_line("Encode the test split of a trained run.").parse_args(arguments)
    trained = Trained.open(options)
    run = trained.run
    images = trained.on_device(trained.images)
    mean, log_sigma = encode(run, trained.model, images, trained.reconstruction)
    mixing = None
    if log_sigma is not None:
        normal = normal_stream(derive_seed(run.seed, "encode"), trained.device)
        try:
            mixing = objective_of(run)(mean, log_sigma, normal).mixing
        except SingularCovariance as error:
            raise UserError(f"run {run.path}, test split: {error}") from None
    arrays = {
        "mean": mean,
        "sigma": torch.zeros_like(mean) if log_sigma is None else log_sigma.exp(),
        "mixing": torch.eye(run.latent_dim) if mixing is None else mixing,
    }
    with files.replacing(options.output) as stream:
        np.savez(stream, **{name: array.cpu().numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    command(main)
