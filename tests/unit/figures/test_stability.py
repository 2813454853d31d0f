"""The figure of trainings that fail, drawn from planted tables."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import check_fits, draw, experiment, write_results

from hebae.base.errors import UserError
from hebae.config.protocols import Stability
from hebae.facts import stability as facts
from hebae.figures.draw import caption

GRID = Stability(5, (1, 10, 30), (0.3, 3), None)


def grids(figure) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Of each panel by its title: the colours' values, and the numbers, from top left on."""
    panels = [ax for ax in figure.axes[:-1] if ax.axison]
    return {
        ax.get_title().replace("\n", " ").replace("\xa0", " "): (
            np.asarray(ax.collections[0].get_array()),
            [text.get_text() for text in ax.texts if text.get_text()],
        )
        for ax in panels
    }


def test_what_the_table_holds(results, demo):
    figure = draw("stability", results, demo)
    table = pd.read_csv(results / "tables/stability.csv")
    titles = {made.title: name for name, made in demo.models.items()}
    shown = grids(figure)
    assert len(shown) == len(titles)
    for panel, (levels, numbers) in shown.items():
        title, _, share = panel.rpartition(": ")
        own = table[table.model == titles[title]]
        fails = own.outcome != "trained"
        assert share == f"{100 * fails.mean():.3g} %"
        expected = own.reconstruction.fillna(27.1).clip(upper=27.1)
        by_cell = own.assign(level=expected, fails=fails).groupby(
            ["initial_scale", "learning_rate_factor"]
        )
        # the largest scale is on top
        means = by_cell["level"].mean().unstack().to_numpy()[::-1]
        assert np.asarray(levels).reshape(3, 4) == pytest.approx(means)
        counts = by_cell["fails"].sum().unstack().to_numpy()[::-1].ravel()
        assert numbers == [str(count) for count in counts if count]
    assert 0 < len(numbers := shown["VAE: 36.1 %"][1]) < 12 and set(numbers) <= {"1", "2", "3"}


def faces(tmp_path: Path):
    made = experiment("toyfaces", stability=GRID)
    return dataclasses.replace(made, figures={"stability": "toyfaces"})


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_both_batch_norms_have_a_panel(tmp_path, width):
    made = faces(tmp_path)
    figure = draw("stability", write_results(tmp_path, made, 64, 3), made, width)
    check_fits(figure, "stability")
    shown = list(grids(figure))
    assert len(shown) == 8
    assert [title.partition(":")[0] for title in shown[:3]] == [
        "VAE, trained", "VAE, frozen", "HEBAE, trained",
    ]  # fmt: skip
    said = caption("stability", made, tmp_path)
    assert "over two batch normalisations: trained, as in the text, or frozen" in said
    shares = dict(title.split(": ") for title in shown)
    for norm in ("trained", "frozen"):
        of_norm = f"{norm}, {shares[f'VAE, {norm}']} for VAE, "
        assert of_norm + f"{shares[f'HEBAE, {norm}']} for HEBAE" in said
    assert "nats" not in figure.axes[-1].get_ylabel()  # of a squared error


def test_the_caption(results, demo):
    said = caption("stability", demo, results)
    for part in (
        "Where training fails within 5 epochs. Digits 8×8, latent dimension 8.",
        "multiples of each model’s own, 0.001;",
        "no better than by the best constant image, whose error is 27.1, or if it diverges",
        "VAE fails in 36.1 % of trainings (25 % to 50 % over seeds), 9 trainings by diverging.",
        "HEBAE fails in 0 % of trainings.",
        "Numbers: in how many of 3 seeds",
    ):
        assert part in said
    assert "Batch normalisation" not in said


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: t.replace("digits,VAE,8,1,0,0.001,1,", "digits,VAE,8,1,0,0.001,2,"),
            "differ in",
        ),
        (lambda t: t.replace("failed", "lost"), "unknown outcome 'lost'; there are: trained"),
        (lambda t: t.replace("outcome", "x"), "no column 'outcome'"),
        (lambda t: t[: t.rindex("digits,WAE")], "11 rows, expected 12"),
    ],
)
def test_wrong_tables(results, demo, tmp_path, change, message):
    (tmp_path / "tables").mkdir()
    text = (results / "tables/stability.csv").read_text()
    (tmp_path / "tables/stability.csv").write_text(change(text))
    with pytest.raises(UserError, match=message) as caught:
        draw("stability", tmp_path, demo)
    assert str(tmp_path / "tables/stability.csv") in str(caught.value)


def test_no_block_is_an_error(results, demo):
    made = experiment(stability=None)
    tables = {"stability": pd.read_csv(results / "tables/stability.csv")}
    with pytest.raises(UserError, match="'digits' has no stability block"):
        facts.measured(tables, made, "digits")
