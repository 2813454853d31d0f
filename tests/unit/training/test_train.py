"""Training: the same run is the same bytes, however often it is killed."""

import copy
import csv
import dataclasses
import io
import json
import math
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.runs import RUN, changed, silent
from tests.runs import trained as fit
from torch.distributions import MultivariateNormal, kl_divergence

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.config.registry import DIVERGENCES, ObjectiveEntry
from hebae.config.registry import OBJECTIVES as OBJECTIVE_ENTRIES
from hebae.config.run import Run, read_run
from hebae.data import digits, toyfaces
from hebae.data.prepare import write_prepared
from hebae.models import reconstruction
from hebae.models.autoencoder import Autoencoder, Terms, load
from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.divergences.mmd import mmd_squared
from hebae.models.latent import normal_stream
from hebae.models.objectives import hebae as hebae_module
from hebae.models.objectives.vae import vae
from hebae.training import finished, loop, record, train
from hebae.training.checkpoint import Checkpoints
from hebae.training.finished import Store, of_run
from hebae.training.loop import Single, is_widened, train_epoch
from hebae.training.optimiser import Adam, learning_rate, resets
from hebae.training.stack import Stack

OBJECTIVES = {
    "vae": {"objective": "vae", "model": "VAE"},
    "hebae": {},
    "wae_mmd": {"objective": "wae_mmd", "model": "WAE", "lam": 10.0},
    "adversarial": {
        "objective": "infovae",
        "model": "InfoVAE",
        "parameters": {
            "alpha": 0.5,
            "divergence": {"name": "adversarial", "widths": [16], "rate_factor": 0.25},
        },
    },
}


