"""Encode the test split of a trained run: ``python -m hebae.encode --help``.

``posterior.npz`` has ``mean`` (N, d), ``sigma`` (N, d; zeros for a deterministic encoder) and
``mixing`` (d, d), all float32: the codes of image i are z = μ_i + σ_i∘(L ε). For HEBAE, L
belongs to the covariance of the whole split's means.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hebae import files
from hebae.errors import command
from hebae.evaluation import encode, normal_stream, objective_of
from hebae.model import choose_device, load_model
from hebae.prepared import load_prepared
from hebae.registry import RECONSTRUCTIONS, lookup, resolve
from hebae.run import read_run
from hebae.streams import derive_seed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Encode the test split of a trained run.")
    parser.add_argument("--run", type=Path, required=True, help="run.json of the run")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="posterior.npz to write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    run, record = read_run(options.run)
    model = load_model(run, record["image_shape"], options.weights).to(device)
    images = torch.from_numpy(load_prepared(options.data, "test", mmap=False)[0]).to(device)
    reconstruction = resolve(lookup(RECONSTRUCTIONS, "reconstruction", run.reconstruction))

    mean, log_sigma = encode(run, model, images, reconstruction)
    _, normal = normal_stream(derive_seed(run.seed, "encode"), device)
    mixing = objective_of(run)(mean, log_sigma, normal).mixing
    arrays = {
        "mean": mean,
        "sigma": torch.zeros_like(mean) if log_sigma is None else log_sigma.exp(),
        "mixing": torch.eye(run.latent_dim) if mixing is None else mixing,
    }
    with files.replacing(options.output) as stream:
        np.savez(stream, **{name: array.cpu().numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    command(main)
