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
from hebae.training.finished import Store, of_run
from hebae.training.loop import Single, fit
from hebae.training.now import told
from hebae.training.plan import read_plan, taken
from hebae.training.record import checkpoint_key, load_images, machine, write_outputs
from hebae.training.stack import train_pack_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train one run, or continue it.")
    parser.add_argument("--run", required=True, help="the run as JSON (hebae.config.run.Run)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="the run's folder")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of all checkpoints")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=10.0,
        help="least seconds between two checkpoints (default: 10)",
    )
    parser.add_argument(
        "--results", type=Path, help="folder of all results, where finished trainings are kept"
    )
    parser.add_argument("--plan", type=Path, help="plan of the workflow (hebae.training.plan)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)

    started = time.perf_counter()
    run = Run.from_json(options.run)
    device = set_up(options.device, options.threads, run.training.precision)
    if run.training.precision == "bfloat16" and not has_bfloat16(device):
        print(
            f"{run.path}: precision bfloat16 is slow here, because this {device.type} has no "
            "instructions for it; with precision auto it would be float32",
            file=sys.stderr,
            flush=True,
        )
    manifest = read_prepared(options.data)
    decides = of_run(run, manifest.checksum, machine(device))
    store = None if options.results is None else Store(options.results)
    plan = read_plan(options.plan)
    root, pause = options.checkpoints, options.checkpoint_seconds
    if store is not None and len(plan.companions(run)) > 1:
        images, _ = load_images(run, options.data, device)
        train_pack_of(run, plan, store, images, manifest, root, pause)

    checkpoints = Checkpoints(root / run.path, checkpoint_key(decides), pause)
    # held until this process ends, so that only one process at a time trains this run
    held = lock.wait_for(root / run.path / "lock", run.path)
    shape = manifest.image_shape
    there = store is not None and taken(store, plan, decides, options.output, run, shape)
    same = None
    if store is not None and not there:
        # another experiment may be training the same run
        same = lock.wait_for(store.lock(decides), run.path)
        there = taken(store, plan, decides, options.output, run, shape)
    if not there:
        images, n_train = load_images(run, options.data, device)
        options.output.mkdir(parents=True, exist_ok=True)
        single = Single(run, images["train"].shape[1:], device)
        with told(single, checkpoints) as (trainee, states):
            (outcome,) = fit(trainee, images, states, options.output / "history.csv")
        if outcome.failure is not None:
            raise UserError(outcome.failure)
        seconds = time.perf_counter() - started
        finished = write_outputs(
            options.output, outcome, manifest, n_train, device, seconds, decides
        )
        if store is None or store.keep(finished) is not None:
            checkpoints.clear()
    if same is not None:
        lock.release(same, store.folder)
    lock.release(held, root)


if __name__ == "__main__":
    command(main)