LONG = changed(epochs=60)
"""Long enough to be killed in its middle, also on a busy machine."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    arrays = digits.load(Path())
    return {
        "train": torch.from_numpy(arrays.train_images),
        "test": torch.from_numpy(arrays.test_images),
    }


def command(run: Run, data: Path, folder: Path, every: float = 0) -> list[str]:
    return [
        sys.executable, "-m", "hebae.training.train", "--run", run.to_json(), "--data", str(data),
        "--output", str(folder / "run"), "--checkpoints", str(folder / "checkpoints"),
        "--results", str(folder), "--checkpoint-seconds", str(every), "--device", "cpu",
    ]  # fmt: skip


def rows(history: Path) -> list[dict]:
    """None before the first epoch, or while a training that continues writes its history anew."""
    try:
        return list(csv.DictReader(history.read_text().splitlines()))
    except FileNotFoundError:
        return []


def without_time(table: list[dict]) -> list[dict]:
    return [{key: row[key] for key in row if key != "seconds"} for row in table]


@pytest.mark.parametrize("objective", ["hebae", "adversarial"])
def test_a_killed_run_is_the_unkilled_run(objective, data, tmp_path):
    """SIGKILL twice in mid-training; weights and history come out bit for bit the same."""
    run = changed(**OBJECTIVES[objective], epochs=60)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(run, data, whole), check=True, capture_output=True)

    history = killed / "run/history.csv"
    reached = 0
    for after in (5, 9):
        process = subprocess.Popen(command(run, data, killed), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        while len(rows(history)) < reached + 2 * after:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (killed / "run/run.json").exists()
        # the last epoch in the history may be one that no checkpoint has
        reached = len(rows(history))
        assert 0 < reached < 2 * 60

    done = subprocess.run(command(run, data, killed), check=True, capture_output=True, text=True)
    assert "continuing digits/" in done.stderr
    weights = [(folder / "run/weights.pt").read_bytes() for folder in (killed, whole)]
    assert weights[0] == weights[1]
    assert without_time(rows(history)) == without_time(rows(whole / "run/history.csv"))
    assert not (killed / "checkpoints").exists()


@pytest.mark.parametrize("batch_norm", ["trained", "frozen"])
def test_a_stopped_convolutional_run_is_the_whole_one(batch_norm, tmp_path, monkeypatch):
    """Running averages of batch normalisation are in the checkpoint too."""
    drawn, _ = toyfaces.generate(60, np.random.default_rng(0))
    images = {"train": torch.from_numpy(drawn[:40]), "test": torch.from_numpy(drawn[40:])}
    run = changed(
        network="convolutional",
        network_parameters={"width": 1 / 64, "batch_norm": batch_norm},
        reconstruction="squared_error",
        batch_size=10,
        epochs=4,
    )
    weights = []
    for folder, stops in ((tmp_path / "whole", ()), (tmp_path / "stopped", (1, 2))):
        folder.mkdir()
        for stop in (*stops, None):
            checkpoints = Checkpoints(folder / "c", "key", every=0)
            if stop is not None:
                offer = checkpoints.offer

                def once(state, offer=offer, stop=stop):
                    offer(state)
                    if state["epoch"] == stop:
                        raise KeyboardInterrupt

                checkpoints.offer = once
                with pytest.raises(KeyboardInterrupt):
                    fit(run, images, folder, checkpoints)
            else:
                outcome = fit(run, images, folder, checkpoints)
        weights.append(outcome.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    histories = [rows(tmp_path / name / "history.csv") for name in ("whole", "stopped")]
    assert without_time(histories[0]) == without_time(histories[1]) and len(histories[0]) == 8


def kill_after_checkpoints(run: Run, data: Path, folder: Path) -> list[Path]:
    """Kill a training that has written two checkpoints; these, the newest first."""
    process = subprocess.Popen(command(run, data, folder), stderr=subprocess.DEVNULL)
    # both: between two renames the newest is away
    while len(list(folder.glob("checkpoints/**/[!.]*.pt"))) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    return sorted(folder.glob("checkpoints/**/[!.]*.pt"), key=lambda path: len(path.name))


@pytest.mark.parametrize("cut", [True, False], ids=["truncated", "a flipped bit"])
def test_after_a_damaged_checkpoint_comes_the_one_before(cut, data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(LONG, data, whole), check=True, capture_output=True)
    newest, before = kill_after_checkpoints(LONG, data, broken)
    epoch = torch.load(io.BytesIO(before.read_bytes()[32:]), weights_only=True)["epoch"]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content[:-100] if cut else content)
    done = subprocess.run(command(LONG, data, broken), check=True, capture_output=True, text=True)
    assert done.stderr.count("damaged checkpoint") == 1
    assert f"continuing {LONG.path} after epoch {epoch + 1}\n" in done.stderr
    weights = [(folder / "run/weights.pt").read_bytes() for folder in (whole, broken)]
    assert weights[0] == weights[1]


def test_without_a_whole_checkpoint_it_starts_over(data, tmp_path):
    for path in kill_after_checkpoints(LONG, data, tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    done = subprocess.run(command(LONG, data, tmp_path), check=True, capture_output=True, text=True)
    assert done.stderr.count("damaged checkpoint") == 2 and "continuing" not in done.stderr


def test_killed_between_two_renames_it_has_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "key", every=0)
    for epoch in (1, 2):
        checkpoints.offer({"epoch": epoch})
    replace = Path.replace

    def killed(path, target):
        if target == checkpoints.path:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.offer({"epoch": 3})
    assert Checkpoints(tmp_path, "key", every=0).load() == {"epoch": 2}


def test_no_space_for_a_checkpoint(tmp_path, monkeypatch):
    """The last but one is deleted to make room for a new one; the last never is."""
    checkpoints = Checkpoints(tmp_path, "key", every=0)
    for epoch in (1, 2):
        checkpoints.offer({"epoch": epoch})
    write = Checkpoints._write

    def full(self, content):
        if self.previous.exists():
            raise OSError(28, "No space left on device")
        write(self, content)

    monkeypatch.setattr(Checkpoints, "_write", full)
    checkpoints.offer({"epoch": 3})
    assert checkpoints.load() == {"epoch": 3}

    def quite_full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "_write", quite_full)
    with pytest.raises(
        UserError, match=r"no space for a checkpoint of .* MB in .*the last one is kept"
    ):
        checkpoints.offer({"epoch": 4})
    assert checkpoints.load() == {"epoch": 3}


def test_no_space_for_a_name(tmp_path, monkeypatch):
    """The rename of the new checkpoint fails; the last one stays, kept as the one before."""
    checkpoints = Checkpoints(tmp_path, "key", every=0)
    for epoch in (1, 2):
        checkpoints.offer({"epoch": epoch})
    replace = Path.replace

    def full(path, target):
        if path.name.endswith(".part"):
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="no space for a checkpoint"):
        checkpoints.offer({"epoch": 3})
    assert checkpoints.load() == {"epoch": 2}


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    """Writing takes 2 s here, an epoch 5: then one is written each 200 s, not each 10."""
    now = 0.0
    written = []
    monkeypatch.setattr("hebae.training.checkpoint.time.monotonic", lambda: now)

    def write(self, content):
        nonlocal now
        now += 2
        written.append(now)

    monkeypatch.setattr(Checkpoints, "_write", write)
    checkpoints = Checkpoints(tmp_path, "key", every=10)
    while now < 10_000:
        now += 5
        checkpoints.offer({})
    assert 2 * len(written) <= 0.01 * now
    assert len(written) > 40
    # where it is quick, the least number of seconds is what counts
    written.clear()
    start = now
    monkeypatch.setattr(Checkpoints, "_write", lambda *_: written.append(now))
    while now < start + 1_000:
        now += 5
        checkpoints.offer({})
    assert 80 <= len(written) <= 100


def test_outputs_lost_after_the_training_ended_are_had_again_at_once(data, tmp_path):
    """Snakemake, killed before it has noted that a job ended, deletes its outputs."""
    run = changed(epochs=2)
    subprocess.run(command(run, data, tmp_path), check=True, capture_output=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert set(before) == {"weights.pt", "history.csv", "run.json"}
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    done = subprocess.run(command(run, data, tmp_path), check=True, capture_output=True, text=True)
    assert f"{run.path} was trained already" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before

    # damaged in place, so that both names have it: trained again
    path = tmp_path / "run/weights.pt"
    path.write_bytes(b"damaged")
    done = subprocess.run(command(run, data, tmp_path), check=True, capture_output=True, text=True)
    assert "dropping a damaged training" in done.stderr
    assert "epoch 2/2" in done.stderr and path.read_bytes() == before["weights.pt"]


def test_the_last_checkpoint_is_kept_where_the_training_cannot_be(data, tmp_path, monkeypatch):
    run = changed(epochs=2)
    monkeypatch.setattr(Store, "keep", lambda *_: None)
    train.main(command(run, data, tmp_path)[3:])
    assert (tmp_path / "run/run.json").exists()
    assert list((tmp_path / "checkpoints").rglob("*.pt"))


def test_outputs_deleted_under_a_training_are_whole_at_its_end(data, tmp_path):
    """The next Snakemake deletes them while a training, whose own Snakemake was killed, goes on."""
    process = subprocess.Popen(command(LONG, data, tmp_path), stderr=subprocess.DEVNULL)
    history = tmp_path / "run/history.csv"
    while not history.exists() or len(rows(history)) < 4:
        assert process.poll() is None
        time.sleep(0.002)
    history.unlink()
    assert process.wait() == 0
    assert len(rows(history)) == 2 * LONG.training.epochs
    (kept,) = tmp_path.glob(".trained/*/history.csv")
    assert kept.read_bytes() == history.read_bytes()


def test_the_same_run_is_trained_by_one_process_at_a_time(data, tmp_path):
    """An earlier Snakemake was killed but its training goes on; a second one waits for it."""
    first = subprocess.Popen(command(LONG, data, tmp_path), stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("checkpoints/**/[!.]*.pt")):
        assert first.poll() is None
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.Popen(command(LONG, data, tmp_path), stderr=subprocess.PIPE, text=True)
    waiting = second.stderr.readline()
    assert waiting.startswith(f"{LONG.path} is already being made by process {first.pid} on")
    first.send_signal(signal.SIGCONT)
    said = second.communicate()[1]
    assert (first.wait(), second.returncode) == (0, 0)
    assert f"{LONG.path} was trained already" in said and "epoch" not in said


def test_two_experiments_do_not_train_the_same_run_at_once(data, tmp_path):
    """They share a store; the second waits, and takes the result of the first."""
    one, two = (command(LONG, data, tmp_path / name) for name in ("one", "two"))
    for arguments in (one, two):
        arguments[arguments.index("--results") + 1] = str(tmp_path)
    first = subprocess.Popen(one, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("one/checkpoints/**/[!.]*.pt")):
        assert first.poll() is None
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.Popen(two, stderr=subprocess.PIPE, text=True)
    waiting = second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    said = second.communicate()[1]
    assert (first.wait(), second.returncode) == (0, 0)
    assert waiting.startswith(f"{LONG.path} is already being made by process {first.pid} on")
    assert f"{LONG.path} was trained already" in said and "epoch" not in said
    assert [path.name for path in tmp_path.glob(".trained/.*")] == []


def test_another_run_takes_no_foreign_checkpoint(data, tmp_path):
    process = subprocess.Popen(command(LONG, data, tmp_path), stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("checkpoints/**/[!.]*.pt")):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    other = changed(lam=2.0, epochs=1)
    done = subprocess.run(
        command(other, data, tmp_path), check=True, capture_output=True, text=True
    )
    assert "continuing" not in done.stderr


def test_record_and_weights_of_a_finished_run(data, tmp_path):
    run = changed(epochs=2)
    done = subprocess.run(command(run, data, tmp_path), check=True, capture_output=True, text=True)
    # plain lines in a log: no carriage returns, an epoch a line
    assert "\r" not in done.stderr
    assert sum("test bound" in line for line in done.stderr.splitlines()) == 2

    back, record = read_run(tmp_path / "run/run.json")
    assert back == run
    history = rows(tmp_path / "run/history.csv")
    assert [(row["epoch"], row["split"]) for row in history] == [
        ("1", "train"), ("1", "test"), ("2", "train"), ("2", "test"),
    ]  # fmt: skip
    assert record["final"]["elbo_paper"] == float(history[-1]["elbo_paper"])
    assert record["dataset_checksum"] == json.loads((data / "dataset.json").read_text())["checksum"]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["parameters"] == (64 * 64 + 64) + (64 * 32 + 32) + (32 * 8 + 8) + (
        4 * 32 + 32
    ) + (32 * 32 + 32) + (32 * 64 + 64)
    assert 50e6 < record["peak_memory_bytes"] < 4e9
    model = load(run, (8, 8, 1), tmp_path / "run/weights.pt")
    assert sum(p.numel() for p in model.parameters()) == record["parameters"]


def test_a_bar_with_the_bound_on_a_terminal(data, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 120))
    process = subprocess.Popen(command(RUN, data, tmp_path), stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side has closed
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    os.close(ours)
    assert b"\r" in shown and b"step" in shown and b"test bound -" in shown


@pytest.mark.parametrize(
    "fields",
    [
        {"objective": "vae", "model": "VAE", "learning_rate": 1e30},
        {"objective": "wae_mmd", "model": "WAE", "learning_rate": 1e30},
        {"learning_rate": 1e30},
    ],
)
def test_a_diverged_run_names_itself_and_its_epoch(fields, data, tmp_path):
    run = changed(**fields)
    done = subprocess.run(command(run, data, tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("error: run ") and run.path in message and "epoch 1" in message
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run/weights.pt").exists()


def test_a_batch_without_covariance_names_the_run(images, tmp_path):
    blank = {split: torch.zeros_like(array) for split, array in images.items()}
    outcome = fit(RUN, blank, tmp_path)
    assert outcome.failure.startswith("run digits/HEBAE/z4/w1/s3 stopped in epoch 1: ")
    assert "singular" in outcome.failure and outcome.rows == []


def test_a_dataset_smaller_than_a_batch(images, tmp_path):
    with pytest.raises(UserError, match="batch_size 128 is larger than its 100 training images"):
        fit(RUN, {**images, "train": images["train"][:100]}, tmp_path)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_improves_what_it_trains(objective, images, tmp_path):
    run = changed(**OBJECTIVES[objective], epochs=15)
    table = fit(run, images, tmp_path).rows
    test = [row for row in table if row["split"] == "test"]
    lam = run.lam
    losses = [row["reconstruction"] + lam * row["regulariser"] for row in test]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_is_what_plain_torch_computes(objective, images, tmp_path):
    """Two epochs by hand: the loss with its weight, the streams of seed and epoch, Adam's ε."""
    run = changed(**OBJECTIVES[objective], epochs=2)
    run = dataclasses.replace(run, lam=3.0)
    few = {"train": images["train"][:300], "test": images["test"]}
    _, trained, table, _ = fit(run, few, tmp_path)

    model = Autoencoder(run, (8, 8, 1))
    networks = [*model.encoder.parameters(), *model.decoder.parameters()]
    adam = torch.optim.Adam(networks, lr=1e-3, eps=1e-7)
    critic = model.adversary if objective == "adversarial" else torch.nn.Linear(1, 1)
    its_adam = torch.optim.Adam(critic.parameters(), lr=1e-3, eps=1e-7, betas=(0.5, 0.999))
    for epoch in range(2):
        adam.param_groups[0]["lr"] = 1e-3 * 0.995**epoch
        its_adam.param_groups[0]["lr"] = 0.25e-3 * 0.995**epoch
        shuffle = torch.Generator().manual_seed(derive_seed(3, "shuffle", epoch))
        noise = torch.Generator().manual_seed(derive_seed(3, "noise", epoch))
        order = torch.randperm(300, generator=shuffle)
        terms = []
        for part in (order[:128], order[128:256]):
            x = few["train"][part].float() / 255
            mean, log_sigma = model.encoder(x)
            epsilon = torch.randn(128, 4, generator=noise)
            mixing = None
            if objective == "wae_mmd":
                z = mean
                scales = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # with σ_p² = 1, as released
                regulariser = mmd_squared(z, epsilon, [2 * 4 * scale for scale in scales])
            else:
                if objective == "hebae":
                    mixing = torch.linalg.cholesky(torch.cov(mean.T, correction=0))
                    aggregate = MultivariateNormal(mean.mean(0), scale_tril=mixing)
                else:
                    aggregate = None
                scale = mixing if mixing is not None else torch.eye(4)
                posterior = MultivariateNormal(mean, scale_tril=log_sigma.exp()[..., None] * scale)
                z = mean + log_sigma.exp() * (epsilon @ scale.T)
                prior = MultivariateNormal(torch.zeros(4), torch.eye(4))
                posterior_divergence = kl_divergence(posterior, prior).mean()
                regulariser = kl_divergence(aggregate, prior) if aggregate else posterior_divergence
            penalty = 3 * regulariser
            if objective == "adversarial":
                real = critic(torch.randn(128, 4, generator=noise))
                targets = torch.cat([torch.ones(128), torch.zeros(128)])
                entropy = torch.nn.functional.binary_cross_entropy_with_logits
                # α = .5, λ = 3; JS ≥ log 2 − entropy, and codes follow E[−log D]
                fooled = entropy(critic(z), torch.ones(128))
                penalty = 0.5 * regulariser + 2.5 * fooled
                its_loss = 2 * entropy(torch.cat([real, critic(z.detach())]), targets)
                js = math.log(2) - its_loss.item() / 2
                regulariser = (0.5 * regulariser + 2.5 * js) / 3
            output = model.decoder(z)
            nats = torch.nn.functional.binary_cross_entropy_with_logits(
                output, x, reduction="sum"
            ) / len(x)
            adam.zero_grad()
            (nats + penalty).backward()
            adam.step()
            if objective == "adversarial":
                its_adam.zero_grad()
                its_loss.backward()
                its_adam.step()
            per_sample = None if objective == "wae_mmd" else nats + posterior_divergence
            terms.append((nats.item(), regulariser.item(), per_sample and -per_sample.item()))
        row = table[2 * epoch]
        assert row["split"] == "train"
        assert row["reconstruction"] == pytest.approx(sum(t[0] for t in terms) / 2, rel=1e-5)
        assert row["regulariser"] == pytest.approx(sum(t[1] for t in terms) / 2, rel=1e-3)
        if objective != "wae_mmd":
            assert row["elbo"] == pytest.approx(sum(t[2] for t in terms) / 2, rel=1e-5)
    for ours, theirs in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)


