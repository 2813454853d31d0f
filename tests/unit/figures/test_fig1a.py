"""Fig. 1a, drawn from planted tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from tests.unit.figures.planted import by_label, draw, experiment, write_results

from hebae.base.errors import UserError
from hebae.config.registry import FIGURES
from hebae.facts import fig1a as facts
from hebae.figures import common, fig1a
from hebae.figures.draw import caption


@pytest.fixture(scope="module")
def figure(drawn):
    return draw("fig1a", *drawn["fig1a"])


@pytest.fixture(scope="module")
def said(drawn):
    results, demo = drawn["fig1a"]
    return caption("fig1a", demo, results)


@pytest.mark.parametrize("column, latent_dim", list(enumerate([2, 4, 8])))
def test_by_epoch(figure, tables, column, latent_dim):
    ax = figure.axes[column]
    table = tables["elbo_by_epoch"].query("split == 'test' and latent_dim == @latent_dim")
    assert list(by_label(ax)) == ["VAE", "HEBAE", "HEBAE-diagonal"]
    for (model, line), band in zip(by_label(ax).items(), ax.collections, strict=True):
        seeds = table[table.model == model].groupby("epoch").elbo_paper
        assert list(line.get_xdata()) == list(range(1, 61))
        np.testing.assert_allclose(line.get_ydata(), seeds.mean())
        assert isinstance(band, PolyCollection)
        vertices = pd.DataFrame(band.get_paths()[0].vertices, columns=["epoch", "value"])
        for how in ("min", "max"):
            edge = vertices.groupby("epoch").value.agg(how)
            np.testing.assert_allclose(edge, seeds.agg(how))


@pytest.mark.parametrize("column, latent_dim", list(enumerate([2, 4, 8])))
def test_by_weight(figure, tables, column, latent_dim):
    ax = figure.axes[3 + column]
    assert ax.get_xscale() == "log"
    bars = [part for part in ax.collections if isinstance(part, LineCollection)]
    lines = {label: line for label, line in by_label(ax).items() if label in ("VAE", "HEBAE")}
    table = tables["elbo_by_weight"].query("latent_dim == @latent_dim")
    for (model, line), reach in zip(lines.items(), bars, strict=True):
        seeds = table[table.model == model].groupby("weight").elbo_paper
        np.testing.assert_allclose(line.get_xdata(), [0.1, 0.5, 1, 2, 5, 10])
        np.testing.assert_allclose(line.get_ydata(), seeds.mean())
        ends = np.array([segment[:, 1] for segment in reach.get_segments()])
        np.testing.assert_allclose(ends, seeds.agg(["min", "max"]))


def test_weights_of_fewer_latent_dimensions(tmp_path):
    """The bottom row's panels, fewer here, fill the width; the left one has the labels."""
    made = experiment("mnist", weight_latent_dims=(16, 10))
    figure = draw("fig1a", write_results(tmp_path, made), made)
    top, bottom = figure.axes[:3], figure.axes[3:]
    figure.draw_without_rendering()
    left, right = bottom[0].get_position().x0, bottom[1].get_position().x1
    assert (left, right) == pytest.approx((top[0].get_position().x0, top[2].get_position().x1))
    table = pd.read_csv(tmp_path / "tables/elbo_by_weight.csv")
    for ax, latent_dim in zip(bottom, (16, 10), strict=True):
        assert ax.get_title() == f"latent dimension {latent_dim}"
        vae = table.query(f"latent_dim == {latent_dim} and model == 'VAE' and seed == 0")
        expected = vae.sort_values("weight").elbo_paper
        np.testing.assert_allclose(by_label(ax)["VAE"].get_ydata(), expected)
    for ax, labels in zip((*top, *bottom), (True, False, False, True, False), strict=True):
        assert any(label.get_visible() for label in ax.get_yticklabels()) == labels


