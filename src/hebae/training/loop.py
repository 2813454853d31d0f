"""The one training loop, for every objective, network and dataset; for one run or a stack of them.

Calling it again resumes a training. A checkpoint at the end of an epoch has the parameters, the
optimiser and the history, and every random stream is derived from (seed, purpose, epoch). So a
resumed run equals the uninterrupted run bit for bit, on the same machine and thread count.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import torch
from torch import Tensor

from hebae.base import files
from hebae.base.errors import UserError
from hebae.base.progress import Progress
from hebae.base.seeds import derive_seed
from hebae.config.run import Run
from hebae.models.autoencoder import Autoencoder, Terms
from hebae.models.latent import SingularCovariance, normal_stream
from hebae.training.checkpoint import Checkpoints
from hebae.training.optimiser import EPSILON, Adam, learning_rate, resets, working_copy

Row = dict[str, Any]


class Trainee(Protocol):
    """R runs that are trained together: their models, and how a step moves them.

    They differ only in λ, seed and label, so everything else can be read from the first run.
    """

    runs: Sequence[Run]
    models: Sequence[Autoencoder]
    """The model of each run, which is scored and saved."""
    name: str
    """Their name in messages about progress."""

    def begin(self, images: Tensor, epoch: int) -> None:
        """Draw the order of images of an epoch, and start its streams of noise."""

    def step(self, part: slice, progress: float, rate: float) -> Tensor:
        """Train on a part of that order; return the terms of each run's batch, (R, 3)."""

    def evaluated(self, index: int) -> Autoencoder:
        """The model with which a run is scored; it has the values of the run's own model."""

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""


class Single:
    """One run by itself (:class:`Trainee`)."""

    def __init__(self, run: Run, image_shape: Sequence[int], device: torch.device) -> None:
        self.runs, self.name = [run], run.path
        self.model = Autoencoder(run, image_shape).to(device)
        self.models = [self.model]
        self.working = working_copy(self.model)
        self.optimiser = Adam(
            autoencoder_parameters(self.model),
            EPSILON,
            run.training.adam_beta1,
            autoencoder_parameters(self.working),
        )
        self.adversary = None
        if (network := self.model.adversary) is not None:
            self.adversary = Adam(network.parameters(), EPSILON, network.adam_beta1)

    def begin(self, images: Tensor, epoch: int) -> None:
        seed, device = self.runs[0].seed, images.device
        shuffle = torch.Generator().manual_seed(derive_seed(seed, "shuffle", epoch))
        self.images = images
        self.order = torch.randperm(len(images), generator=shuffle).to(device)
        self.normal = normal_stream(derive_seed(seed, "noise", epoch), device)
        if resets(epoch, self.runs[0].training):
            self.optimiser.reset()
        self.working.train()

    def step(self, part: slice, progress: float, rate: float) -> Tensor:
        batch = self.images.index_select(0, self.order[part])
        # checking a covariance would make the host wait for a GPU, so there it becomes NaN
        check = batch.device.type == "cpu"
        loss = self.working(batch, self.normal, self.runs[0].lam, progress, check)
        self.optimiser.minimise(loss.loss, rate)
        if self.adversary is not None:
            factor = self.model.adversary.rate_factor
            self.adversary.minimise(loss.adversary_loss, rate * factor)
        return loss.terms

    def evaluated(self, index: int) -> Autoencoder:
        return self.working.eval()

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.optimiser.copy_to_working()
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])


def autoencoder_parameters(model: Autoencoder) -> list[Tensor]:
    """The parameters of the encoder and the decoder; an adversary has its own optimiser."""
    return [*model.encoder.parameters(), *model.decoder.parameters()]


class Outcome(NamedTuple):
    """What became of a run."""

    run: Run
    model: Autoencoder
    rows: list[Row]
    """The rows of its history."""
    failure: str | None
    """Why it could not be trained to the end."""


def train_epoch(trainee: Trainee, images: Tensor, epoch: int, progress: Progress) -> list[Terms]:
    """One pass over the training images; returns the mean of each term over batches, for each run.

    Batches have equal size, and an epoch leaves out the images that do not fill a last batch. The
    moments of a smaller batch would have another bias, or be singular.
    """
    training = trainee.runs[0].training
    size = training.batch_size
    steps = len(images) // size
    rate = learning_rate(epoch, training)
    trainee.begin(images, epoch)
    sums = torch.zeros(len(trainee.runs), 3, dtype=torch.float64, device=images.device)
    for step in range(steps):
        done = (epoch + step / steps) / training.epochs
        sums += trainee.step(slice(step * size, (step + 1) * size), done, rate)
        progress.advance()
    stochastic = trainee.runs[0].entries.objective.stochastic
    return [Terms(e, r, kl if stochastic else None) for e, r, kl in (sums / steps).tolist()]


def check_finite(run: Run, epoch: int, split: str, terms: Terms) -> None:
    """Stop a run that diverged, with its name; a NaN never reaches the next epoch."""
    values = {"reconstruction": terms.reconstruction, "regulariser": terms.regulariser}
    for name, value in values.items():
        if not math.isfinite(value):
            singular = (
                ", or the covariance of a batch of codes was singular"
                if run.needs_covariance
                else ""
            )
            raise UserError(
                f"run {run.path} diverged in epoch {epoch + 1}: the {name} of the {split} split "
                f"is {value}; lower learning_rate, or change the weight{singular}"
            )