def test_each_split_goes_where_it_belongs(data, tmp_path, monkeypatch):
    given = {}

    def spy(run, images, history, checkpoints):
        given.update({split: len(tensor) for split, tensor in images.items()})
        raise UserError("enough")

    monkeypatch.setattr(train, "fit", spy)
    with pytest.raises(UserError, match="enough"):
        train.main(command(RUN, data, tmp_path)[3:])
    assert given == {"train": 1297, "test": 500}


def checkpoint_key(run: Run, checksum: str = "checksum", device: str = "cpu") -> str:
    machine = record.machine(torch.device("cpu"))._replace(device=device)
    return record.checkpoint_key(of_run(run, checksum, machine))


def test_whatever_decides_a_training_is_in_the_checkpoints_key(monkeypatch):
    keys = {checkpoint_key(RUN)}
    keys.add(checkpoint_key(changed(lam=2.0)))
    keys.add(checkpoint_key(RUN, checksum="other data"))
    keys.add(checkpoint_key(RUN, device="cuda"))
    assert checkpoint_key(RUN) in keys
    with monkeypatch.context() as patch:
        patch.setattr(finished.sources, "digests", lambda modules: {"loop.py": "other code"})
        keys.add(checkpoint_key(RUN))
    with monkeypatch.context() as patch:
        entry = dataclasses.replace(OBJECTIVE_ENTRIES["hebae"], bound=False)
        patch.setitem(OBJECTIVE_ENTRIES, "hebae", entry)
        keys.add(checkpoint_key(RUN))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        keys.add(checkpoint_key(RUN))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.0+of another build")
        keys.add(checkpoint_key(RUN))
    assert len(keys) == 8


