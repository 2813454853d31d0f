"""Runs trained together are what they are by themselves."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.runs import RUN, changed, silent, trained

from hebae.base.errors import UserError
from hebae.config.run import Run
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.training import packs, train
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Single, fit, train_epoch
from hebae.training.plan import Plan, read_plan, write_plan
from hebae.training.stack import Stack

MMD = {"divergence": {"name": "mmd"}}
ALIKE = {
    "HEBAE": {},
    "HEBAE, diagonal": {"parameters": {"reparameterisation": "diagonal"}},
    "VAE": {"objective": "vae"},
    "WAE-MMD": {"objective": "wae_mmd"},
    "InfoVAE-MMD": {"objective": "infovae", "parameters": MMD},
    "InfoVAE-MMD, mutual information charged": {
        "objective": "infovae",
        "parameters": {**MMD, "alpha": 0.5},
    },
    "InfoVAE-Stein": {"objective": "infovae", "parameters": {"divergence": {"name": "stein"}}},
    "squared error": {"reconstruction": "squared_error"},
    "bfloat16": {"precision": "bfloat16"},
}


def sweep(**fields) -> list[Run]:
    """Two weights and two seeds, and a fifth run whose seed is one of theirs."""
    pairs = [(1.0, 0), (0.1, 1), (1.0, 1), (0.1, 0), (2.0, 7)]
    if "infovae" in fields.values():
        pairs = [(1.0, seed) for seed in range(5)]
    return [changed(**fields, lam=lam, seed=seed) for lam, seed in pairs]


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    arrays = digits.load(Path())
    return {
        "train": torch.from_numpy(arrays.train_images),
        "test": torch.from_numpy(arrays.test_images),
    }


def alone(run: Run, images, folder: Path):
    """Weights and history of a run that is trained by itself."""
    outcome = trained(run, images, folder)
    return outcome.model.state_dict(), outcome.rows


def together(runs, images, folder: Path, every: float = 1e9):
    stack = Stack(runs, images["train"].shape[1:], images["train"].device)
    outcomes = fit(stack, images, Checkpoints(folder, "key", every))
    weights = [outcome.model.state_dict() for outcome in outcomes]
    return weights, [o.rows for o in outcomes], [o.failure for o in outcomes]


@pytest.mark.parametrize("fields", ALIKE.values(), ids=ALIKE)
def test_a_packed_run_is_its_separate_run(fields, images, tmp_path):
    """Bounds to 1e-4 of their size after 5 epochs, in float32."""
    runs = sweep(**{"epochs": 5, **fields})
    weights, histories, failed = together(runs, images, tmp_path / "pack")
    assert failed == [None] * 5
    tolerance = 1e-2 if "precision" in fields else 1e-4
    for number, run in enumerate(runs):
        expected, rows = alone(run, images, tmp_path / str(number))
        assert len(rows) == len(histories[number]) == 10
        for row, found in zip(rows, histories[number], strict=True):
            for name in row.keys() - {"seconds"}:
                if isinstance(row[name], float):
                    # the deviation is the exponential of what is rounded
                    near = tolerance * (4 if name == "noise_deviation" else 1)
                    close = pytest.approx(row[name], rel=near, abs=near)
                    assert found[name] == close, name
                else:
                    assert found[name] == row[name], name
        assert weights[number].keys() == expected.keys()


def test_a_packed_step_moves_weights_as_a_separate_one_does(images):
    """Before differences of rounding can grow: every weight, after an epoch of few steps."""
    runs = sweep()
    few = images["train"][: 3 * 128]
    stack = Stack(runs, few.shape[1:], few.device)
    train_epoch(stack, few, 0, silent())
    for run, model in zip(runs, stack.models, strict=True):
        single = Single(run, few.shape[1:], few.device)
        train_epoch(single, few, 0, silent())
        for name, tensor in single.model.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_stopped_pack_continues_bit_for_bit(images, tmp_path):
    runs = sweep(epochs=4)
    whole, rows, _ = together(runs, images, tmp_path / "whole")

    class Killed(Exception):
        pass

    class Killing(Checkpoints):
        def offer(self, state) -> None:
            super().offer(state)
            if state["epoch"] == 1:
                raise Killed

    with pytest.raises(Killed):
        stack = Stack(runs, (8, 8, 1), torch.device("cpu"))
        fit(stack, images, Killing(tmp_path / "stopped", "key", 0))
    continued, again, _ = together(runs, images, tmp_path / "stopped")
    for one, other in zip(whole, continued, strict=True):
        for name, tensor in one.items():
            assert torch.equal(tensor, other[name])
    for one, other in zip(rows, again, strict=True):
        assert [{**row, "seconds": 0} for row in one] == [{**row, "seconds": 0} for row in other]


def test_a_run_that_fails_takes_no_other_with_it(images, tmp_path):
    runs = sweep(epochs=2)
    runs[1] = dataclasses.replace(runs[1], lam=1e38)  # its loss overflows
    weights, rows, failed = together(runs, images, tmp_path / "pack")
    assert [failure is not None for failure in failed] == [False, True, False, False, False]
    assert f"run {runs[1].path} diverged in epoch 1" in failed[1]
    assert all(torch.isfinite(tensor).all() for tensor in weights[0].values())
    assert len(rows[0]) == 4 and rows[1] == []


def test_a_singular_covariance_is_a_failure_of_its_run(tmp_path):
    black = {split: torch.zeros(200, 8, 8, 1, dtype=torch.uint8) for split in ("train", "test")}
    _, rows, failed = together(sweep(epochs=2), black, tmp_path)
    assert all("covariance of a batch of codes was singular" in failure for failure in failed)
    assert rows == [[]] * 5


def test_too_few_images_for_a_batch_are_one_line(images, tmp_path):
    few = {**images, "train": images["train"][:100]}
    with pytest.raises(UserError, match="batch_size 128 is larger than its 100"):
        together(sweep(), few, tmp_path)


def test_networks_with_buffers_are_not_stacked():
    run = changed(network="convolutional", network_parameters={"width": 1 / 64})
    with pytest.raises(ValueError, match="buffers"):
        Stack([run], (16, 16, 1), torch.device("cpu"))


def test_packs_hold_runs_that_differ_in_weight_and_seed_alone():
    runs = sweep()
    other = [changed(latent_dim=5), changed(epochs=3), changed(objective="vae")]
    apart = [
        changed(network="convolutional", network_parameters={}),
        changed(objective="wae_gan", parameters={"divergence": {"name": "adversarial"}}),
        dataclasses.replace(RUN, n_train=100),
    ]
    everything = [*runs, *other, *apart]
    planned = packs.packs(everything, 3, {run.path for run in everything})
    assert planned == [runs[:3], runs[3:]]
    # the objective is told its weight
    told = [changed(objective="infovae", parameters=MMD, lam=lam) for lam in (1.0, 2.0)]
    assert packs.packs(told, 3, {run.path for run in told}) == []


def test_packs_do_not_depend_on_what_is_trained_already(tmp_path):
    runs = sweep()
    planned = packs.packs(runs, 3, {run.path for run in runs[1:]})
    write_plan(tmp_path / "plan.json", Plan(tuple(map(tuple, planned))))
    plan = read_plan(tmp_path / "plan.json")
    assert plan.companions(runs[1]) == tuple(runs[1:3])
    assert plan.companions(runs[4]) == tuple(runs[3:])
    assert plan.companions(runs[0]) == tuple(runs[:1])
    assert read_plan(tmp_path / "none.json").companions(runs[1]) == (runs[1],)
    # one that is left of its pack has no company
    assert packs.packs(runs, 3, {runs[0].path, runs[3].path}) == []


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


def command(run: Run, data: Path, folder: Path) -> list[str]:
    arguments = {
        "run": run.to_json(),
        "data": data,
        "output": folder / run.path,
        "checkpoints": folder / "checkpoints",
        "checkpoint-seconds": 0,
        "results": folder,
        "plan": folder / "plan.json",
        "device": "cpu",
    }
    return [part for name, value in arguments.items() for part in (f"--{name}", str(value))]


def test_the_first_training_of_a_pack_does_the_work_of_all(data, tmp_path, capsys):
    runs = sweep(epochs=2)
    write_plan(tmp_path / "plan.json", Plan((tuple(runs),)))
    for number, run in enumerate(runs):
        train.main(command(run, data, tmp_path))
        said = capsys.readouterr().err
        assert ("training 5 runs together" in said) == (number == 0)
        assert "was trained already; its files are put back" in said
        record = json.loads((tmp_path / run.path / "run.json").read_text())
        assert record["packed"] == 5 and record["run"]["seed"] == run.seed
        assert (tmp_path / run.path / "history.csv").read_text().count("\n") == 5
        # its own weights, and not the stack that they are a view of
        bytes_of_weights = (tmp_path / run.path / "weights.pt").stat().st_size
        assert bytes_of_weights < 1.5 * 4 * record["parameters"] + 5000
    assert not (tmp_path / "checkpoints").exists()


def test_a_failed_run_of_a_pack_says_why_by_itself(data, tmp_path, capsys):
    runs = sweep(epochs=2)
    runs[1] = dataclasses.replace(runs[1], lam=1e38)
    write_plan(tmp_path / "plan.json", Plan((tuple(runs),)))
    for number, run in enumerate(runs):
        if number == 1:
            with pytest.raises(UserError, match=r"(diverged|stopped) in epoch 1"):
                train.main(command(run, data, tmp_path))
        else:
            train.main(command(run, data, tmp_path))
    assert capsys.readouterr().err.count("runs together") == 1


def test_a_killed_pack_goes_on_from_its_checkpoint(data, tmp_path):
    runs = sweep(epochs=100)
    write_plan(tmp_path / "plan.json", Plan((tuple(runs),)))
    begin = [sys.executable, "-m", "hebae.training.train", *command(runs[0], data, tmp_path)]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(begin, stderr=log)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("checkpoints/packs/*/*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(begin, capture_output=True, text=True, check=True)
    assert "continuing 5 runs after epoch" in done.stderr
    assert (tmp_path / runs[0].path / "weights.pt").exists()
