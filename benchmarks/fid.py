"""FID, from images to a number, against the pytorch_fid command: ``python -m benchmarks.fid``.

Two sets of images, the same for both sides. Theirs: one command on two folders of PNG files.
Ours: what the workflow runs, ``hebae.measures.fid.reference`` on the real images and then a process
that does what ``hebae.measures.fid.fid`` does with generated ones (here they are stored instead of
decoded: pytorch_fid
does not count what made its files either). Every process's start-up is counted on both sides,
writing the PNG files is not. A second case has the moments of the real images ready, ours from
``hebae.measures.fid.reference`` and theirs as the .npz that the command takes.

The "generated" images are real ones of the other split, blurred as a VAE's samples are. Without
the Inception weights (see ``--data-dir``) random ones take their place, their batch
normalisation fitted to the images: times and the agreement of the two sides mean what they
would, the distances themselves mean nothing.

Beside the second case stands what the network's convolutions take as matrix products of the
same sizes, in float32, in memory that is there already: a floor for either side.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import harness
from hebae.config.fields import to_json
from hebae.config.protocols import RealImages
from hebae.data.arrays import Arrays
from hebae.data.prepare import write_prepared
from hebae.data.store import load_prepared
from hebae.measures.fid.features import inception
from hebae.measures.fid.features.network import feature_moments, open_features, write_features

OURS, THEIRS, FLOOR = "hebae", "pytorch_fid command", "matrix products of the network alone"
FITTED = 64  # images that random weights' batch normalisation is fitted to
BLUR = 3  # pixels of an image that become one
BATCH_SIZE = 50  # pytorch_fid's own


def random_weights(images: np.ndarray) -> dict[str, Tensor]:
    """A state of the network in which activations neither fade nor explode on these images.

    uint8 (n, height, width, channels); rectifiers are open for most of what comes in, as
    random networks in which they are not magnify rounding far more than trained ones do.
    """
    from pytorch_fid import inception as theirs
    from torchvision.models import inception_v3

    state = inception_v3(
        num_classes=1008, aux_logits=False, weights=None, init_weights=False
    ).state_dict()
    with patch.object(theirs, "load_state_dict_from_url", lambda *_, **__: state):
        network = theirs.fid_inception_v3()
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 1, 0.5, generator=generator)
            layer.momentum = None  # running statistics are those of the one batch
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1).float()
    with torch.no_grad():
        network.train()(functional.interpolate(pixels / 127.5 - 1, (299, 299), mode="bilinear"))
    return network.state_dict()


def blurred(images: np.ndarray) -> np.ndarray:
    """Images without their small parts; uint8 (n, height, width, channels)."""
    height, width, channels = images.shape[1:]
    small = (max(1, width // BLUR), max(1, height // BLUR))
    pictures = map(Image.fromarray, images.squeeze(-1) if channels == 1 else images)
    bilinear = Image.Resampling.BILINEAR
    resized = (picture.resize(small, bilinear).resize((width, height), bilinear)
               for picture in pictures)  # fmt: skip
    return np.stack([np.asarray(picture) for picture in resized]).reshape(images.shape)


def write_images(folder: Path, images: np.ndarray) -> None:
    folder.mkdir()
    for i, image in enumerate(images.squeeze(-1) if images.shape[-1] == 1 else images):
        Image.fromarray(image).save(folder / f"{i:05}.png")


def fid_of_stored(arguments: Sequence[str]) -> None:
    """Our measured process: what ``hebae.measures.fid.fid`` does with images read from a file."""
    from hebae.base.device import set_up
    from hebae.measures.fid.frechet import frechet_distance
    from hebae.measures.fid.reference import CHUNK, Reference

    images, folder, path, threads = arguments
    device = set_up("cpu", int(threads))
    net = open_features(Path(folder), device)
    reference = Reference.load(Path(path))
    stored = torch.from_numpy(np.load(images))
    moments = feature_moments(net, stored.split(CHUNK), len(stored), "generated")
    distance = frechet_distance(
        moments.mean, moments.covariance, reference.mean, reference.covariance
    )
    print("FID: ", distance)


def products(n: int, threads: int) -> None:
    """Our other measured process: the products of `n` images, a chunk at a time."""
    torch.set_num_threads(threads)
    network = inception.Inception(random_weights(np.zeros((2, 32, 32, 3), np.uint8)), 2048)
    sizes: list[tuple[int, int, int]] = []

    def note(layer: nn.Conv2d, _, output: Tensor) -> None:
        sizes.append((output.shape[2] * output.shape[3], layer.weight[0].numel(), output.shape[1]))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.inference_mode():
        network(torch.zeros((1, 32, 32, 3), dtype=torch.uint8))
        harness.wait_for_start()
        seconds = 0.0
        for rows, inner, columns in sizes:
            a, b = torch.ones(rows * network.chunk, inner), torch.ones(inner, columns)
            result = torch.mm(a, b)
            begun = time.perf_counter()
            torch.mm(a, b, out=result)
            seconds += time.perf_counter() - begun
    print(json.dumps({"seconds": seconds * n / network.chunk}))


def timed(values: list[float], *commands: Sequence[str | Path], **environment: str) -> float:
    """Seconds of Python programs one after the other; the FID they print goes to `values`."""
    path = os.pathsep.join([str(harness.ROOT / "src"), str(harness.ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    printed = ""
    begun = time.perf_counter()
    for command in commands:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env=environment,
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode:
            sys.exit(f"{command} failed:\n{done.stderr}")
        printed += done.stdout
    seconds = time.perf_counter() - begun
    values += map(float, re.findall(r"FID: +(\S+)", printed))
    return seconds


def cases(
    folder: Path, n: int, threads: int, values: Mapping[str, list[float]]
) -> dict[str, dict[str, Callable[[], float]]]:
    """What is measured on `n` images of each kind: case, side, function that returns seconds."""
    data, known = folder / f"data-{n}", folder / f"known-{n}.npz"
    network, reference = folder / "features", folder / f"reference-{n}.npz"
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    limits |= {"TORCH_HOME": str(folder / "torch")}

    def of_real() -> list:
        cache = tempfile.mkdtemp(dir=folder)  # an empty one, so that they are computed
        return ["-m", "hebae.measures.fid.reference", "--data", data, "--features", network,
                "--protocol", to_json(RealImages("test", n)), "--output", reference,
                "--cache", cache,
                "--device", "cpu", "--threads", threads]  # fmt: skip

    generated = ["-m", "benchmarks.fid", "--measure", folder / f"generated-{n}.npy", network,
                 reference, threads]  # fmt: skip
    command = ["-W", "ignore", "-m", "pytorch_fid", "--device", "cpu", "--batch-size", BATCH_SIZE,
               "--num-workers", threads, folder / f"generated-{n}"]  # fmt: skip

    def both() -> float:
        seconds = timed(values[OURS], of_real(), generated, **limits)
        stored = np.load(reference)
        np.savez(known, mu=stored["mean"], sigma=stored["covariance"])
        return seconds

    def floor() -> float:
        what = ["-m", "benchmarks.fid", "--products", n, threads]
        (result,) = harness.together(list(map(str, what)), environment=limits)
        return result["seconds"]

    return {
        f"{n} + {n} images": {
            OURS: both,
            THEIRS: lambda: timed(values[THEIRS], [*command, folder / f"real-{n}"], **limits),
        },
        f"{n} images, reference known": {
            OURS: lambda: timed(values[OURS], generated, **limits),
            THEIRS: lambda: timed(values[THEIRS], [*command, known], **limits),
            FLOOR: floor,
        },
    }


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        fid_of_stored(sys.argv[2:])
        return
    if sys.argv[1:2] == ["--products"]:
        products(*map(int, sys.argv[2:]))
        return
    parser = harness.command_line(__doc__, turns=1)
    parser.add_argument("--data-dir", type=Path, required=True, help="raw data, maybe the weights")
    parser.add_argument("--dataset", choices=("celeba", "mnist"), default="mnist")
    parser.add_argument("--images", type=int, nargs="+", default=[1000], help="of each kind")
    parser.add_argument("--threads", type=int, default=2, help="of each side; default: 2")
    options = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory(prefix="hebae-") as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, "-m", "hebae.data.prepare", "--dataset", options.dataset, "--data-dir",
             options.data_dir, "--output", folder / "prepared"],
            check=True,
        )  # fmt: skip
        real, generated = (load_prepared(folder / "prepared", s)[0] for s in ("test", "train"))
        hub = folder / "torch/hub/checkpoints"
        hub.mkdir(parents=True)
        weights = inception.present(options.data_dir)
        if weights is None:
            print("no Inception weights: random ones, and distances mean nothing", flush=True)
            weights = hub / inception.NAME
            half = FITTED // 2
            fitted = np.concatenate([real[:half], blurred(np.array(generated[:half]))])
            torch.save(random_weights(fitted), weights)
        else:
            (hub / inception.NAME).symlink_to(weights.resolve())
        with weights.open("rb") as stream:
            write_features(
                folder / "features", stream, features="inception",
                n_features=inception.N_FEATURES, dataset=None, accuracy=None, accuracies=None,
                preprocessing="",
            )  # fmt: skip
        for n in options.images:
            sets = {"real": np.array(real[:n]), "generated": blurred(np.array(generated[:n]))}
            for what, images in sets.items():
                if len(images) != n:
                    sys.exit(f"{options.dataset} has {len(images)} images here, not {n}")
                write_images(folder / f"{what}-{n}", images)
            np.save(folder / f"generated-{n}.npy", sets["generated"])
            labels = np.empty((n, 0), np.int64)
            arrays = Arrays(sets["generated"], labels, sets["real"], labels, ())
            write_prepared(options.dataset, arrays, folder / f"data-{n}")

            values: dict[str, list[float]] = {OURS: [], THEIRS: []}
            for case, sides in cases(folder, n, options.threads, values).items():
                timings = harness.in_turn(case, sides, options.turns, "seconds")
                ours, theirs = (values[side][-options.turns :] for side in (OURS, THEIRS))
                rows += [
                    row
                    if row["side"] == FLOOR
                    else row | {"fid": values[row["side"]][row["turn"] - options.turns]}
                    for row in timings
                ]
                apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
                print(f"{case}: FID {ours[-1]:.6f} and {theirs[-1]:.6f}, {apart:.2g} apart "
                      f"({apart / theirs[-1]:.2g} of it)")  # fmt: skip
    table = harness.save("fid", rows, options.output)
    for case in dict.fromkeys(table.case):
        print(f"{case}: {harness.spread(harness.ratios(table, case, THEIRS, OURS))} times as fast")
        if FLOOR in set(table[table.case == case].side):
            for side in (OURS, THEIRS):
                line = harness.ratios(table, case, side, FLOOR)
                print(f"{case}: {side} takes {harness.spread(line)} times the floor")
    harness.draw("fid", table, options.output)


if __name__ == "__main__":
    main()