def test_so_are_the_divergence_its_adversary_and_the_subset(monkeypatch):
    run = changed(**OBJECTIVES["adversarial"])
    assert run.modules[-1] == "hebae.models.divergences.adversarial"
    keys = {checkpoint_key(run)}
    keys.add(checkpoint_key(dataclasses.replace(run, n_train=100)))
    for field in ("function", "adversary"):
        with monkeypatch.context() as patch:
            entry = dataclasses.replace(
                DIVERGENCES["adversarial"], **{field: "hebae.base.npz:read"}
            )
            patch.setitem(DIVERGENCES, "adversarial", entry)
            assert "hebae.base.npz" in run.modules
            keys.add(checkpoint_key(run))
    given = []
    monkeypatch.setattr(finished.sources, "digests", lambda modules: given.append(modules) or {})
    checkpoint_key(run)
    assert given == [["hebae.training.loop", "hebae.training.record", *run.modules]]
    assert len(keys) == 4


def test_a_checkpoint_of_another_key_is_neither_taken_nor_lost(tmp_path):
    old = Checkpoints(tmp_path / "run", "old", every=0)
    old.offer({"epoch": 3})
    new = Checkpoints(tmp_path / "run", "new", every=0)
    assert new.load() is None and old.load() == {"epoch": 3}
    new.clear()  # now no config of this run's name will want it
    assert old.load() is None


