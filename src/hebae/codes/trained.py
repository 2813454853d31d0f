"""Opens a finished run for the steps that use its networks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebae.base.device import set_up
from hebae.base.progress import Progress
from hebae.base.seeds import derive_seed
from hebae.config.run import Run, read_run
from hebae.data.store import load_prepared
from hebae.models.autoencoder import Autoencoder, load


def command_line(description: str) -> argparse.ArgumentParser:
    """The parser of every such step."""
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
    """A run with its model on a device, and the test split on disk.

    ``images`` is uint8 (N, height, width, channels), memory mapped; ``labels`` int64 (N, k).
    """

    run: Run
    model: Autoencoder
    device: torch.device
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def open(cls, options: argparse.Namespace) -> Trained:
        """Load the files of :func:`command_line`. Raises ``UserError`` if one is missing."""
        run, record = read_run(options.run)
        device = set_up(options.device, options.threads, run.training.precision)
        images, labels = load_prepared(options.data, "test")
        shape, sha256 = record["image_shape"], record["weights_sha256"]
        return cls(
            run=run,
            model=load(run, shape, options.weights, sha256).to(device),
            device=device,
            images=images,
            labels=labels,
        )

    @property
    def common_weight(self) -> float:
        """The λ of an equivalent loss, mean error + λ · R (docs/paper.md, the common weight)."""
        return self.run.lam / self.model.reconstruction.scale

    @torch.inference_mode()
    def decode(self, codes: Tensor, purpose: str, repeat: int = 1) -> Iterator[Tensor]:
        """Codes (n, d) to uint8 images (·, height, width, channels), a chunk at a time.

        A decoder with independent pixels gives the mean of p(x|z). From an autoregressive decoder
        an image is drawn, pixel by pixel. Its random numbers depend on `purpose`, and `repeat`
        successive codes share them.
        """
        size, decoder = self.model.chunk, self.model.decoder
        if not self.run.entries.network.autoregressive:
            for chunk in codes.split(size):
                yield self.model.reconstruction.pixels(decoder(chunk))
            return
        generator = torch.Generator(self.device)
        generator.manual_seed(derive_seed(self.run.seed, f"pixels/{purpose}"))
        # drawn all at once, so that pixels do not depend on the size of a chunk
        shape = (len(codes) // repeat, *self.images.shape[1:])
        uniform = torch.rand(shape, generator=generator, device=self.device)
        uniform = uniform.repeat_interleave(repeat, dim=0)
        chunks = list(zip(codes.split(size), uniform.split(size), strict=True))
        with Progress(f"{purpose} of {self.run.path}", len(chunks) * shape[1], "row") as progress:
            for chunk, noise in chunks:
                images = decoder.sample(chunk, noise, progress.advance)
                yield images.mul(255).to(torch.uint8)

    def on_device(self, images: np.ndarray) -> Tensor:
        """Some of the images, copied to the device."""
        return torch.from_numpy(np.array(images)).to(self.device)
