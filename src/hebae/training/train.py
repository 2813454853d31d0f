"""Train one run: ``python -m hebae.training.train --help``.

One loop for every objective, network and dataset. It is resumed by calling it again: a
checkpoint at an epoch's end carries weights, optimiser and history, and every random stream
is derived from (seed, purpose, epoch), so that the resumed run is the uninterrupted one, bit
for bit, on the same machine and thread count.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from hebae.base import files, lock, sources
from hebae.base.checkout import commit
from hebae.base.device import computed, has_bfloat16, set_up
from hebae.base.errors import UserError, command
from hebae.base.seeds import derive_seed
from hebae.config.registry import resolve
from hebae.config.run import Run, Training
from hebae.data.store import PreparedDataset, load_prepared, read_prepared, training_subset
from hebae.models.build import build_model, working_copy
from hebae.models.divergences.gaussian import SingularCovariance, posterior_kl
from hebae.models.evaluation import (
    Terms,
    autocast,
    evaluate,
    in_float32,
    normal_stream,
    objective_of,
    reconstruction_of,
)
from hebae.models.reconstruction import Reconstruction
from hebae.training.checkpoint import Checkpoints
from hebae.training.optimiser import Adam

ADAM_EPSILON = 1e-7  # Keras's default, which the released code runs with


def learning_rate(epoch: int, training: Training) -> float:
    """Adam's rate in an epoch counted from 0: initial · decay^epoch, divided at the steps.

    App. B.1 has a decay, App. B.2 steps; divisors of steps passed multiply.
    """
    divisors = (divisor for epochs, divisor in training.learning_rate_steps if epoch >= epochs)
    rate = training.learning_rate * training.learning_rate_decay**epoch
    return rate / math.prod(divisors)


def batches(images: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled batches of equal size; what is left over waits for the next epoch.

    A short batch would have moments of its own bias, or none at all.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    for start in range(0, len(images) - size + 1, size):
        yield images.index_select(0, order[start : start + size])


def train_epoch(
    run: Run,
    model: nn.ModuleDict,
    optimiser: Adam,
    images: Tensor,
    reconstruction: Reconstruction,
    epoch: int,
    bar: tqdm,
    adversary: Adam | None = None,
) -> Terms:
    """One pass over the training images; the mean over its batches of each term."""
    device = images.device
    objective = objective_of(run, model, check=device.type == "cpu")
    weight = float(run.weight)
    normal = normal_stream(derive_seed(run.seed, "noise", epoch), device)
    shuffle = torch.Generator().manual_seed(derive_seed(run.seed, "shuffle", epoch))
    rate = learning_rate(epoch, run.training)

    model.train()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    steps = 0
    stochastic = False
    for batch in batches(images, run.training.batch_size, shuffle):
        x = reconstruction.inputs(batch)
        with autocast(run, device):
            posterior = model["encoder"](x)
        mean, log_sigma = in_float32(posterior)
        latent = objective(mean, log_sigma, normal)
        with autocast(run, device):
            output = model["decoder"](latent.z, x)
        error = reconstruction.error(output.float(), x).mean()
        loss = reconstruction.scale * error + weight * latent.regulariser

        optimiser.minimise(loss, rate)
        if adversary is not None:
            adversary.minimise(latent.adversary_loss, rate * model["adversary"].rate_factor)

        with torch.no_grad():
            sums[0] += error
            sums[1] += latent.regulariser
            if log_sigma is not None:
                stochastic = True
                sums[2] += posterior_kl(mean, log_sigma, latent.mixing).mean()
        steps += 1
        bar.update()
    terms = (sums / steps).tolist()
    return Terms(terms[0], terms[1], terms[2] if stochastic else None)


def autoencoder_parameters(model: nn.ModuleDict) -> list[Tensor]:
    """Those of the encoder and the decoder; an adversary has an optimiser of its own."""
    return [*model["encoder"].parameters(), *model["decoder"].parameters()]


def check_finite(run: Run, epoch: int, split: str, terms: Terms) -> None:
    """Stop a diverged run, naming it; a NaN never trains on into the next epoch."""
    values = {"reconstruction": terms.reconstruction, "regulariser": terms.regulariser}
    for name, value in values.items():
        if not math.isfinite(value):
            singular = (
                ", or the covariance of a batch of codes was singular"
                if run.entries.objective.needs_covariance
                else ""
            )
            raise UserError(
                f"run {run.path} diverged in epoch {epoch + 1}: the {name} of the {split} split "
                f"is {value}; lower learning_rate, or change the weight{singular}"
            )


def history_rows(
    run: Run, epoch: int, train: Terms, test: Terms, seconds: float
) -> list[dict[str, Any]]:
    """What the history says of an epoch counted from 0; ``seconds`` since the first began."""
    likelihood = run.entries.reconstruction.likelihood
    return [
        {
            **run.identity,
            "epoch": epoch + 1,
            "split": split,
            **terms.bounds(run.bound, likelihood),
            "seconds": round(seconds, 3),
        }
        for split, terms in (("train", train), ("test", test))
    ]


def fit(
    run: Run,
    images: dict[str, Tensor],
    history: Path,
    checkpoints: Checkpoints,
) -> tuple[nn.ModuleDict, list[dict[str, Any]]]:
    """Train a run from its last checkpoint, or from the start, to its last epoch.

    Args:
        run: what to train.
        images: ``train`` and ``test``, uint8 (N, height, width, channels), on the device.
        history: CSV with a row an epoch and split, complete after every epoch.
        checkpoints: where to continue from and to.

    Returns:
        The trained networks and the rows of the history.
    """
    device = images["train"].device
    if len(images["train"]) < run.training.batch_size:
        raise UserError(
            f"dataset {run.dataset}: batch_size {run.training.batch_size} is larger than its "
            f"{len(images['train'])} training images"
        )
    reconstruction = reconstruction_of(run, images["train"].shape[1:])
    model = build_model(run, images["train"].shape[1:]).to(device)
    state = checkpoints.load()
    if state:
        model.load_state_dict(state["model"])
    working = working_copy(run, model)
    optimiser = Adam(
        autoencoder_parameters(model),
        ADAM_EPSILON,
        run.training.adam_beta1,
        autoencoder_parameters(working),
    )
    adversary = None
    if "adversary" in model:
        network = model["adversary"]
        adversary = Adam(network.parameters(), ADAM_EPSILON, network.adam_beta1)
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    first = 0
    if state:
        optimiser.load_state_dict(state["optimiser"])
        if adversary is not None:
            adversary.load_state_dict(state["adversary"])
        rows, seconds, first = state["rows"], state["seconds"], state["epoch"] + 1
        print(f"continuing {run.path} after epoch {first}", file=sys.stderr, flush=True)

    steps = len(images["train"]) // run.training.batch_size
    on_terminal = sys.stderr.isatty()
    with (
        _writing(history) as log,
        tqdm(
            desc=run.path,
            total=run.training.epochs * steps,
            initial=first * steps,
            unit="step",
            disable=not on_terminal,
            dynamic_ncols=True,
        ) as bar,
    ):
        log.write(files.csv_text(rows))
        for epoch in range(first, run.training.epochs):
            started = time.perf_counter()
            try:
                train = train_epoch(
                    run, working, optimiser, images["train"], reconstruction, epoch, bar, adversary
                )
                check_finite(run, epoch, "train", train)
                working.eval()
                normal = normal_stream(derive_seed(run.seed, "evaluate", epoch), device)
                test, _ = evaluate(run, working, images["test"], reconstruction, normal)
                check_finite(run, epoch, "test", test)
            except SingularCovariance as error:
                raise UserError(f"run {run.path} stopped in epoch {epoch + 1}: {error}") from None
            seconds += time.perf_counter() - started

            new = history_rows(run, epoch, train, test, seconds)
            log.write(files.csv_text(new, header=not rows))
            log.flush()
            rows += new
            _report(run, epoch, new[1], seconds / (epoch + 1), bar, on_terminal)
            checkpoints.offer(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "adversary": None if adversary is None else adversary.state_dict(),
                    "rows": rows,
                    "seconds": seconds,
                    "epoch": epoch,
                }
            )
    return model.eval(), rows


@contextmanager
def _writing(history: Path) -> Iterator[TextIO]:
    """Write the history as it grows, and leave no part of it where there is no space for it.

    Its rows are in the checkpoints, and the message needs the space.
    """
    history.unlink(missing_ok=True)
    try:
        with history.open("w") as log:
            yield log
    except OSError as error:
        if error.filename is None:
            error.filename = str(history)
            history.unlink(missing_ok=True)
        raise


def _report(run: Run, epoch: int, test: dict, pace: float, bar: tqdm, on_terminal: bool) -> None:
    """The current bound: on the bar at a terminal, as a plain line in a log."""
    name = "bound" if test["elbo_paper"] is not None else "reconstruction"
    value = test["elbo_paper"] if name == "bound" else test["reconstruction"]
    if on_terminal:
        bar.set_postfix({f"test {name}": f"{value:.5g}"})
        return
    left = pace * (run.training.epochs - epoch - 1)
    print(
        f"epoch {epoch + 1}/{run.training.epochs}  test {name} {value:.5g}  "
        f"{pace:.2f} s an epoch  {left:.0f} s left",
        file=sys.stderr,
        flush=True,
    )


def checkpoint_key(run: Run, dataset_checksum: str, device: torch.device) -> str:
    """A hash of everything that decides what a training computes, down to the last bit."""
    decides = (
        run.to_json(),
        str(run.entries),
        dataset_checksum,
        sources.fingerprint(["hebae.training.train", *run.modules]),
        torch.__version__,
        device.type,
        str(torch.get_num_threads()),
        computed(run.training.precision, device),
    )
    return hashlib.sha256("\n".join(decides).encode()).hexdigest()[:24]


def provenance(run: Run, device: torch.device) -> dict[str, Any]:
    """What the numbers of a run may depend on besides its description."""
    names = ("torch", "numpy")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in names},
        },
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": computed(run.training.precision, device),
    }


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def load_images(run: Run, data: Path, device: torch.device) -> tuple[dict[str, Tensor], int]:
    """What a run is trained and tested on, and of how many images it is trained.

    Args:
        run: may be on a subset of the training images.
        data: folder of the prepared dataset.
        device: where to put them.

    Returns:
        ``train`` and ``test``, uint8 (N, height, width, channels), and the number of different
        training images.
    """
    arrays = {split: load_prepared(data, split)[0] for split in ("train", "test")}
    n_train = len(arrays["train"])
    subset = training_subset(n_train, run.n_train, run.seed)
    if subset is not None:
        # as many steps an epoch as with all images: those there are come again
        arrays["train"] = arrays["train"][np.resize(subset, n_train)]
        n_train = len(subset)
    images = {split: torch.from_numpy(array).to(device) for split, array in arrays.items()}
    return images, n_train


def write_outputs(
    output: Path,
    run: Run,
    model: nn.ModuleDict,
    rows: list[dict[str, Any]],
    manifest: PreparedDataset,
    n_train: int,
    device: torch.device,
    wall_seconds: float,
    packed: int = 1,
) -> list[Path]:
    """Write what a finished training leaves: its weights, history and record.

    Args:
        output: the folder.
        run: what was trained.
        model: its networks.
        rows: its history.
        manifest: of the dataset.
        n_train: number of training images.
        device: what it was trained on.
        wall_seconds: what all of it took.
        packed: how many runs were trained together; its seconds are its share of theirs.
    """
    weights, history, path = (output / name for name in ("weights.pt", "history.csv", "run.json"))
    # whole: the next Snakemake may have deleted it while this process outlived its own
    files.write_csv(history, rows)
    buffer = io.BytesIO()
    # clones: of a view, PyTorch would write all that it is a view of
    state = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    torch.save(state, buffer)
    files.write_bytes(weights, buffer.getbuffer())
    record = {
        "run": asdict(run),
        "dataset_checksum": manifest.checksum,
        "image_shape": list(manifest.image_shape),
        "n_train": n_train,
        "final": {
            key: rows[-1][key] for key in ("reconstruction", "regulariser", "elbo_paper", "elbo")
        },
        "parameters": sum(
            p.numel() for name in ("encoder", "decoder") for p in model[name].parameters()
        ),
        "weights_sha256": files.sha256(weights),
        **provenance(run, device),
        "packed": packed,
        "training_seconds": rows[-1]["seconds"],
        "wall_seconds": round(wall_seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    if device.type == "cuda":
        record["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    files.write_json(path, record)
    return [weights, history, path]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train one run, or continue it.")
    parser.add_argument("--run", required=True, help="the run as JSON (hebae.config.run.Run)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="the run's folder")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of all checkpoints")
    parser.add_argument("--checkpoint-seconds", type=float, default=10.0)
    parser.add_argument("--packs", type=Path, help="runs to train together (hebae.training.packs)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    started = time.perf_counter()
    run = Run.from_json(options.run)
    device = set_up(options.device, options.threads, run.training.precision)
    if run.training.precision == "bfloat16" and not has_bfloat16(device):
        print(
            f"{run.path}: precision bfloat16 is slow here, this {device.type} has no instructions "
            "for it; auto is float32 on such a machine",
            file=sys.stderr,
            flush=True,
        )
    manifest = read_prepared(options.data)
    folder = options.checkpoints / run.path
    key = checkpoint_key(run, manifest.checksum, device)
    checkpoints = Checkpoints(folder, key, options.checkpoint_seconds)
    packed = options.packs is not None and options.packs.exists()
    if packed and not checkpoints.finished.exists():
        images, _ = load_images(run, options.data, device)
        # by name: what trains runs together is no source of one that is trained by itself
        resolve("hebae.training.stack:train_pack_of")(run, images, manifest, device, options)

    # held until this process ends: the same run is trained by one process at a time
    _held = lock.wait_for(folder / "lock", run.path)
    if checkpoints.recall(options.output):
        print(f"{run.path} was trained already: its outputs are put back", file=sys.stderr)
        return
    images, n_train = load_images(run, options.data, device)
    options.output.mkdir(parents=True, exist_ok=True)
    model, rows = fit(run, images, options.output / "history.csv", checkpoints)
    wall_seconds = time.perf_counter() - started
    outputs = write_outputs(
        options.output, run, model, rows, manifest, n_train, device, wall_seconds
    )
    checkpoints.finish(outputs)


if __name__ == "__main__":
    command(main)
