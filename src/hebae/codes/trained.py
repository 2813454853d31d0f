"""A finished run, opened: what the steps that use its networks begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from hebae.base.device import set_up
from hebae.base.seeds import derive_seed
from hebae.config.run import Run, read_run
from hebae.data.store import load_prepared
from hebae.models.build import load_model
from hebae.models.evaluation import chunk_size, reconstruction_of
from hebae.models.reconstruction import Reconstruction


def command_line(description: str) -> argparse.ArgumentParser:
    """The parser that every such step starts from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", type=Path, required=True, help="run.json of the run")
    parser.add_argument("--weights", type=Path, required=True, help="weights.pt of the same run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    return parser


@dataclass(frozen=True)
class Trained:
    """A run with its networks on a device, and the test split on disk.

    ``images`` is uint8 (N, height, width, channels), memory mapped; ``labels`` int64 (N, k).
    """

    run: Run
    model: nn.ModuleDict
    reconstruction: Reconstruction
    device: torch.device
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def open(cls, options: argparse.Namespace) -> Trained:
        """Load what :func:`command_line` names; anything missing is a ``UserError``."""
        run, record = read_run(options.run)
        device = set_up(options.device, options.threads, run.training.precision)
        images, labels = load_prepared(options.data, "test")
        shape, sha256 = record["image_shape"], record["weights_sha256"]
        return cls(
            run=run,
            model=load_model(run, shape, options.weights, sha256).to(device),
            reconstruction=reconstruction_of(run, shape),
            device=device,
            images=images,
            labels=labels,
        )

    @property
    def common_weight(self) -> float:
        """λ for a loss of mean error + λ · R, whatever the run's loss multiplies the error by."""
        return self.run.lam / self.reconstruction.scale

    @torch.inference_mode()
    def decode(self, codes: Tensor, purpose: str, repeat: int = 1) -> Iterator[Tensor]:
        """Codes (n, d) to uint8 images (·, height, width, channels), a chunk at a time.

        A decoder with independent pixels gives the mean of p(x|z). An autoregressive one has
        none to give: an image is drawn from it, pixel by pixel, with randomness of its own for
        each `purpose`, which `repeat` successive codes share.
        """
        size = chunk_size(self.run, self.images.shape[1:])
        decoder = self.model["decoder"]
        if not self.run.entries.network.autoregressive:
            for chunk in codes.split(size):
                yield self.reconstruction.pixels(decoder(chunk))
            return
        generator = torch.Generator(self.device)
        generator.manual_seed(derive_seed(self.run.seed, f"pixels/{purpose}"))
        # all at once: how pixels are drawn must not depend on the size of a chunk
        shape = (len(codes) // repeat, *self.images.shape[1:])
        uniform = torch.rand(shape, generator=generator, device=self.device)
        uniform = uniform.repeat_interleave(repeat, dim=0)
        what = f"{purpose} of {self.run.path}"
        rows = -(-len(codes) // size) * shape[1]
        on_terminal = sys.stderr.isatty()
        with tqdm(
            desc=what, total=rows, unit="row", disable=not on_terminal, dynamic_ncols=True
        ) as bar:
            drawn = 0
            for chunk, noise in zip(codes.split(size), uniform.split(size), strict=True):
                images = decoder.sample(chunk, noise, bar.update)
                drawn += len(images)
                if not on_terminal:
                    print(f"{what}: {drawn}/{len(codes)} images", file=sys.stderr, flush=True)
                yield images.mul(255).to(torch.uint8)

    def on_device(self, images: np.ndarray) -> Tensor:
        """Some of the images, copied to the device."""
        return torch.from_numpy(np.array(images)).to(self.device)
