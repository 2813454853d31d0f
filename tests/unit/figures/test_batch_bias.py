"""What codes that match the prior score: against drawn codes, and as the figure shows it."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from tests.unit.figures.planted import check_fits, experiment

from hebae.base.errors import UserError
from hebae.facts import batch_bias as facts
from hebae.figures import batch_bias


def with_batches(**sizes: int):
    """The demo with other batch sizes of some models."""
    models = dict(experiment().datasets["digits"].models)
    for model, size in sizes.items():
        training = dataclasses.replace(models[model].training, batch_size=size)
        models[model] = dataclasses.replace(models[model], training=training)
    return experiment(models=models)


def numpy_regulariser(codes: np.ndarray) -> float:
    """R of codes (n, d) by NumPy's own covariance."""
    covariance, mean = np.cov(codes.T, ddof=0), codes.mean(0)
    trace, log_det = np.trace(covariance), np.linalg.slogdet(covariance)[1]
    return (trace + mean @ mean - codes.shape[1] - log_det) / 2


@pytest.mark.parametrize("n, d", [(9, 8), (20, 8), (128, 8), (128, 16), (100, 64)])
def test_the_bias_is_what_drawn_codes_score(n, d):
    random = np.random.default_rng(n)
    scores = [numpy_regulariser(random.standard_normal((n, d))) for _ in range(600)]
    found = facts.expected_regulariser(np.array([n]), d)[0]
    error = np.std(scores) / np.sqrt(len(scores))
    assert found == pytest.approx(np.mean(scores), abs=4 * error)
    again = batch_bias.drawn_regularisers(n, d, 600, np.random.default_rng(0))
    assert again.shape == (600,)
    assert again.mean() == pytest.approx(found, abs=4 * error)


def test_drawn_scores_are_of_moments_that_divide_by_n():
    (found,) = batch_bias.drawn_regularisers(7, 3, 1, np.random.default_rng(0))
    codes = np.random.default_rng(0).standard_normal((1, 7, 3))[0]
    assert found == pytest.approx(numpy_regulariser(codes), rel=1e-12)


def test_the_bias_that_docs_print():
    """docs/bounds.md's numbers; those without the share of the mean would be d/2n lower."""
    values = [(128, 8, 0.1763), (128, 16, 0.6229), (128, 32, 2.4082), (100, 64, 14.3847)]
    for n, d, expected in values:
        assert round(float(facts.expected_regulariser(np.array([n]), d)[0]), 4) == expected


def test_curves_and_marks(demo):
    (ax,) = batch_bias.draw(demo, "digits").axes
    assert ax.get_xscale() == ax.get_yscale() == "log"
    curves = [line for line in ax.lines if len(line.get_xdata()) > 50]
    marks = [line for line in ax.lines if line.get_marker() in ("o", "s", "^", "D")]
    bars = [container.lines[2][0] for container in ax.containers]
    _, drawn = batch_bias.scores()
    for curve, mark, bar, d in zip(curves, marks, bars, facts.DIMENSIONS, strict=True):
        sizes = curve.get_xdata()
        assert sizes[0] == d + 1 and sizes[-1] == batch_bias.LARGEST
        np.testing.assert_allclose(curve.get_ydata(), facts.expected_regulariser(sizes, d))
        of_sizes = drawn[drawn["d"] == d].groupby("n")["R"]
        assert len(of_sizes) >= 3 and set(of_sizes.size()) == {facts.DRAWS}
        np.testing.assert_array_equal(mark.get_xdata(), list(of_sizes.groups))
        np.testing.assert_allclose(mark.get_ydata(), of_sizes.mean())
        ends = np.array([segment[:, 1] for segment in bar.get_segments()])
        np.testing.assert_allclose(ends.mean(1), of_sizes.mean())
        np.testing.assert_allclose(np.diff(ends)[:, 0], 4 * of_sizes.sem())
        assert to_rgba(curve.get_color()) == to_rgba(mark.get_color())
        assert mark.get_linestyle() == "None"


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_curves_are_named_at_their_ends(demo, width):
    (ax,) = batch_bias.draw(demo, "digits", width).axes
    ends = {text.get_text(): text.xy for text in ax.texts if text.get_text().startswith("d = ")}
    n = np.array([batch_bias.LARGEST])
    assert ends == {
        f"d = {d}": (n[0], facts.expected_regulariser(n, d)[0]) for d in facts.DIMENSIONS
    }


@pytest.mark.parametrize(
    "batches, expected",
    [
        ({}, {"batch of 128": 128, "test split of 500": 500}),
        (
            {"HEBAE": 50},
            {"batch of 50": 50, "batch of 128": 128, "test split of 500": 500},
        ),
        ({"VAE": 50}, {"batch of 128": 128, "test split of 500": 500}),  # takes no covariance
        ({"HEBAE": 500, "HEBAE-diagonal": 500}, {"batch of 500": 500}),
        (
            {"HEBAE": 30_000},
            {"batch of 128": 128, "test split of 500": 500, "batch of 30,000": 3e4},
        ),
    ],
)
def test_batches_and_the_test_split_are_marked(batches, expected):
    (ax,) = batch_bias.draw(with_batches(**batches), "digits").axes
    found = {text.get_text(): text.xy[0] for text in ax.texts if "of" in text.get_text()}
    assert found == expected
    verticals = [line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]]
    assert verticals == sorted(expected.values())
    largest = max(batch_bias.LARGEST, *expected.values())
    assert largest < ax.get_xlim()[1] < 1.01 * largest


def test_the_caption(demo):
    text = " ".join(facts.caption(demo, "digits"))
    for part in (
        "is above 0 even for n codes that are exactly N(0, I)",
        "mean over 64 drawn batches; bars: ± 2 standard errors",
        "of a batch of 128 codes is, in nats, 0.176 (d = 8), 0.262 (d = 10), 0.623 (d = 16) and "
        "10.3 (d = 64).",
        "of a test split of 500 codes is, in nats, 0.0443 (d = 8)",
        "The paper takes moments over a batch and does not mention this bias",
    ):
        assert part in text
    # of more dimensions than codes it is infinite
    (text,) = (part for part in facts.caption(with_batches(HEBAE=12), "digits") if "of 12 " in part)
    assert "(d = 8)" in text and text.endswith("(d = 10).")


def test_no_model_takes_a_covariance(demo):
    models = {"VAE": demo.datasets["digits"].models["VAE"]}
    with pytest.raises(UserError, match="batch_bias: no model of digits takes a covariance"):
        batch_bias.draw(experiment(models=models), "digits")


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize(
    "batches", [{}, {"HEBAE": 100}, {"HEBAE": 9}, {"HEBAE": 450, "HEBAE-diagonal": 550}]
)
def test_every_text_fits(width, batches):
    figure = batch_bias.draw(with_batches(**batches), "digits", width)
    assert figure.get_figwidth() == width
    check_fits(figure, "batch_bias")
