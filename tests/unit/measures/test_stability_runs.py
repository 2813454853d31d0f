"""How often trainings fail: planted failures, the grid, the level of a constant image."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from tests.runs import RUN, changed

from hebae.config.fields import to_json
from hebae.config.protocols import Stability
from hebae.config.run import Run
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.measures import stability
from hebae.measures.stability import Cell, cells, constant_error, row, trained
from hebae.models.autoencoder import Autoencoder
from hebae.models.reconstruction import bernoulli, binary, gaussian, squared_error
from hebae.training.loop import Outcome

CPU = torch.device("cpu")
HEBAE = changed(epochs=40)
VAE = dataclasses.replace(HEBAE, objective="vae", model="VAE")
WAE = dataclasses.replace(HEBAE, objective="wae_mmd", model="WAE", lam=10.0)
CONVOLUTIONAL = dataclasses.replace(
    WAE, network="convolutional", network_parameters={"width": 1 / 128}
)
GRID = Stability(2, (1.0, 1000.0), (0.3, 1.0, 3.0), None)


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    arrays = digits.load(Path())
    return {
        "train": torch.from_numpy(arrays.train_images),
        "test": torch.from_numpy(arrays.test_images),
    }


def of_cell(run: Run, images: dict, *cell, epochs: int = 5) -> dict:
    where = Cell(*cell)
    outcome = trained(run, where, Stability(epochs, (1,), (1,), None), images, CPU)
    model = Autoencoder(run, images["train"].shape[1:])
    constant = constant_error(model.reconstruction, images["train"], model.chunk)
    return row(where, outcome, constant)


# Endings


@pytest.mark.parametrize("run", [HEBAE, WAE], ids=lambda run: run.model)
def test_a_usual_learning_rate_trains(run, images):
    found = of_cell(run, images, 5, 1, None)
    assert (found["outcome"], found["epoch"]) == ("trained", None)
    assert 15 < found["reconstruction"] < found["constant_image"] == pytest.approx(27.1, abs=0.2)
    assert (found["elbo_paper"] is None) == (run.model == "WAE")


@pytest.mark.parametrize("run", [HEBAE, VAE], ids=lambda run: run.model)
def test_a_learning_rate_that_is_far_too_large_diverges(run, images):
    found = of_cell(run, images, 1e6, 1, None)
    assert (found["outcome"], found["epoch"]) == ("diverged", 1)
    assert found["learning_rate"] == pytest.approx(1e3)
    assert found["reconstruction"] is found["elbo_paper"] is None


@pytest.mark.parametrize("factor, scale", [(1000, 1), (1, 10)])
def test_and_one_that_is_too_large_learns_nothing(factor, scale, images):
    """It ends, with all values finite, and worse than a constant image."""
    found = of_cell(WAE, images, factor, scale, None, epochs=2)
    assert (found["outcome"], found["epoch"]) == ("failed", None)
    assert found["constant_image"] < found["reconstruction"] < math.inf


def test_a_collapsed_model_has_failed(images):
    """The codes of a VAE at a huge λ say nothing, so a constant image is the best there is."""
    found = of_cell(dataclasses.replace(VAE, lam=1000.0), images, 3, 1, None)
    assert found["outcome"] == "failed"
    assert found["reconstruction"] == pytest.approx(found["constant_image"], rel=0.1)


def test_codes_of_no_variance_diverge(images):
    """HEBAE's batches then have a singular covariance."""
    assert of_cell(HEBAE, images, 1, 1e-12, None)["outcome"] == "diverged"


def test_the_epoch_is_the_one_that_was_not_finished():
    end = {"reconstruction": 20.0, "elbo_paper": -21.0}
    rows = [end | {"split": split} for _ in range(3) for split in ("train", "test")]
    rows[-1] = {"split": "test", "reconstruction": 99.0, "elbo_paper": -99.0}
    cell = Cell(2.0, 1.0, "frozen")
    found = row(cell, Outcome(RUN, None, rows, "diverged"), 27.0)
    assert (found["outcome"], found["epoch"], found["reconstruction"]) == ("diverged", 4, None)
    # the terms are those of the training split
    found = row(cell, Outcome(RUN, None, rows, None), 27.0)
    assert (found["outcome"], found["reconstruction"], found["elbo_paper"]) == ("trained", 20, -21)
    assert found["batch_norm"] == "frozen"
    # no better is not better
    assert row(cell, Outcome(RUN, None, rows, None), 20.0)["outcome"] == "failed"


# The level


def entropy(p: torch.Tensor) -> torch.Tensor:
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))


