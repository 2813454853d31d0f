"""Trains several runs of a sweep as one stack of parameters.

On a GPU, a step of a dense network is a hundred kernels, each shorter than its launch. Here the
parameters of R runs are stacked, (R, …), and one step trains all of them. Each run keeps
its own initial parameters, batches, noise, λ, bounds and folder. It matches its separately trained
counterpart up to the order in which a matrix product adds.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from hebae.base import lock
from hebae.base.seeds import derive_seed
from hebae.config.run import Run
from hebae.data.store import PreparedDataset
from hebae.models.autoencoder import Autoencoder
from hebae.models.latent import normal_stream
from hebae.training.checkpoint import Checkpoints
from hebae.training.finished import Store, key_of, of_run
from hebae.training.loop import fit
from hebae.training.now import told
from hebae.training.optimiser import EPSILON, Adam, resets
from hebae.training.plan import Plan
from hebae.training.record import checkpoint_key, machine, write_outputs


class Stack:
    """R runs as one stack (:class:`hebae.training.loop.Trainee`); their models are views of it.

    Raises:
        ValueError: for networks with buffers, which would have to be stacked too.
    """

    def __init__(self, runs: Sequence[Run], image_shape: Sequence[int], device: torch.device):
        self.runs, self.name = runs, f"{len(runs)} runs"
        self.models = [Autoencoder(run, image_shape).to(device) for run in runs]
        if any(True for _ in self.models[0].buffers()):
            raise ValueError("networks with buffers are not stacked")
        self.parameters: dict[str, Tensor] = {}
        for name, _ in self.models[0].named_parameters():
            own = [model.get_parameter(name) for model in self.models]
            self.parameters[name] = torch.stack([p.detach() for p in own]).requires_grad_()
            for parameter, view in zip(own, self.parameters[name].detach(), strict=True):
                parameter.data = view
        self.optimiser = Adam(self.parameters.values(), EPSILON, runs[0].training.adam_beta1)
        self.lams = torch.tensor([run.lam for run in runs], device=device)
        self.losses = vmap(self._loss)

    def _loss(
        self, parameters: dict[str, Tensor], images: Tensor, noise: Sequence[Tensor], lam: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of one run's batch and its terms (3,); parameters lack the stack's axis."""
        drawn = iter(noise)
        given = (images, lambda _: next(drawn), lam)
        result = functional_call(self.models[0], parameters, given, {"check": False} | self.done)
        return result.loss, result.terms

    def begin(self, images: Tensor, epoch: int) -> None:
        device = images.device
        # runs with the same seed see the same batches and noise, which are drawn once
        seeds = list(dict.fromkeys(run.seed for run in self.runs))
        self.stream = torch.tensor([seeds.index(run.seed) for run in self.runs], device=device)
        self.normals = [normal_stream(derive_seed(s, "noise", epoch), device) for s in seeds]
        shuffles = [torch.Generator().manual_seed(derive_seed(s, "shuffle", epoch)) for s in seeds]
        orders = [torch.randperm(len(images), generator=shuffle) for shuffle in shuffles]
        self.order = torch.stack(orders).to(device).index_select(0, self.stream)
        self.like = [torch.empty(shape, device=device) for shape in self._drawn_shapes()]
        self.images = images
        if resets(epoch, self.runs[0].training):
            self.optimiser.reset()
        self.models[0].train()

    def _drawn_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the noise that the objective draws for a batch, in order."""
        run, shapes = self.runs[0], []

        def normal(like: Tensor) -> Tensor:
            shapes.append(tuple(like.shape))
            return torch.randn(like.shape)

        mean = torch.randn(run.training.batch_size, run.latent_dim)
        log_sigma = torch.zeros_like(mean) if run.entries.objective.stochastic else None
        with torch.no_grad():
            self.models[0].latent(mean, log_sigma, normal, check=False)
        return shapes

    def step(self, part: slice, progress: float, rate: float) -> Tensor:
        chosen = self.order[:, part]
        batch = self.images.index_select(0, chosen.reshape(-1)).unflatten(0, chosen.shape)
        # stream by stream, as a run that is trained alone draws it
        drawn = ([normal(tensor) for tensor in self.like] for normal in self.normals)
        noise = [torch.stack(own).index_select(0, self.stream) for own in zip(*drawn, strict=True)]
        self.done = {"progress": progress}
        loss, terms = self.losses(self.parameters, batch, noise, self.lams)
        self.optimiser.minimise(loss.sum(), rate)
        return terms

    def evaluated(self, index: int) -> Autoencoder:
        return self.models[index].eval()

    def state_dict(self) -> dict[str, Any]:
        parameters = {name: tensor.detach() for name, tensor in self.parameters.items()}
        return {"parameters": parameters, "optimiser": self.optimiser.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, tensor in self.parameters.items():
            tensor.copy_(state["parameters"][name])
        self.optimiser.load_state_dict(state["optimiser"])


def train_pack_of(
    run: Run,
    plan: Plan,
    store: Store,
    images: dict[str, Tensor],
    manifest: PreparedDataset,
    checkpoints: Path,
    seconds: float,
) -> None:
    """Train a run together with its pack, unless that has been done, and put all into the store.

    The training of each run then finds its result in the store. Nothing happens for a run without a
    pack. A run that fails is not put into the store; it is then trained alone, and reports its
    error.

    Args:
        run: the run that the process was asked for.
        plan: the plan, with the packs.
        store: the finished trainings.
        images: as :func:`.loop.fit` takes them.
        manifest: the description of the prepared dataset.
        checkpoints: folder of all checkpoints.
        seconds: least number of seconds between two checkpoints of the pack.
    """
    started = time.perf_counter()
    pack, device = plan.companions(run), images["train"].device
    names = hashlib.sha256("\n".join(own.path for own in pack).encode()).hexdigest()[:24]
    folder = checkpoints / "packs" / names
    here = machine(device)
    decides = {own.path: of_run(own, manifest.checksum, here) for own in pack}

    def left() -> list[Run]:
        """The runs of the pack that are not finished, if the run is one of several."""
        waiting = [own for own in pack if store.get(key_of(decides[own.path])) is None]
        return waiting if run in waiting and len(waiting) > 1 else []

    if not left():
        return
    with contextlib.ExitStack() as held:
        # the pack's lock first, then those of its runs: no holder of those waits for the pack's
        # lock
        stream = lock.wait_for(folder / "lock", f"the pack of {run.path}")
        held.callback(lock.release, stream, checkpoints)
        if not (pack := left()):
            return  # another process trained them while this one waited
        for own in pack:
            stream = lock.wait_for(checkpoints / own.path / "lock", own.path)
            held.callback(lock.release, stream, checkpoints)
        print(f"training {len(pack)} runs together:", *(own.path for own in pack), file=sys.stderr)
        keys = [checkpoint_key(decides[own.path]) for own in pack]
        key = hashlib.sha256("\n".join(keys).encode()).hexdigest()
        stack = Stack(pack, images["train"].shape[1:], device)
        with told(stack, Checkpoints(folder, key[:24], seconds)) as (trainee, states):
            outcomes = fit(trainee, images, states)
        for outcome in outcomes:
            if outcome.failure is not None:
                print(outcome.failure, file=sys.stderr, flush=True)
                continue
            n_train, share = len(images["train"]), (time.perf_counter() - started) / len(pack)
            finished = write_outputs(
                folder / "outputs", outcome, manifest, n_train, device, share,
                decides[outcome.run.path], packed=len(pack),
            )  # fmt: skip
            store.keep(finished, copy=True)
        shutil.rmtree(folder, ignore_errors=True)