def test_a_model_trained_at_one_latent_dimension_is_drawn_there_alone(tmp_path):
    made = experiment("mnist")
    models = dict(made.datasets["mnist"].models)
    # the first of the models too: panels stay in the order of the config
    for model in ("VAE", "HEBAE-diagonal"):
        models[model] = dataclasses.replace(models[model], latent_dims=(10,))
    made = experiment("mnist", models=models)
    figure = draw("fig1a", write_results(tmp_path, made), made)
    models = {ax.get_title().split()[-1]: set(by_label(ax)) for ax in figure.axes[:3]}
    assert models == {"8": {"HEBAE"}, "10": {"VAE", "HEBAE", "HEBAE-diagonal"}, "16": {"HEBAE"}}
    drawn = [set(by_label(ax)) & {"VAE", "HEBAE"} for ax in figure.axes[3:]]
    assert drawn == [{"HEBAE"}, {"VAE", "HEBAE"}, {"HEBAE"}]


def test_the_converged_region_fills_the_axis(figure, tables, said):
    """No line of the later epochs is cut off, and the first ones do not set the limits."""
    low, high = figure.axes[0].get_ylim()
    values = tables["elbo_by_epoch"].query("split == 'test'")
    late = values[values.epoch > 6].elbo_paper
    assert low < late.min() and late.max() < high
    assert late.max() - late.min() > 0.5 * (high - low)
    last = values[values.elbo_paper < low].epoch.max()
    assert f"At the top, epochs up to {last} are below the axes for some of the curves." in said


def test_a_diverged_seed_leaves_a_gap(results, demo):
    """A mean over the other seeds would be of another number of them."""
    read = common.read_tables(results, FIGURES["fig1a"].tables)
    table, grid = read["elbo_by_epoch"], read["elbo_by_weight"]
    gone = (table.model == "VAE") & (table.seed == 1) & table.epoch.between(30, 40)
    gone |= (table.model == "HEBAE") & (table.latent_dim == 8)
    table.loc[gone, "elbo_paper"] = np.inf
    grid.loc[(grid.model == "VAE") & (grid.seed == 2) & (grid.weight == 1), "elbo_paper"] = np.nan
    figure = fig1a.draw(read, demo, "digits")
    parts = [line.get_xdata() for line in figure.axes[0].lines if line.get_label() == "VAE"]
    assert [(part[0], part[-1]) for part in parts] == [(1, 29), (41, 60)]
    assert "HEBAE" not in by_label(figure.axes[2])
    assert np.isfinite(figure.axes[0].get_ylim()).all()
    parts = [list(line.get_xdata()) for line in figure.axes[3].lines if line.get_label() == "VAE"]
    assert parts == [[0.1, 0.5], [2, 5, 10]]
    assert "nan" not in " ".join(facts.caption(read, demo, "digits"))


@pytest.mark.parametrize(
    "seeds, weight_seeds, text",
    [
        ((0, 1), (0, 1), "Lines and marks: mean over 2 seeds; bands and bars: from the lowest"),
        ((0, 1), (0,), "Top: lines: mean over 2 seeds; bands: from the lowest to the highest seed. "
         "Bottom: marks: one seed."),
        ((0,), (0, 1), "Top: lines: one seed. Bottom: marks: mean over 2 seeds; bars: from the"),
        ((0,), (0,), "Lines and marks: one seed."),
    ],
)  # fmt: skip
def test_the_caption_says_whose_spread_is_drawn(tmp_path, seeds, weight_seeds, text):
    dims = {"latent_dims": (8,), "weight_latent_dims": (8,), "main_latent_dim": 8}
    made = experiment(seeds=seeds, weight_seeds=weight_seeds, **dims)
    assert text in caption("fig1a", made, write_results(tmp_path, made))


def test_the_caption_has_the_largest_spread(said, tables):
    last = tables["elbo_by_epoch"].query("split == 'test' and epoch == 60")
    ends = last.groupby(["model", "latent_dim"]).elbo_paper.agg(["min", "max"])
    assert f"differ by at most {(ends['max'] - ends['min']).max():.3g} nats." in said
    assert "(60 epochs in all)" in said and "the paper reports" in said.lower()


def test_no_bound_to_draw(results, demo):
    data = demo.datasets["digits"]
    only = dataclasses.replace(data, models={"WAE": data.models["WAE"]})
    with pytest.raises(UserError, match="no model of digits has a bound"):
        draw("fig1a", results, dataclasses.replace(demo, datasets={"digits": only}))
