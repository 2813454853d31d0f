"""Train several runs of a sweep together: ``python -m hebae.training.train --packs FILE``.

A dense network's step on a GPU is a hundred kernels that each take less than their launch. Here
the weights of R runs are stacked, (R, …), and one step is a step of all of them. Each run keeps
its own initial weights, batches, noise, λ, bounds and folder, so that it is its separate run but
for the order in which a matrix product adds (docs/performance.md has the tolerance).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from hebae.base import lock
from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.config.run import Run
from hebae.data.store import PreparedDataset
from hebae.models.build import build_model
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
from hebae.training import packs
from hebae.training.checkpoint import Checkpoints
from hebae.training.optimiser import Adam
from hebae.training.train import (
    ADAM_EPSILON,
    check_finite,
    checkpoint_key,
    history_rows,
    learning_rate,
    write_outputs,
)

Stacked = dict[str, dict[str, Tensor]]
"""Of ``encoder`` and ``decoder`` the parameters by name, each (R, …)."""


def stack(models: Sequence[nn.ModuleDict]) -> Stacked:
    """The parameters of R models of one architecture, stacked; the models become views of them.

    Raises:
        ValueError: for networks with buffers, which a step would have to stack too.
    """
    if any(True for _ in models[0].buffers()):
        raise ValueError("networks with buffers are not stacked")
    stacked: Stacked = {}
    for part in ("encoder", "decoder"):
        stacked[part] = {}
        for name, _ in models[0][part].named_parameters():
            own = [model[part].get_parameter(name) for model in models]
            stacked[part][name] = torch.stack([p.detach() for p in own]).requires_grad_()
            for parameter, view in zip(own, stacked[part][name].detach(), strict=True):
                parameter.data = view
    return stacked


def flat(stacked: Stacked) -> list[Tensor]:
    """All stacked parameters, in the order of ``autoencoder_parameters``."""
    return [tensor for part in stacked.values() for tensor in part.values()]


def drawn_shapes(run: Run, model: nn.ModuleDict) -> list[tuple[int, ...]]:
    """The shapes of the noise that the objective draws for a batch, in its order."""
    shapes = []

    def normal(like: Tensor) -> Tensor:
        shapes.append(tuple(like.shape))
        return torch.randn(like.shape)

    mean = torch.randn(run.training.batch_size, run.latent_dim)
    log_sigma = torch.zeros_like(mean) if run.entries.objective.stochastic else None
    with torch.no_grad():
        objective_of(run, model, check=False)(mean, log_sigma, normal)
    return shapes


def losses(
    run: Run,
    model: nn.ModuleDict,
    reconstruction: Reconstruction,
    parameters: Stacked,
    images: Tensor,
    noise: Sequence[Tensor],
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """The loss of one run's batch, and its terms (3,): error, R, KL(q(z|x) ‖ p) or 0.

    Args:
        run: one of the pack; what they differ in comes by the other arguments.
        model: its networks, of which the parameters are not used.
        reconstruction: its reconstruction term.
        parameters: the weights to use, without the stack's dimension.
        images: uint8 (n, height, width, channels).
        noise: what the objective draws, in its order.
        weight: λ, a scalar.
    """
    x = reconstruction.inputs(images)
    drawn = iter(noise)
    with autocast(run, images.device):
        posterior = functional_call(model["encoder"], parameters["encoder"], (x,))
    mean, log_sigma = in_float32(posterior)
    latent = objective_of(run, model, check=False)(mean, log_sigma, lambda _: next(drawn))
    with autocast(run, images.device):
        output = functional_call(model["decoder"], parameters["decoder"], (latent.z, x))
    error = reconstruction.error(output.float(), x).mean()
    loss = reconstruction.scale * error + weight * latent.regulariser
    with torch.no_grad():
        kl = torch.zeros_like(error)
        if log_sigma is not None:
            kl = posterior_kl(mean, log_sigma, latent.mixing).mean()
        return loss, torch.stack([error, latent.regulariser, kl]).detach()


def train_epoch(
    runs: Sequence[Run],
    model: nn.ModuleDict,
    stacked: Stacked,
    optimiser: Adam,
    images: Tensor,
    reconstruction: Reconstruction,
    epoch: int,
    bar: tqdm,
) -> list[Terms]:
    """One pass over the training images for every run: the means of its terms.

    Args:
        runs: R of them.
        model: networks of their architecture.
        stacked: their weights.
        optimiser: of those.
        images: uint8 (N, height, width, channels), on the device.
        reconstruction: their reconstruction term.
        epoch: counted from 0.
        bar: moved on by a step a step.
    """
    device = images.device
    run = runs[0]
    size = run.training.batch_size
    # runs of one seed see the same batches and noise: drawn once
    seeds = list(dict.fromkeys(run.seed for run in runs))
    of_run = torch.tensor([seeds.index(run.seed) for run in runs], device=device)
    normals = [normal_stream(derive_seed(seed, "noise", epoch), device) for seed in seeds]
    shuffles = (torch.Generator().manual_seed(derive_seed(s, "shuffle", epoch)) for s in seeds)
    order = torch.stack([torch.randperm(len(images), generator=g) for g in shuffles]).to(device)
    order = order.index_select(0, of_run)
    like = [torch.empty(shape, device=device) for shape in drawn_shapes(run, model)]
    weights = torch.tensor([float(run.weight) for run in runs], device=device)
    step = vmap(partial(losses, run, model, reconstruction))
    rate = learning_rate(epoch, run.training)

    model.train()
    sums = torch.zeros(len(runs), 3, dtype=torch.float64, device=device)
    steps = len(images) // size
    for start in range(0, steps * size, size):
        chosen = order[:, start : start + size]
        batch = images.index_select(0, chosen.reshape(-1)).unflatten(0, chosen.shape)
        # stream by stream, as each run by itself would draw
        streams = zip(*([normal(tensor) for tensor in like] for normal in normals), strict=True)
        noise = [torch.stack(stream).index_select(0, of_run) for stream in streams]
        loss, terms = step(stacked, batch, noise, weights)
        optimiser.minimise(loss.sum(), rate)
        sums += terms
        bar.update()
    stochastic = run.entries.objective.stochastic
    return [Terms(e, r, kl if stochastic else None) for e, r, kl in (sums / steps).tolist()]


def fit(
    runs: Sequence[Run], images: dict[str, Tensor], checkpoints: Checkpoints
) -> tuple[list[nn.ModuleDict], list[list[dict[str, Any]]], list[str | None]]:
    """Train runs together from their last checkpoint, or from the start, to their last epoch.

    Args:
        runs: R of them that :func:`hebae.training.packs.plan` puts together.
        images: ``train`` and ``test``, uint8 (N, height, width, channels), on the device.
        checkpoints: where to continue from and to.

    Returns:
        Of each run its networks, the rows of its history, and why it failed or None. A run that
        fails takes no other with it. Seconds are a run's share: all of them took R times that.
    """
    run, device = runs[0], images["train"].device
    shape = images["train"].shape[1:]
    if len(images["train"]) < run.training.batch_size:
        raise UserError(
            f"dataset {run.dataset}: batch_size {run.training.batch_size} is larger than its "
            f"{len(images['train'])} training images"
        )
    reconstruction = reconstruction_of(run, shape)
    models = [build_model(run, shape).to(device) for run in runs]
    stacked = stack(models)
    optimiser = Adam(flat(stacked), ADAM_EPSILON, run.training.adam_beta1)
    rows: list[list[dict[str, Any]]] = [[] for _ in runs]
    failed: list[str | None] = [None for _ in runs]
    seconds, first = 0.0, 0
    if state := checkpoints.load():
        with torch.no_grad():
            for tensor, saved in zip(flat(stacked), state["parameters"], strict=True):
                tensor.copy_(saved)
        optimiser.load_state_dict(state["optimiser"])
        rows, failed = state["rows"], state["failed"]
        seconds, first = state["seconds"], state["epoch"] + 1
        print(f"continuing {len(runs)} runs after epoch {first}", file=sys.stderr, flush=True)

    steps = len(images["train"]) // run.training.batch_size
    with tqdm(
        desc=f"{len(runs)} runs",
        total=run.training.epochs * steps,
        initial=first * steps,
        unit="step",
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    ) as bar:
        for epoch in range(first, run.training.epochs):
            started = time.perf_counter()
            train = train_epoch(
                runs, models[0], stacked, optimiser, images["train"], reconstruction, epoch, bar
            )
            tests = []
            for index, own in enumerate(runs):
                normal = normal_stream(derive_seed(own.seed, "evaluate", epoch), device)
                try:
                    check_finite(own, epoch, "train", train[index])
                    model = models[index].eval()
                    test, _ = evaluate(own, model, images["test"], reconstruction, normal)
                    check_finite(own, epoch, "test", test)
                except (UserError, SingularCovariance) as error:
                    failed[index] = failed[index] or str(error)
                    test = None
                tests.append(test)
            seconds += (time.perf_counter() - started) / len(runs)
            for index, test in enumerate(tests):
                if failed[index] is None:
                    rows[index] += history_rows(runs[index], epoch, train[index], test, seconds)
            if all(failed):
                break
            pace = len(runs) * seconds / (epoch + 1)
            if bar.disable:
                print(
                    f"epoch {epoch + 1}/{run.training.epochs}  {len(runs)} runs  {pace:.2f} s an "
                    f"epoch  {pace * (run.training.epochs - epoch - 1):.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
            checkpoints.offer(
                {
                    "parameters": [tensor.detach() for tensor in flat(stacked)],
                    "optimiser": optimiser.state_dict(),
                    "rows": rows,
                    "failed": failed,
                    "seconds": seconds,
                    "epoch": epoch,
                }
            )
    return [model.eval() for model in models], rows, failed


def train_pack_of(
    run: Run,
    images: dict[str, Tensor],
    manifest: PreparedDataset,
    device: torch.device,
    options: argparse.Namespace,
) -> None:
    """Train a run with its companions, unless that has happened, and keep what each leaves.

    What is kept is where :meth:`.checkpoint.Checkpoints.recall` finds it: for the training of each,
    which has only to put it in its place. Of a run without companions nothing is done, and nothing
    is kept of one that fails: it is trained by itself, and says why.

    Args:
        run: what the process was asked for.
        images: as :func:`fit` takes them.
        manifest: of the dataset.
        device: what to train on.
        options: ``packs``, ``checkpoints`` and ``checkpoint_seconds`` of the command.
    """
    started = time.perf_counter()
    pack = packs.companions(options.packs, run)
    names = hashlib.sha256("\n".join(own.path for own in pack).encode()).hexdigest()[:24]
    folder = options.checkpoints / "packs" / names
    keys = {own.path: checkpoint_key(own, manifest.checksum, device) for own in pack}
    kept = {
        own.path: Checkpoints(options.checkpoints / own.path, keys[own.path], 0) for own in pack
    }

    def left() -> list[Run]:
        """Those nobody has trained yet, if the run is one of them and has company."""
        waiting = [own for own in pack if not kept[own.path].finished.exists()]
        return waiting if run in waiting and len(waiting) > 1 else []

    if not left():
        return
    with contextlib.ExitStack() as held:
        # first the pack's lock, then those of its runs: nobody who has one waits for the pack's
        held.enter_context(lock.wait_for(folder / "lock", f"the pack of {run.path}"))
        if not (pack := left()):
            return  # another process trained them while this one waited
        for own in pack:
            path = options.checkpoints / own.path / "lock"
            held.enter_context(lock.wait_for(path, own.path))
        print(f"training {len(pack)} runs together:", *(own.path for own in pack), file=sys.stderr)
        key = hashlib.sha256("\n".join(keys[own.path] for own in pack).encode()).hexdigest()
        checkpoints = Checkpoints(folder, key[:24], options.checkpoint_seconds)
        models, rows, failed = fit(pack, images, checkpoints)
        for own, model, history, failure in zip(pack, models, rows, failed, strict=True):
            if failure is not None:
                print(failure, file=sys.stderr, flush=True)
                continue
            outputs = write_outputs(
                folder / "outputs",
                own,
                model,
                history,
                manifest,
                len(images["train"]),
                device,
                (time.perf_counter() - started) / len(pack),
                packed=len(pack),
            )
            kept[own.path].finish(outputs, copy=True)
        shutil.rmtree(folder, ignore_errors=True)