def is_widened(epoch: int, epochs: int) -> bool:
    """Whether the bound with a wider q is measured after an epoch, from 0, of so many.

    After epochs 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, …, and thrice in the last fifth, which says
    whether a bound has settled. So it costs a small part of the training (docs/bounds.md).
    """
    done = epoch + 1
    digits = 10 ** (len(str(done)) - 1)
    late = {math.ceil(epochs * share / 20) for share in (16, 18, 20)}
    return done in {k * digits for k in (1, 1.5, 2, 3, 5, 7)} or done in late


def history_rows(run: Run, epoch: int, train: Terms, test: Terms, seconds: float) -> list[Row]:
    """The rows of the history for an epoch, from 0; ``seconds`` counts from the first epoch."""
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


def _train_and_score(
    trainee: Trainee, images: dict[str, Tensor], epoch: int, progress: Progress
) -> list[tuple[Terms, Terms] | str]:
    """Train and score an epoch; for each run, the terms of both splits, or why it failed."""
    outcomes: list[tuple[Terms, Terms] | str] = []
    try:
        trained = train_epoch(trainee, images["train"], epoch, progress)
    except SingularCovariance as error:  # raised only for a run that is trained alone
        return [f"run {trainee.runs[0].path} stopped in epoch {epoch + 1}: {error}"]
    for index, (run, train) in enumerate(zip(trainee.runs, trained, strict=True)):
        try:
            check_finite(run, epoch, "train", train)
            device, widened = images["test"].device, None
            normal = normal_stream(derive_seed(run.seed, "evaluate", epoch), device)
            if is_widened(epoch, run.training.epochs):
                # of its own, so that the other columns do not depend on which epochs have it
                widened = normal_stream(derive_seed(run.seed, "widened", epoch), device)
            test, _ = trainee.evaluated(index).evaluate(images["test"], normal, widened)
            check_finite(run, epoch, "test", test)
            outcomes.append((train, test))
        except UserError as error:
            outcomes.append(str(error))
        except SingularCovariance as error:
            outcomes.append(f"run {run.path} stopped in epoch {epoch + 1}: {error}")
    return outcomes


def fit(
    trainee: Trainee,
    images: dict[str, Tensor],
    checkpoints: Checkpoints,
    history: Path | None = None,
) -> list[Outcome]:
    """Train from the last checkpoint, or from the start, to the last epoch.

    Args:
        trainee: what to train.
        images: ``train`` and ``test``, uint8 (N, height, width, channels), on the device.
        checkpoints: where to continue from and to.
        history: CSV of a single run, with a row for each epoch and split. It is complete after each
            epoch.

    Returns:
        The outcome of each run. A run that fails stops no other run. Seconds are the share of one
        run: all R runs took R times as long.
    """
    runs, training = trainee.runs, trainee.runs[0].training
    if len(images["train"]) < training.batch_size:
        raise UserError(
            f"dataset {runs[0].dataset}: batch_size {training.batch_size} is larger than its "
            f"{len(images['train'])} training images"
        )
    rows: list[list[Row]] = [[] for _ in runs]
    failed: list[str | None] = [None for _ in runs]
    seconds, first = 0.0, 0
    if state := checkpoints.load():
        trainee.load_state_dict(state["trainee"])
        rows, failed = state["rows"], state["failed"]
        seconds, first = state["seconds"], state["epoch"] + 1
        print(f"continuing {trainee.name} after epoch {first}", file=sys.stderr, flush=True)

    steps = len(images["train"]) // training.batch_size
    progress = Progress(
        trainee.name, training.epochs * steps, "step", first * steps, every=math.inf
    )
    with _writing(history, rows[0]) as log, progress:
        for epoch in range(first, training.epochs):
            started = time.perf_counter()
            outcomes = _train_and_score(trainee, images, epoch, progress)
            seconds += (time.perf_counter() - started) / len(runs)
            for index, outcome in enumerate(outcomes):
                if isinstance(outcome, str):
                    failed[index] = failed[index] or outcome
                elif failed[index] is None:
                    rows[index] += history_rows(runs[index], epoch, *outcome, seconds)
            if all(failed):
                break
            if log is not None:
                log.write(files.csv_text(rows[0][-2:], header=len(rows[0]) == 2))
                log.flush()
            _report(trainee, epoch, rows, len(runs) * seconds / (epoch + 1), progress)
            state = {"trainee": trainee.state_dict(), "rows": rows, "failed": failed}
            checkpoints.offer(state | {"seconds": seconds, "epoch": epoch})
    models = [model.eval() for model in trainee.models]
    return list(map(Outcome, runs, models, rows, failed))


@contextmanager
def _writing(history: Path | None, rows: list[Row]) -> Iterator[TextIO | None]:
    """Write the history as it grows, and remove it if the disk is full.

    Its rows are in the checkpoints too, and the error message needs the space.
    """
    if history is None:
        yield None
        return
    history.unlink(missing_ok=True)
    try:
        with history.open("w", encoding="utf-8") as log:
            log.write(files.csv_text(rows))
            yield log
    except OSError as error:
        if error.filename is None:
            error.filename = str(history)
            history.unlink(missing_ok=True)
        raise


def _report(
    trainee: Trainee, epoch: int, rows: list[list[Row]], pace: float, progress: Progress
) -> None:
    """Report the progress of a training; for a single run, with its current bound."""
    epochs = trainee.runs[0].training.epochs
    said = trainee.name
    if len(rows) == 1:
        test = rows[0][-1]
        name = "elbo_paper" if test["elbo_paper"] is not None else "reconstruction"
        said = f"test {name.replace('elbo_paper', 'bound')} {test[name]:.5g}"
    progress.say(
        f"epoch {epoch + 1}/{epochs}  {said}  {pace:.2f} s an epoch  "
        f"{pace * (epochs - epoch - 1):.0f} s left",
        said,
    )
