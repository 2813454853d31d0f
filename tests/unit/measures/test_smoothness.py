"""How fast decoders change: against closed forms."""

from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.measures import smoothness
from hebae.measures.smoothness import STEPS, changes
from hebae.models.autoencoder import Autoencoder
from hebae.models.reconstruction import bernoulli, binary, gaussian, squared_error
from hebae.training import train


def normal(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def directions(seed: int, n: int, d: int) -> torch.Tensor:
    u = normal(seed, n, d)
    return u / u.norm(dim=1, keepdim=True)


def test_a_linear_decoder_has_one_rate():
    """‖W‖_F / √(d P), whatever the step and the code."""
    d, p, n = 5, 12, 40_000
    w, b = normal(0, p, d), normal(1, p)
    z, u = normal(2, n, d), directions(3, n, d)
    found = changes(lambda z: (z @ w.T + b).unflatten(1, (3, 4)), z, u)
    rates = np.array(found) / STEPS
    exact = math.sqrt(float((u @ w.T).square().mean()))
    np.testing.assert_allclose(rates, exact, rtol=1e-9)
    assert exact == pytest.approx(float(w.norm()) / math.sqrt(d * p), rel=0.01)


def test_a_jump_has_a_rate_that_grows_as_the_root_of_the_step_falls():
    """Δ(h)² = P(z < 0 < z + h) = Φ(h) − ½ where one pixel jumps by 1 at z = 0, and u = ±1."""
    z, u = normal(0, 400_000, 1), torch.sign(normal(1, 400_000, 1))
    found = changes(lambda z: (z > 0).double(), z, u)
    expected = [math.sqrt(norm.cdf(step) - 0.5) for step in STEPS]
    np.testing.assert_allclose(found, expected, rtol=0.04)
    rates = np.array(found) / STEPS
    assert rates[0] / rates[-1] > 8  # √100 but for the density's fall


def test_a_curved_decoder_against_its_integral():
    """For g(z) = sin a z in one dimension, Δ(h)² = 2 sin²(a h / 2) (1 + e^(−2a²) cos a h)."""
    a = 1.3
    z, u = normal(0, 400_000, 1), torch.sign(normal(1, 400_000, 1))
    found = changes(lambda z: (a * z).sin(), z, u)
    h = np.array(STEPS)
    expected = np.sqrt(2 * np.sin(a * h / 2) ** 2 * (1 + np.exp(-2 * a**2) * np.cos(a * h)))
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_chunks_change_nothing():
    w = normal(0, 7, 4)
    z, u = normal(2, 101, 4), directions(3, 101, 4)
    whole, parts = (changes(lambda z: (z @ w.T).tanh(), z, u, chunk=size) for size in (1000, 9))
    np.testing.assert_allclose(whole, parts, rtol=1e-12)


@pytest.mark.parametrize("term", [bernoulli, binary, gaussian, squared_error])
def test_the_mean_of_an_image_is_in_its_range_and_is_what_pixels_round(term):
    term = term((4, 4, 1))
    output = 5 * normal(0, 50, 4, 4, 1).float()
    mean = term.mean(output)
    assert 0 <= mean.min() < 0.01 and 0.99 < mean.max() <= 1
    assert ((255 * mean - term.pixels(output).float()).abs() <= 0.5 + 1e-4).all()


# The command


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory) -> list[str]:
    from pathlib import Path

    folder = tmp_path_factory.mktemp("run")
    data = folder / "data"
    write_prepared("digits", digits.load(Path()), data)
    run = changed(epochs=2, batch_size=64)
    given = ["--run", run.to_json(), "--data", data, "--output", folder, "--device", "cpu"]
    train.main([str(part) for part in (*given, "--checkpoints", folder / "checkpoints")])
    files_of = ["--run", folder / "run.json", "--weights", folder / "weights.pt", "--data", data]
    return [str(part) for part in (*files_of, "--device", "cpu")]


def measured(arguments: list[str], path) -> list[dict[str, str]]:
    smoothness.main([*arguments, "--output", str(path)])
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_rows_of_a_run(trained_run, tmp_path, monkeypatch):
    found = measured(trained_run, tmp_path / "a.csv")
    assert [(row["at"], float(row["step"])) for row in found] == [
        (at, step) for at in ("prior", "codes") for step in STEPS
    ]
    assert {row["n"] for row in found} == {"500"}  # as many as test images
    assert all(0 < float(row["change"]) < 1 for row in found)
    assert measured(trained_run, tmp_path / "b.csv") == found
    # another decoder, of which the rates are known
    w = normal(4, 64, 4).float()
    monkeypatch.setattr(
        Autoencoder, "decoder", property(lambda _: lambda z: 1e-3 * z @ w.T), raising=False
    )
    load = smoothness.Trained.open.__func__

    def opened(cls, options):
        trained = load(cls, options)
        trained.model.reconstruction = dataclasses.replace(
            trained.model.reconstruction, mean=lambda output: output
        )
        return trained

    monkeypatch.setattr(smoothness.Trained, "open", classmethod(opened))
    rates = [
        float(row["change"]) / float(row["step"])
        for row in measured(trained_run, tmp_path / "c.csv")
    ]
    np.testing.assert_allclose(rates, 1e-3 * float(w.norm()) / math.sqrt(4 * 64), rtol=0.1)
    monkeypatch.setattr(smoothness, "POINTS", 20)
    assert {row["n"] for row in measured(trained_run, tmp_path / "d.csv")} == {"20"}


def test_an_autoregressive_decoder_is_refused(trained_run, tmp_path, monkeypatch):
    run = changed(
        network="pixelcnn",
        network_parameters=dict(encoder_widths=[8], decoder_widths=[8], channels=4, layers=2),
        reconstruction="binary",
    )
    load = smoothness.Trained.open.__func__
    monkeypatch.setattr(
        smoothness.Trained,
        "open",
        classmethod(lambda cls, options: dataclasses.replace(load(cls, options), run=run)),
    )
    with pytest.raises(UserError, match="an autoregressive decoder gives no image") as error:
        measured(trained_run, tmp_path / "a.csv")
    assert "\n" not in str(error.value) and not (tmp_path / "a.csv").exists()