def test_the_best_constant_image_is_the_mean_image(images):
    """Of each term, because each is a Bregman divergence (Banerjee et al. 2005)."""
    some = images["train"][:300]
    unit = some.double() / 255
    mean = unit.mean(0)
    of_squares = (unit - mean).square().flatten(1).sum(1).mean()
    constant = 32 * math.log(2 * math.pi * 0.01)
    expected = {
        bernoulli((8, 8, 1)): entropy(mean).sum(),
        binary((8, 8, 1)): entropy((some > 127).double().mean(0)).sum(),
        gaussian((8, 8, 1)): of_squares / 0.02 + constant,
        # of images in [−1, 1], twice as far apart, and a mean over pixels
        squared_error((8, 8, 1)): 4 * of_squares / 64,
    }
    for term, value in expected.items():
        found = [constant_error(term, some, chunk) for chunk in (1000, 77)]
        assert found == pytest.approx([float(value)] * 2, rel=1e-5)


def test_no_decoder_that_ignores_its_code_is_below_it(images):
    term, some = bernoulli((8, 8, 1)), images["train"][:300]
    level = constant_error(term, some, 1000)
    x = term.inputs(some)
    generator = torch.Generator().manual_seed(0)
    best = torch.logit(x.mean(0).clamp(1e-6, 1 - 1e-6))
    for size in (0.01, 0.1, 1.0):
        output = best + size * torch.randn(best.shape, generator=generator)
        assert float(term.error(output.expand(x.shape), x).mean()) > level


# The grid


def test_the_cells_of_a_grid():
    found = cells(HEBAE, GRID)
    assert [(c.initial_scale, c.learning_rate_factor) for c in found] == [
        (scale, factor) for scale in (0.3, 1, 3) for factor in (1, 1000)
    ]
    assert {c.batch_norm for c in found} == {None}
    both = cells(CONVOLUTIONAL, GRID)
    assert [c.batch_norm for c in both] == ["trained"] * 6 + ["frozen"] * 6
    run = stability.run_of_cell(CONVOLUTIONAL, both[-1], 7)
    assert run.network_parameters == {"width": 1 / 128, "batch_norm": "frozen"}
    assert (run.training.epochs, run.training.learning_rate) == (7, 1.0)
    changed_back = dataclasses.replace(
        run, network_parameters=CONVOLUTIONAL.network_parameters, training=CONVOLUTIONAL.training
    )
    assert changed_back == CONVOLUTIONAL


@pytest.mark.parametrize("run, shape", [(HEBAE, (8, 8, 1)), (CONVOLUTIONAL, (16, 16, 3))])
def test_weights_alone_are_scaled(run, shape):
    run = dataclasses.replace(
        run,
        objective="infovae",
        parameters={"divergence": {"name": "adversarial"}},
    )
    before, after = Autoencoder(run, shape), Autoencoder(run, shape)
    stability.scale_weights(after, 3.0)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        weights = name.endswith("weight") and old.ndim > 1 and not name.startswith("adversary")
        torch.testing.assert_close(new, 3 * old if weights else old)


def test_the_training_begins_with_scaled_weights(images):
    """In bfloat16 too, where the step uses copies of the parameters."""
    run = dataclasses.replace(WAE, training=dataclasses.replace(WAE.training, precision="bfloat16"))
    tiny = {split: of_split[:128] for split, of_split in images.items()}
    scaled = of_cell(run, tiny, 1e-9, 100, None, epochs=1)
    plain = of_cell(run, tiny, 1e-9, 1, None, epochs=1)
    assert scaled["reconstruction"] > 100 * plain["reconstruction"]


# The command


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


def command(run: Run, data: Path, output: Path, protocol: Stability) -> list[dict[str, str]]:
    asked = ["--protocol", to_json(protocol), "--device", "cpu"]
    stability.main(["--run", run.to_json(), "--data", str(data), "--output", str(output), *asked])
    with output.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_table(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    protocol = Stability(1, (1, 1e6), (1,), 200)
    first = command(HEBAE, data, tmp_path / "a/stability.csv", protocol)
    assert list(first[0])[:5] == list(HEBAE.identity)
    assert [one["outcome"] for one in first][1] == "diverged"
    assert [one["learning_rate_factor"] for one in first] == ["1", "1000000.0"]
    # what stopped it is in the log
    assert re.search(r"1000000.*batch_norm=None.*: run digits/HEBAE", capsys.readouterr().err)
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "stability.csv"}
    again = command(HEBAE, data, tmp_path / "b/stability.csv", protocol)
    assert again == first
    whole = command(HEBAE, data, tmp_path / "c.csv", dataclasses.replace(protocol, images=None))
    assert whole[0]["constant_image"] != first[0]["constant_image"]


def test_a_command_that_is_stopped_leaves_nothing(data, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    count = iter(range(2))
    one = stability.trained
    monkeypatch.setattr(
        stability, "trained", lambda *args: one(*args) if next(count) == 0 else stop()
    )
    with pytest.raises(KeyboardInterrupt):
        command(WAE, data, tmp_path / "stability.csv", Stability(1, (1, 3), (1,), 200))
    assert not list(tmp_path.iterdir())
