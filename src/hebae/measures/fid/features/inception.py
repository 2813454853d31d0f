"""Inception features, those of the FID: ``python -m hebae.measures.fid.features.inception --help``.

The network and its weights are pytorch-fid's: a port of the TensorFlow network of 2015-12-05 that
Heusel et al. 2017 used. Images are resized as pytorch-fid does, so distances equal those of its
command. Weights that are there already are used, and otherwise downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.config.registry import FEATURES
from hebae.data.download import FetchError, attempt, unwritable
from hebae.measures.fid.features.network import write_features

NAME = FEATURES["inception"].weights
# the name contains its beginning, by the convention of torch.hub
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FOLDER = FEATURES["inception"].folder  # below `data_dir`; downloads go there
N_FEATURES = 2048  # of the last pooling, "pool3"

TIMEOUT_SECONDS = 20
PIECE = 1 << 20  # bytes held while downloading


class Inception(nn.Module):
    """pytorch-fid's InceptionV3 on 8-bit images.

    Args:
        state: the tensors of the weights file.
        n_features: 64, 192, 768 or 2048: the block whose features are averaged over space.
    """

    chunk = 25  # an image takes some 17 MB at 299×299; on a CPU larger chunks are no faster

    def __init__(self, state: dict[str, Any], n_features: int) -> None:
        super().__init__()
        from pytorch_fid import inception  # it imports torchvision, which takes seconds

        block = inception.InceptionV3.BLOCK_INDEX_BY_DIM[n_features]
        # The function that builds the network also downloads and unpickles its weights. It gets
        # our weights instead.
        with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
            network = _folded(inception.InceptionV3([block]).eval())
        # the memory order in which CPUs and GPUs convolve faster; values agree to rounding
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, 1 or 3) to float32 (n, n_features)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32).div_(255)
        (maps,) = self.network(pixels.expand(-1, 3, -1, -1))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)


def _folded(network: nn.Module) -> nn.Module:
    """The network, in evaluation mode, with each batch normalisation inside its convolution.

    One convolution with a bias replaces the two, and the rectifier works in place. So activations
    are passed through once instead of three times. Values agree to rounding.
    """
    from torchvision.models.inception import BasicConv2d

    for name, layer in network.named_children():
        if isinstance(layer, BasicConv2d):
            convolution = fuse_conv_bn_eval(layer.conv, layer.bn)
            network.set_submodule(name, nn.Sequential(convolution, nn.ReLU(inplace=True)))
        else:
            _folded(layer)
    return network


def load(weights: Path) -> Inception:
    """The network with the weights in a file."""
    return Inception(torch.load(weights, map_location="cpu", weights_only=True), N_FEATURES)


def present(data_dir: Path) -> Path | None:
    """The verified weights file, or None if there is none.

    It is looked for in ``inception`` in `data_dir`, in `data_dir` itself, and in the folder of
    torch.hub, which pytorch-fid uses. Existing files are never changed.

    Raises :class:`UserError` for a file of that name with other content.
    """
    for folder in (data_dir / FOLDER, data_dir, Path(torch.hub.get_dir()) / "checkpoints"):
        path = folder / NAME
        # lexists: a link to a disk that is not mounted is not ours to replace
        if os.path.lexists(path):
            _verify(path)
            return path
    return None


def find(data_dir: Path) -> Path:
    """The weights file, as :func:`present`; downloaded to ``inception`` in `data_dir` otherwise.

    Raises :class:`UserError` for a file of that name with other content, a failed download or a
    folder that cannot be written to.
    """
    return present(data_dir) or _download(data_dir / FOLDER)


def _verify(path: Path) -> None:
    try:
        sha256 = files.sha256(path)
        if sha256 != SHA256:
            raise ValueError(f"its SHA-256 is {sha256}, not {SHA256}")
    except PermissionError:
        raise  # which is no damage
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not the intact Inception weights ({error}); it was left as it is: "
            "delete it to have them downloaded, or put an intact copy in its place"
        ) from None


def _download(folder: Path) -> Path:
    from pytorch_fid.inception import FID_WEIGHTS_URL

    path = folder / NAME
    print(f"downloading {path} (91 MB)", file=sys.stderr, flush=True)
    try:
        with files.replacing(path) as stream:
            attempt(_fetch, FID_WEIGHTS_URL, stream)
    except FetchError as error:
        raise UserError(
            f"the Inception weights could not be downloaded ({error}); put {NAME} "
            f"(SHA-256 {SHA256}) from {FID_WEIGHTS_URL} into {folder}"
        ) from None
    except OSError as error:
        raise unwritable("the Inception weights", folder, error) from None
    return path


def _fetch(url: str, stream: BinaryIO) -> None:
    """Download `url` to `stream`, from its beginning."""
    stream.seek(0)
    stream.truncate()
    digest = hashlib.sha256()
    for piece in _pieces(url):
        digest.update(piece)
        stream.write(piece)
    if digest.hexdigest() != SHA256:
        raise FetchError(f"{url}: the SHA-256 of what came is {digest.hexdigest()}")


def _pieces(url: str) -> Iterator[bytes]:
    # separate from writing, whose errors are no reason to try again
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            while piece := response.read(PIECE):
                yield piece
    except (OSError, HTTPException) as error:
        raise FetchError(" ".join(f"{url}: {error}".split())) from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.measures.fid.features.inception",
        description="Find or download the network.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="where raw files are")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)

    path = find(options.data_dir.expanduser())
    # a copy, because a link has the age of its target, and workflows compare ages
    with path.open("rb") as weights:
        write_features(
            options.output,
            weights,
            features="inception",
            n_features=N_FEATURES,
            dataset=None,
            accuracy=None,
            accuracies=None,
            preprocessing=(
                "8-bit RGB (grey three times over) / 255, bilinear to 299×299 without "
                f"antialiasing, scaled to [−1, 1], as pytorch-fid {version('pytorch-fid')} does"
            ),
        )


if __name__ == "__main__":
    command(main)