def test_streams_differ_by_seed_purpose_and_epoch():
    seeds = {
        derive_seed(seed, purpose, epoch)
        for seed in range(20)
        for purpose in ("noise", "shuffle")
        for epoch in range(20)
    }
    assert len(seeds) == 800
    assert max(seeds) < 2**63


def test_seeds_give_other_weights_and_the_same_seed_the_same():
    weights = [
        Autoencoder(dataclasses.replace(RUN, seed=seed), (8, 8, 1)).encoder.layers[1].weight
        for seed in (1, 1, 2)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_batches_are_every_image_once_in_another_order():
    seen = []

    class Seeing(Single):
        def step(self, part, progress, rate):
            seen.append(self.order[part].tolist())
            return super().step(part, progress, rate)

    few = torch.zeros(10, 8, 8, 1, dtype=torch.uint8)
    run = changed(objective="vae", batch_size=3, epochs=2)
    single = Seeing(run, (8, 8, 1), torch.device("cpu"))
    for epoch in range(2):
        train_epoch(single, few, epoch, silent())
    first, second = (list(chain.from_iterable(part)) for part in (seen[:3], seen[3:]))
    assert len(seen) == 6 and len(first) == len(set(first)) == 9  # the tenth waits
    assert first != second


def test_learning_rate_is_the_papers():
    """App. B.1: 0.001, decaying at a rate of 0.995 with every epoch."""
    training = changed(learning_rate=1e-3, learning_rate_decay=0.995).training
    assert learning_rate(0, training) == 1e-3
    assert learning_rate(99, training) == pytest.approx(1e-3 * 0.995**99)
    steps = dict(learning_rate_decay=1.0, learning_rate_steps=((30, 2), (50, 5), (70, 10)))
    training = changed(learning_rate=1e-4, **steps).training
    rates = [learning_rate(epoch, training) for epoch in (0, 29, 30, 49, 50, 69, 70, 99)]
    assert rates == pytest.approx([1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5, 1e-6, 1e-6])


def test_the_schedule_reaches_the_optimiser(images, tmp_path, monkeypatch):
    used = []
    minimise = Adam.minimise

    def spy(self, loss, rate):
        used.append((rate, self.beta1))
        minimise(self, loss, rate)

    monkeypatch.setattr(Adam, "minimise", spy)
    fit(changed(epochs=3, learning_rate_steps=((2, 4),), adam_beta1=0.5), images, tmp_path)
    rates = [1e-3, 1e-3 * 0.995, 1e-3 * 0.995**2 / 4]
    steps = len(images["train"]) // 128
    assert used == [(rate, 0.5) for rate in rates for _ in range(steps)]


STEPS = ((2, 2.0), (5, 4.0))


@pytest.mark.parametrize(
    ("reset", "epochs"),
    [("never", []), ("epoch", [0, 1, 2, 3, 4, 5, 6]), ("step", [2, 5])],
)
def test_adam_starts_anew_as_often_as_a_config_says(reset, epochs):
    training = changed(reset_optimiser=reset, learning_rate_steps=STEPS).training
    assert [epoch for epoch in range(7) if resets(epoch, training)] == epochs


@pytest.mark.parametrize("trainee", ["single", "stack"])
def test_a_reset_adam_is_a_new_adam(trainee, images):
    """An epoch after a reset is the epoch of a new optimiser, at the same weights."""
    few = images["train"][: 3 * 128]

    def made(reset):
        run = changed(reset_optimiser=reset)
        if trainee == "single":
            return Single(run, few.shape[1:], few.device)
        return Stack([run, dataclasses.replace(run, seed=4)], few.shape[1:], few.device)

    once, never = made("epoch"), made("never")
    for own in (once, never):
        train_epoch(own, few, 0, silent())
    assert _state(once) == _state(never)
    new = made("never")
    new.load_state_dict({**never.state_dict(), "optimiser": new.optimiser.state_dict()})
    for own in (once, never, new):
        train_epoch(own, few, 1, silent())
    assert _state(once) == _state(new) != _state(never)


def _state(trainee) -> list[bytes]:
    return [
        tensor.detach().numpy().tobytes()
        for model in trainee.models
        for tensor in model.state_dict().values()
    ]


def test_keys_that_came_later_are_no_part_of_a_description_at_their_default():
    """So a training that was finished before them keeps its key."""
    assert "reset_optimiser" not in json.loads(RUN.to_json())["training"]
    run = changed(reset_optimiser="step")
    assert json.loads(run.to_json())["training"]["reset_optimiser"] == "step"
    assert Run.from_json(run.to_json()) == run and Run.from_json(RUN.to_json()) == RUN
    record = {"run": json.loads(RUN.to_json())}
    assert Run.from_record(record) == RUN


@pytest.mark.parametrize("beta1", [0.9, 0.5])
def test_adam_is_torchs_adam_also_after_a_restart(beta1):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(5, 3, generator=generator), torch.randn(3, generator=generator)]
    ours = [tensor.clone().requires_grad_() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    optimiser = Adam(ours, 1e-7, beta1)
    reference = torch.optim.Adam(theirs, betas=(beta1, 0.999), eps=1e-7)
    for k in range(20):
        rate = 1e-2 * 0.9**k
        x = torch.randn(7, 5, generator=torch.Generator().manual_seed(k))
        mine, other = ((x @ w + b).square().sum() for w, b in (ours, theirs))
        for group in reference.param_groups:
            group["lr"] = rate
        reference.zero_grad()
        other.backward()
        reference.step()
        optimiser.minimise(mine, rate)
        assert all(parameter.grad is None for parameter in ours)
        if k == 10:
            state = copy.deepcopy(optimiser.state_dict())
            optimiser = Adam(ours, 1e-7, beta1)
            optimiser.load_state_dict(state)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_parameters_move_one_after_another_as_they_move_together():
    """As on a CPU and as on a GPU, bit for bit, with working copies in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(9, 5, generator=generator), torch.randn(5, generator=generator)]
    moved = []
    for together in (False, True):
        kept = [tensor.clone().requires_grad_() for tensor in start]
        working = [tensor.to(torch.bfloat16).requires_grad_() for tensor in start]
        optimiser = Adam(kept, 1e-7, working=working)
        assert len(optimiser.groups) == 2
        if together:
            optimiser.groups = [slice(0, 2)]
        for k in range(5):
            x = torch.randn(7, 9, generator=torch.Generator().manual_seed(k)).bfloat16()
            optimiser.minimise((x @ working[0] + working[1]).float().square().sum(), 0.01)
        assert all(map(torch.equal, working, [tensor.bfloat16() for tensor in kept]))
        moved.append(kept)
    assert all(map(torch.equal, *moved)) and not torch.equal(moved[0][1], start[1])


def test_a_working_copy_follows_the_parameters_that_are_kept_in_float32():
    """Against the parameters alone, moved by the copy's gradient."""
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    kept, alone = start.clone().requires_grad_(), start.clone().requires_grad_()
    working = start.to(torch.bfloat16).requires_grad_()
    optimiser, plain = Adam([kept], 1e-7, working=[working]), Adam([alone], 1e-7)
    for k in range(5):
        slope = 2 * (working.detach().float() - k)
        optimiser.minimise((working.float() - k).square().sum(), 0.1)
        plain.minimise((alone * slope.to(torch.bfloat16).float()).sum(), 0.1)
        assert working.grad is None
        assert torch.equal(working, kept.to(torch.bfloat16))
    assert torch.equal(kept, alone) and not torch.equal(kept, start)


def test_a_backward_pass_of_anothers_moves_nothing():
    parameter = torch.ones(3, requires_grad=True)
    optimiser = Adam([parameter], 1e-7)
    (2 * parameter).sum().backward()
    assert parameter.tolist() == [1, 1, 1] and parameter.grad.tolist() == [2, 2, 2]
    parameter.grad = None
    with pytest.raises(RuntimeError):
        optimiser.minimise(torch.zeros(()), 0.1)  # does not depend on it
    parameter.sum().backward()
    assert parameter.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        OBJECTIVES["adversarial"],
        dict(network="convolutional", network_parameters={"width": 1 / 64}),
        dict(
            network="pixelcnn",
            network_parameters=dict(encoder_widths=[32], decoder_widths=[32], channels=4, layers=2),
            reconstruction="binary",
        ),
    ],
    ids=["dense", "adversary", "convolutional", "autoregressive"],
)
def test_weights_rounded_once_a_step_are_autocasts(fields, monkeypatch):
    """What training gives is bit for bit what autocast gives that rounds in every pass."""
    run = changed(**fields, precision="bfloat16", batch_size=16)
    shape = (16, 16, 1)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (64, *shape), generator=generator, dtype=torch.uint8)
    results = []
    for copied in (True, False):
        with monkeypatch.context() as patch:
            if not copied:
                patch.setattr(loop, "working_copy", lambda model: model)
            single = Single(run, shape, torch.device("cpu"))
        dtypes = {p.dtype for p in single.working.encoder.parameters()}
        assert (torch.bfloat16 in dtypes) == copied
        for epoch in range(2):
            terms = train_epoch(single, images, epoch, silent())
        results.append((terms, single.model.state_dict()))
    (terms, weights), (their_terms, their_weights) = results
    assert terms == their_terms
    assert weights.keys() == their_weights.keys()
    for name, tensor in weights.items():
        assert tensor.dtype == their_weights[name].dtype
        assert torch.equal(tensor, their_weights[name]), name


