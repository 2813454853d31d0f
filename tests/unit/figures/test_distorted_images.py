"""The figure of distances of distorted real images."""

from __future__ import annotations

import pandas as pd
import pytest
from tests.unit.figures.planted import distortion_rows, experiment

from hebae.base.errors import UserError
from hebae.facts.distorted_images import LABELS, caption, falls
from hebae.figures.distorted_images import draw
from hebae.measures.fid import distortions


@pytest.fixture
def made():
    return experiment("toyfaces")


@pytest.fixture
def table(made) -> pd.DataFrame:
    return pd.DataFrame(distortion_rows("toyfaces", made.datasets["toyfaces"].fid))


def test_each_panel_has_the_distances_of_its_distortion(made, table):
    figure = draw(table, made, "toyfaces")
    for ax, name in zip(figure.axes, LABELS, strict=True):
        own, (line,) = table[table["distortion"] == name], ax.lines
        assert line.get_ydata().tolist() == own["fid"].tolist()
        factor = distortions.MODES if name == "modes" else 1
        assert line.get_xdata().tolist() == (factor * own["strength"]).tolist()


def test_the_caption_says_which_distances_grow(made, table):
    said = " ".join(caption(table, made, "toyfaces"))
    assert "grows with every step of blur, noise, pixelation and modes." in said
    assert "does not grow" not in said
    assert "1,000 images are compared with 800 of the test split" in said
    worst = (table["distortion"] == "noise") & (table["strength"] == 64)
    said = " ".join(caption(table.assign(fid=table["fid"].mask(worst, 0.1)), made, "toyfaces"))
    assert "grows with every step of blur, pixelation and modes." in said
    assert "It does not grow with every step of noise." in said


def test_what_is_not_finite_or_has_no_step_does_not_grow(made, table):
    nothing = (table["distortion"] == "blur") & (table["strength"] == 2)
    alone = table[(table["distortion"] != "pixelation") | (table["strength"] == 0)]
    for worse, name in (
        (table.assign(fid=table["fid"].mask(nothing)), "blur"), (alone, "pixelation"),
    ):  # fmt: skip
        assert falls(worse) == [name]
    assert falls(table.sample(frac=1, random_state=0)) == []


def test_the_figure_knows_the_distortions_that_are_measured(made, table):
    assert f"missing, of {distortions.MODES}" in LABELS["modes"]
    for other in (table[table["distortion"] != "blur"], table.assign(distortion="blur")):
        with pytest.raises(UserError, match="the distortions are not blur, noise"):
            draw(other, made, "toyfaces")
    with pytest.raises(UserError, match="no column 'n_images'"):
        draw(table.drop(columns="n_images"), made, "toyfaces")
