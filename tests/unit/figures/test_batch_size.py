"""The figure of batch sizes, drawn from planted tables."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.unit.figures.planted import ROOT, check_fits, draw, write_results

from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.facts import batch_size as facts
from hebae.facts.batch_bias import expected_regulariser
from hebae.figures.common import read_tables
from hebae.figures.draw import caption
from hebae.figures.looks import LOOKS

DOCUMENT = """
experiment: batches
seeds: [0, 1, 2]
models:
  HEBAE: {objective: hebae}
  small: {objective: hebae, title: HEBAE (32)}
  large: {objective: hebae, title: HEBAE (512)}
  diagonal: {objective: hebae, reparameterisation: diagonal}
  WAE: {objective: wae_mmd, title: WAE-MMD}
  small-WAE: {objective: wae_mmd}
  other: {objective: wae_mmd}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    latent_dims: [4, 8]
    training: {epochs: 40, batch_size: 128}
    models:
      large: {weight: 1, training: {batch_size: 512, epochs: 200, learning_rate_decay: 0.999}}
      HEBAE: {weight: 1}
      small: {weight: 1, latent_dims: [8], training: {batch_size: 32, epochs: 10}}
      diagonal: {weight: 1, training: {batch_size: 32}}
      WAE: {weight: 10}
      small-WAE: {weight: 10, training: {batch_size: 32, epochs: 10}}
      other: {weight: 10, training: {batch_size: 512, learning_rate: 0.01}}
figures: {batch_size: digits}
"""


def made(text: str = DOCUMENT) -> Experiment:
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    return parse(yaml.safe_load(text), schema).experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), made())


def test_which_models_are_the_same_but_for_the_batch_size():
    """The experiment says so, and not their names: another rate or objective is another model."""
    assert made().batch_sizes("digits") == {
        "large": {32: "small", 128: "HEBAE", 512: "large"},
        "WAE": {32: "small-WAE", 128: "WAE"},
    }


def test_without_such_models_there_is_no_figure():
    text = DOCUMENT.replace("batch_size: 32", "batch_size: 128").replace("_size: 512", "_size: 128")
    with pytest.raises(UserError, match="batch_size: no models of 'digits' are the same but for"):
        made(text)


def test_the_values(folder):
    tables = read_tables(folder, ["elbo_by_weight", "covariance", "mutual_information"])
    found = facts.measured(tables, made(), "digits").set_index(["model", "batch_size", "seed"])
    assert len(found) == 15
    run = ("large", 32, 1)  # of the model called small
    scores = tables["elbo_by_weight"].query("model == 'small' and seed == 1")
    assert found.loc[run, "elbo_paper"] == pytest.approx(scores["elbo_paper"].item())
    mic = tables["mutual_information"].query("model == 'small' and seed == 1")["mic"]
    assert found.loc[run, "mic"] == pytest.approx(mic.mean())
    assert np.isnan(found.loc[("WAE", 32, 0), "elbo_paper"])


def test_the_distance(tmp_path):
    """Of a covariance that is known, by numpy."""
    experiment = made()
    folder = write_results(tmp_path, experiment)
    tables = read_tables(folder, ["elbo_by_weight", "covariance", "mutual_information"])
    table = tables["covariance"]
    own = table.query("model == 'small' and which == 'mean' and seed == 0 and latent_dim == 8")
    matrix = own.sort_values(["i", "j"])["covariance"].to_numpy().reshape(8, 8)
    found = facts.measured(tables, experiment, "digits").set_index(["model", "batch_size", "seed"])
    distance = np.linalg.norm(matrix - np.eye(8))
    assert found.loc[("large", 32, 0), "distance"] == pytest.approx(distance)


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_the_figure(folder, width):
    figure = draw("batch_size", folder, made(), width)
    check_fits(figure, "batch_size")
    assert len(figure.axes) == 4
    bound, reconstruction, *_ = figure.axes
    curves = [line for line in reconstruction.lines if len(line.get_xdata()) > 1]
    ends = sorted(tuple(line.get_xdata()) for line in curves if line.get_marker() != "None")
    assert ends[-1] == (128, 512) or (32, 128, 512) in ends
    assert bound.get_xscale() == "log"
    labels = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert labels == ["32", "128", "512"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["HEBAE (512)", "WAE-MMD"]
    assert LOOKS["WAE"].color in {line.get_color() for line in reconstruction.lines}
    assert LOOKS["WAE"].color not in {line.get_color() for line in bound.lines}  # it has none


def test_the_caption(folder):
    said = caption("batch_size", made(), folder)
    for part in (
        "What HEBAE (512) and WAE-MMD reach on test images",
        "Training: 10 epochs of batches of 32, 40 epochs of batches of 128 and 200 epochs of "
        "batches of 512, 400 steps each.",
        f"{expected_regulariser(32, 8):.3f} (n = 32)",
        "this bias has no gradient",
    ):
        assert part in said


def test_the_bias_of_a_batch_is_that_of_the_prior_whatever_the_moments_are():
    """E R_n(m, Σ) = KL(N(m, Σ) ‖ N(0, I)) + E R_n(0, I): 4,000 batches of 32 codes."""
    random = np.random.default_rng(0)
    root, mean, n = random.normal(size=(4, 4)), np.array([0.0, 1, -2, 3]), 32
    codes = mean + random.standard_normal((4000, n, 4)) @ root.T

    def divergence(centre: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        trace = np.trace(covariance, axis1=-2, axis2=-1)
        return (trace + (centre**2).sum(-1) - 4 - np.linalg.slogdet(covariance)[1]) / 2

    centres = codes.mean(1)
    centred = codes - centres[:, None]
    found = divergence(centres, centred.swapaxes(1, 2) @ centred / n)
    expected = divergence(mean, root @ root.T) + expected_regulariser(np.array([n]), 4)[0]
    assert abs(found.mean() - expected) < 4 * found.std() / len(found) ** 0.5 < 0.2