def test_training_does_not_import_the_compiler(tmp_path):
    """It would cost every process of a sweep most of a second."""
    code = "import sys; from hebae.training import train; train.main(sys.argv[1:])"
    code += "; sys.exit('torch._dynamo' in sys.modules)"
    write_prepared("digits", digits.load(Path()), tmp_path / "data")
    arguments = command(changed(epochs=1), tmp_path / "data", tmp_path)[3:]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_bfloat16_leaves_moments_and_losses_in_float32(images, tmp_path, monkeypatch):
    seen = set()
    factor = hebae_module.covariance_factor
    error = reconstruction._cross_entropy

    def spy_factor(codes, **options):
        seen.add(("moments", codes.dtype))
        return factor(codes, **options)

    def spy_error(output, target):
        seen.add(("loss", output.dtype))
        return error(output, target)

    monkeypatch.setattr(hebae_module, "covariance_factor", spy_factor)
    monkeypatch.setattr(reconstruction, "_cross_entropy", spy_error)
    layers = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, output: (
            layers.add(output.dtype) if isinstance(module, torch.nn.Linear) else None
        )
    )
    try:
        low = fit(changed(precision="bfloat16", epochs=10), images, tmp_path / "low")
    finally:
        hook.remove()
    assert layers == {torch.bfloat16}
    assert seen == {("moments", torch.float32), ("loss", torch.float32)}
    full = fit(changed(epochs=10), images, tmp_path / "full")
    assert low.rows[-1]["elbo_paper"] == pytest.approx(full.rows[-1]["elbo_paper"], abs=0.5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_splits_score_does_not_depend_on_how_it_is_chunked(objective, images, monkeypatch):
    run = changed(**OBJECTIVES[objective])
    model = Autoencoder(run, (8, 8, 1)).eval()
    scores = []
    for chunk in (500, 64):
        monkeypatch.setattr(Autoencoder, "chunk", chunk)
        normal = normal_stream(7, torch.device("cpu"))
        terms, _ = model.evaluate(images["test"], normal)
        scores.append((terms.reconstruction, terms.regulariser, terms.posterior_kl or 0.0))
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_both_bounds_are_what_they_say(images):
    """elbo_paper = −(rec + aggregate KL), elbo = −(rec + mean per-sample KL), moments of all."""
    model = Autoencoder(RUN, (8, 8, 1)).eval()
    normal = normal_stream(7, torch.device("cpu"))
    terms, latent = model.evaluate(images["test"], normal)
    mean, log_sigma = model.encode_images(images["test"])
    assert torch.allclose(latent.mixing @ latent.mixing.T, torch.cov(mean.T, correction=0))
    noise = normal_stream(7, torch.device("cpu"))(mean)
    assert torch.allclose(latent.z, mean + log_sigma.exp() * (noise @ latent.mixing.T))
    with torch.inference_mode():
        output = model.decoder(latent.z)
    target = images["test"].float() / 255
    probability = output.sigmoid()
    rec = -(target * probability.log() + (1 - target) * (1 - probability).log())
    rec = rec.flatten(1).sum(1).mean().item()
    columns = terms.bounds(paper_bound=True, likelihood=True)
    assert columns["reconstruction"] == pytest.approx(rec, rel=1e-4)
    assert columns["elbo_paper"] == pytest.approx(-rec - terms.regulariser, rel=1e-4)
    kl = posterior_kl(mean, log_sigma, latent.mixing).mean().item()
    assert columns["elbo"] == pytest.approx(-rec - kl, rel=1e-4)
    assert terms.regulariser < kl


def test_bounds_that_do_not_exist_are_empty():
    columns = Terms(10.0, 0.1, None).bounds(paper_bound=False, likelihood=True)
    assert columns["elbo_paper"] is None and columns["elbo"] is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_widened_bound_is_what_it_says(objective, images, monkeypatch):
    """Beside torch.distributions, on other images than those that choose s."""
    model = Autoencoder(changed(**OBJECTIVES[objective]), (8, 8, 1)).eval()
    test, normal = images["test"], normal_stream(7, torch.device("cpu"))
    with torch.inference_mode():
        mean, log_sigma = model.encode_images(test)
        latent = model.latent(mean, log_sigma, normal)
    given = (test, mean, log_sigma, latent.mixing)
    bound, width = model.widened_bound(*given, normal_stream(8, torch.device("cpu")))
    sigma = torch.zeros_like(mean) if log_sigma is None else log_sigma.exp()
    mixing = torch.eye(4) if latent.mixing is None else latent.mixing
    factor = (sigma[:, :, None] * mixing).double()
    covariance = factor @ factor.mT + width**2 * torch.eye(4)
    prior = MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double())
    kl = kl_divergence(MultivariateNormal(mean.double(), covariance), prior)[50:].mean()
    noise = normal_stream(8, torch.device("cpu"))(mean).double()
    codes = mean + (torch.linalg.cholesky(covariance) @ noise[:, :, None])[:, :, 0]
    with torch.inference_mode():
        error = model.error(codes.float(), model.reconstruction.inputs(test))[50:].mean()
    assert bound == pytest.approx(float(-error - kl), rel=1e-4)
    # the pilot images alone choose s
    changed_images = test.clone()
    changed_images[50:] = 255 - changed_images[50:]
    given = (changed_images, *given[1:])
    other, same = model.widened_bound(*given, normal_stream(8, torch.device("cpu")))
    assert same == width and other != bound
    monkeypatch.setattr(Autoencoder, "chunk", 37)
    chunked = model.widened_bound(*given, normal_stream(8, torch.device("cpu")))
    assert chunked == (pytest.approx(other, rel=1e-5), width)


