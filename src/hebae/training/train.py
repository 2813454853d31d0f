"""Train one run, or continue it: ``python -m hebae.training.train --help``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hebae.base import lock
from hebae.base.device import has_bfloat16, set_up
from hebae.base.errors import UserError, command
from hebae.config.run import Run
from hebae.data.store import read_prepared
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Single, fit
from hebae.training.record import checkpoint_key, load_images, write_outputs
from hebae.training.stack import train_pack_of


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
    key = checkpoint_key(run, manifest.checksum, device)
    folder, pause = options.checkpoints, options.checkpoint_seconds
    checkpoints = Checkpoints(folder / run.path, key, pause)
    packed = options.packs is not None and options.packs.exists()
    if packed and not checkpoints.finished.exists():
        images, _ = load_images(run, options.data, device)
        train_pack_of(run, options.packs, images, manifest, folder, pause)

    # held until this process ends: the same run is trained by one process at a time
    _held = lock.wait_for(folder / run.path / "lock", run.path)
    if checkpoints.recall(options.output):
        print(f"{run.path} was trained already: its outputs are put back", file=sys.stderr)
        return
    images, n_train = load_images(run, options.data, device)
    options.output.mkdir(parents=True, exist_ok=True)
    trainee = Single(run, images["train"].shape[1:], device)
    (outcome,) = fit(trainee, images, checkpoints, options.output / "history.csv")
    if outcome.failure is not None:
        raise UserError(outcome.failure)
    seconds = time.perf_counter() - started
    checkpoints.finish(write_outputs(options.output, outcome, manifest, n_train, device, seconds))


if __name__ == "__main__":
    command(main)