def test_the_widened_bound_of_codes_that_are_no_use(images):
    """Of a tiny σ it is that of σ = 0; where there is nothing to measure it is empty."""
    model = Autoencoder(changed(latent_dim=2), (8, 8, 1)).eval()
    test = images["test"]
    mean, _ = model.encode_images(test)

    def bound(sigma, mixing, some=test):
        normal, n = normal_stream(8, torch.device("cpu")), len(some)
        sigma = None if sigma is None else torch.full_like(mean[:n], sigma).log()
        return model.widened_bound(some, mean[:n], sigma, mixing, normal)

    exact = bound(None, None)
    assert math.isfinite(exact[0]) and exact[1] > 0
    for sigma in (0.0, 1e-18):
        for mixing in (None, torch.eye(2)):
            assert bound(sigma, mixing) == (pytest.approx(exact[0], rel=1e-6), exact[1])
    assert bound(math.inf, None) == bound(math.nan, torch.eye(2)) == (None, None)
    assert bound(None, None, test[:9]) == (None, None)
    # the noise of an encoder that is as wide as the prior needs no widening
    assert bound(1.0, None)[1] <= 0.12


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_measuring_changes_no_bit_of_the_training(objective, images, tmp_path, monkeypatch):
    run = changed(**OBJECTIVES[objective], epochs=4)
    whole = fit(run, images, tmp_path / "with")
    monkeypatch.setattr(loop, "is_widened", lambda epoch, epochs: epoch == 2)
    other = fit(run, images, tmp_path / "without")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name])
    for row, found in zip(whole.rows, other.rows, strict=True):
        measured = found["split"] == "test" and found["epoch"] == 3
        assert (found["elbo_widened"] is not None) == measured
        hidden = {"seconds", "elbo_widened"}
        assert all(row[key] == found[key] for key in row.keys() - hidden)
        if measured:  # its stream is that of its epoch
            assert row["elbo_widened"] == found["elbo_widened"]


def test_the_epochs_with_a_widened_bound():
    at = [epoch + 1 for epoch in range(100) if is_widened(epoch, 100)]
    assert at == [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 80, 90, 100]
    for epochs in range(1, 300):
        assert is_widened(0, epochs) and is_widened(epochs - 1, epochs)
        late = [e for e in range(epochs) if is_widened(e, epochs) and e + 1 >= 0.8 * epochs]
        assert len(late) >= min(3, epochs - math.ceil(0.8 * epochs) + 1)


def test_the_noise_of_a_code(images, tmp_path):
    """√(mean Var(z_j|x)), beside the deviation of many codes."""
    model = Autoencoder(RUN, (8, 8, 1)).eval()
    terms, latent = model.evaluate(images["test"], normal_stream(7, torch.device("cpu")))
    mean, log_sigma = model.encode_images(images["test"])
    noise = torch.randn(400, *mean.shape, generator=torch.Generator().manual_seed(0))
    codes = mean + log_sigma.exp() * (noise @ latent.mixing.T)
    expected = codes.var(dim=0).mean().sqrt().item()
    assert terms.noise_deviation == pytest.approx(expected, rel=5e-3)
    table = fit(changed(objective="wae_mmd", epochs=1), images, tmp_path).rows
    assert [row["noise_deviation"] for row in table] == [None, 0.0]


def test_damaged_and_malicious_weights_are_refused(tmp_path):
    weights = tmp_path / "weights.pt"

    class Malicious:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    torch.save(Malicious(), weights)
    with pytest.raises(UserError, match="cannot load"):
        load(RUN, (8, 8, 1), weights)
    assert not (tmp_path / "owned").exists()
    for content in (b"", b"no weights", b"text here", b"\x80\x02}q"):
        weights.write_bytes(content)
        with pytest.raises(UserError, match="cannot load"):
            load(RUN, (8, 8, 1), weights)


def test_an_objective_is_told_the_share_of_the_steps_that_is_done(monkeypatch):
    """The first step knows 0; evaluation is of the objective at its end."""
    told = []

    def told_vae(mean, log_sigma, normal, *, progress):
        told.append(progress)
        return vae(mean, log_sigma, normal)

    entry = ObjectiveEntry("hebae.models.objectives.vae:vae", takes_progress=True)
    monkeypatch.setitem(OBJECTIVE_ENTRIES, "told", entry)
    monkeypatch.setattr("hebae.models.objectives.vae.vae", told_vae)
    images = torch.zeros(300, 8, 8, 1, dtype=torch.uint8)
    run = changed(objective="told", epochs=2, batch_size=100)
    single = Single(run, (8, 8, 1), torch.device("cpu"))
    for epoch in range(2):
        train_epoch(single, images, epoch, silent())
    assert told == pytest.approx([number / 6 for number in range(6)])
    single.evaluated(0).evaluate(images, torch.zeros_like)
    assert told[6:] == [1]


def test_a_warmed_up_vae_begins_as_an_autoencoder_and_ends_as_a_vae(images, tmp_path):
    """In a whole training the reported regulariser of the test split is the VAE's."""
    warm = fit(changed(objective="annealed_vae", epochs=6), images, tmp_path / "warm").rows
    plain = fit(changed(objective="vae", epochs=6), images, tmp_path / "plain").rows
    early, late = ([rows[i]["regulariser"] for rows in (warm, plain)] for i in (1, len(warm) - 1))
    assert early[0] > 1.5 * early[1]
    assert late[0] == pytest.approx(late[1], rel=0.25)
    assert warm[-1]["elbo"] == pytest.approx(warm[-1]["elbo_paper"])
