"""Figures drawn from tables made up here, with numbers like those of real runs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.registry import FIGURES, OBJECTIVES
from hebae.figures import common, covariance_heatmaps, fig1a, image_panels
from hebae.figures.draw import draw as draw_figure
from hebae.figures.fig1b import draw as draw_fig1b

ROOT = Path(__file__).parents[3]
DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  VAE: {objective: vae}
  HEBAE: {objective: hebae}
  HEBAE-diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    latent_dims: [2, 4, 8]
    main_latent_dim: 8
    training: {epochs: 60}
    mutual_information: {sets: 20}
    models:
      VAE: {weight: 1, weights: [0.1, 0.5, 1, 2, 5, 10]}
      HEBAE: {weight: 1, weights: [0.1, 0.5, 1, 2, 5, 10]}
      HEBAE-diagonal: {weight: 1}
      WAE: {weight: 10}
figures: {fig1a: digits, fig2a: digits, fig2c: digits, appendix_c: digits}
"""
FACES = """
experiment: faces
seeds: [0, 1]
models:
  VAE: {objective: vae}
  HEBAE: {objective: hebae}
  HEBAE-diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
datasets:
  toyfaces:
    title: Toy faces
    network: {name: convolutional, width: 0.25}
    reconstruction: {name: squared_error}
    latent_dims: [8, 16]
    weight_latent_dims: [16]
    training: {epochs: 3, batch_size: 100}
    models:
      VAE: {weight: 0.001, weights: [0.0001, 0.0003, 0.001, 0.003, 0.01]}
      HEBAE: {weight: 0.001, weights: [0.0001, 0.0003, 0.001, 0.003, 0.01]}
      HEBAE-diagonal: {weight: 0.001}
      WAE:
        weight: 100
        weights: [10, 30, 100, 300]
        reconstruction: {name: squared_error, reduction: sum, factor: 0.05}
    mutual_information: {sets: 20}
    panels: {interpolations: [[0, 1], [2, 3], [4, 5]], end_points: image, samples: [4, 5]}
    fid: {features: classifier, n_generated: 1000, n_reference: 800}
figures: {fig1b: toyfaces, fig2b: toyfaces, fig2d: toyfaces, fig3: toyfaces}
"""
DRAWN = [figure for text in (DOCUMENT, FACES) for figure in yaml.safe_load(text)["figures"]]
P = 64 * 64 * 3  # values of a toy face
MEASURE_OF_CODE = {"vae": 0.4, "hebae": 0.8, "wae_mmd": 1.0}


# Experiments and tables


def experiment(dataset: str = "digits", **changes) -> Experiment:
    """Like config/demo.yaml or config/mnist.yaml, with fields of the dataset changed."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    document = yaml.safe_load(FACES if dataset == "toyfaces" else DOCUMENT)
    if dataset == "mnist":
        fields = document["datasets"].pop("digits")
        fields |= {
            "title": "MNIST",
            "latent_dims": [8, 10, 16],
            "main_latent_dim": 10,
            "weight_seeds": [0],
        }
        fields["training"]["epochs"] = 100
        document |= {
            "experiment": "mnist",
            "datasets": {"mnist": fields},
            "figures": dict.fromkeys(document["figures"], "mnist"),
        }
    made = parse(document, schema).experiment
    data = dataclasses.replace(made.datasets[dataset], **changes)
    return dataclasses.replace(made, datasets={dataset: data})


def stream(*key: object) -> np.random.Generator:
    return np.random.default_rng(list(repr(key).encode()))


def bound(run, epoch: np.ndarray | int) -> np.ndarray:
    """The paper’s bound of a run: higher for HEBAE and more dimensions, low in early epochs."""
    weight = run.lam
    level = {"mnist": -74, "digits": -16, "toyfaces": -30}[run.dataset]
    if run.objective == "vae":
        level = level * 1.33 * (1 + 0.12 * np.log(weight) ** 2)
    else:
        level = level * (1 + 0.012 * np.log(weight) ** 2)
    level *= 1 + 1.2 / run.latent_dim
    return level + 0.6 * level * np.asarray(epoch) ** -1.1


def table_rows(name: str, experiment: Experiment):
    """Rows of one table, as the workflow would collect them."""
    if name == "elbo_by_weight":
        runs = experiment.runs()
    elif name == "fid":
        runs = list(experiment.fid_runs())
    elif name == "covariance":
        runs = [run for data in experiment.datasets for run in experiment.main_runs(data)]
    else:
        runs = list(experiment.default_runs())
    for run in runs:
        random = stream(name, run.path)
        has_bound = OBJECTIVES[run.objective].bound
        d, epochs = run.latent_dim, run.training.epochs
        if name == "elbo_by_epoch":
            for split, better in (("train", 0.5), ("test", 0.0)):
                values = bound(run, np.arange(1, epochs + 1)) + better + random.normal(0, 0.25)
                values += random.normal(0, 0.08, epochs)
                for epoch, value in enumerate(values, 1):
                    yield run.identity | {
                        "epoch": epoch,
                        "split": split,
                        "reconstruction": -0.9 * value,
                        "regulariser": -0.1 * value,
                        "elbo_paper": value if has_bound else None,
                        "elbo": value - 20 if has_bound else None,
                        "seconds": 1.5,
                    }
        elif name == "elbo_by_weight":
            value = bound(run, epochs) + random.normal(0, 0.3)
            yield run.identity | {
                "elbo_paper": value if has_bound else None,
                "elbo": value - 20 if has_bound else None,
                "reconstruction": -0.9 * value,
                "regulariser": -0.1 * value,
            }
        elif name == "covariance":
            spread = {"vae": 0.25, "hebae": 0.02, "wae_mmd": 0.3}[run.objective]
            root = np.eye(d) + spread * random.normal(size=(d, d)) / np.sqrt(d) * 2
            if run.objective == "vae":
                root[: max(1, d // 5)] *= 0.01
            for which, extra in (("mean", 0.0), ("sample", 0.3)):
                covariance = root @ root.T + extra * np.eye(d)
                scale = np.sqrt(np.diag(covariance))
                for i, j in np.ndindex(d, d):
                    yield run.identity | {
                        "which": which,
                        "i": i,
                        "j": j,
                        "covariance": covariance[i, j],
                        "correlation": covariance[i, j] / scale[i] / scale[j],
                    }
        elif name == "mutual_information":
            level = MEASURE_OF_CODE[run.objective] + random.normal(0, 0.02)
            protocol = experiment.datasets[run.dataset].mutual_information.protocol
            for dimension in range(d):
                mic = np.clip(level + random.normal(0, 0.05), 0, 1)
                yield run.identity | {
                    "protocol": protocol,
                    "dimension": dimension,
                    "mic": mic,
                    "tic": 0.6 * mic**2,
                }
        elif name == "fid":
            yield run.identity | fid_row(run, experiment.datasets[run.dataset].fid, random)


def fid_row(run, fid, random: np.random.Generator) -> dict[str, object]:
    """A distance that is least near λ = 10⁻³ on the common scale."""
    inception = fid.features == "inception"
    sums = run.reconstruction_parameters.get("reduction") == "sum"
    common = run.lam / (0.05 * P if sums else 1)
    away = np.log10(common / 1e-3) ** 2
    least, slope = {"vae": (63, 0.5), "hebae": (48, 0.05), "wae_mmd": (55, 0.2)}[run.objective]
    return {
        "n_generated": fid.n_generated,
        "n_reference": fid.n_reference,
        "reference": fid.reference,
        "features": "inception" if inception else f"classifier of {run.dataset}",
        "fid": least * (1 + slope * away) * random.uniform(0.95, 1.05),
        "common_weight": common,
        "n_features": 2048 if inception else 64,
        "accuracy": None if inception else 0.914,
        "warning": "rank-deficient: 1000 generated images < 2048 features" if inception else None,
    }


def write_results(folder: Path, experiment: Experiment, size: int = 8, channels: int = 1) -> Path:
    """A results directory with every table, and the images of the main runs."""
    for name in sorted({name for figure in experiment.figures for name in FIGURES[figure].tables}):
        files.write_csv(folder / "tables" / f"{name}.csv", table_rows(name, experiment))
    for dataset, data in experiment.datasets.items():
        lines, steps = len(data.panels.interpolations), data.panels.steps
        for run in experiment.main_runs(dataset):
            shape = (size, size, channels)
            path = folder / "runs" / run.path / "images.npz"
            path.parent.mkdir(parents=True)
            originals = blobs("originals", 6, *shape)
            ends = originals[np.arange(2 * lines) % 6].reshape(lines, 2, 1, *shape).astype(float)
            t = np.linspace(0, 1, steps).reshape(steps, 1, 1, 1)
            np.savez_compressed(
                path,
                originals=originals,
                reconstructions=(0.8 * originals + 20).astype(np.uint8),
                interpolations=((1 - t) * ends[:, 0] + t * ends[:, 1]).astype(np.uint8),
                samples=blobs(run.model, int(np.prod(data.panels.samples)), *shape).reshape(
                    *data.panels.samples, *shape
                ),
            )
    return folder


def blobs(key: str, n: int, height: int, width: int, channels: int) -> np.ndarray:
    """Images of a stroke each, (n, height, width, channels) uint8."""
    random = stream(key)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    phase, tilt = random.uniform(-2, 2, (2, n, 1, 1))
    stroke = np.exp(-(((x - 0.5 * np.sin(3 * y + phase) - 0.2 * tilt * y) / 0.25) ** 2))
    ink = random.uniform(0.6, 1, (n, 1, 1, channels))
    return (255 * stroke[..., None] * (np.abs(y) < 0.8)[..., None] * ink).astype(np.uint8)


def draw(name: str, results: Path, experiment: Experiment) -> Figure:
    return draw_figure(name, experiment, results)


@pytest.fixture(scope="module")
def demo() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def faces() -> Experiment:
    return experiment("toyfaces")


@pytest.fixture(scope="module")
def results(tmp_path_factory, demo, faces) -> Path:
    """Of the demo; those of the faces lie in the folder `faces` in it."""
    folder = write_results(tmp_path_factory.mktemp("results"), demo)
    write_results(folder / "faces", faces, 64, 3)
    return folder


@pytest.fixture(scope="module")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}


Drawn = dict[str, tuple[Path, Experiment]]


@pytest.fixture(scope="module")
def drawn(results, demo, faces) -> Drawn:
    """Every figure's results and experiment."""
    of_demo = dict.fromkeys(demo.figures, (results, demo))
    return of_demo | dict.fromkeys(faces.figures, (results / "faces", faces))


@pytest.fixture(scope="module")
def figures(drawn) -> dict[str, Figure]:
    return {name: draw(name, *drawn[name]) for name in drawn}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, drawn) -> Path:
    """The files that commands write."""
    folder = tmp_path_factory.mktemp("saved") / "figures"
    calls = []
    for name, (results, made) in drawn.items():
        outputs = [folder / f"{name}.{kind}" for kind in ("pdf", "png")]
        calls.append(arguments(name, made, results, *outputs))
    done = command(*calls)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def by_label(ax) -> dict[str, object]:
    return {line.get_label(): line for line in ax.lines}


# What is drawn is what the tables hold


@pytest.mark.parametrize("column, latent_dim", list(enumerate([2, 4, 8])))
def test_fig1a_by_epoch(figures, tables, column, latent_dim):
    ax = figures["fig1a"].axes[column]
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
def test_fig1a_by_weight(figures, tables, column, latent_dim):
    ax = figures["fig1a"].axes[3 + column]
    assert ax.get_xscale() == "log"
    assert [c.get_label() for c in ax.containers] == ["VAE", "HEBAE"]
    for container in ax.containers:
        table = tables["elbo_by_weight"].query(f"latent_dim == {latent_dim}")
        table = table[table.model == container.get_label()]
        seeds = table.groupby("weight").elbo_paper
        line, _, (bars,) = container.lines
        assert list(line.get_xdata()) == [0.1, 0.5, 1, 2, 5, 10]
        np.testing.assert_allclose(line.get_ydata(orig=False), seeds.mean())
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, seeds.agg(["min", "max"]))


def test_fig1a_weights_of_fewer_latent_dimensions(tmp_path):
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
        np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(orig=False), expected)
    for ax, labels in zip((*top, *bottom), (True, False, False, True, False), strict=True):
        assert any(label.get_visible() for label in ax.get_yticklabels()) == labels


def test_a_model_trained_at_one_latent_dimension_is_drawn_there_alone(tmp_path):
    made = experiment("mnist")
    models = dict(made.datasets["mnist"].models)
    # the first of the models too: panels stay in the order of the config
    for model in ("VAE", "HEBAE-diagonal"):
        models[model] = dataclasses.replace(models[model], latent_dims=(10,))
    made = experiment("mnist", models=models)
    results = write_results(tmp_path, made)
    figure = draw("fig1a", results, made)
    lines = {ax.get_title(): len(ax.get_lines()) for ax in figure.axes[:3]}
    assert lines == {"latent dimension 8": 1, "latent dimension 10": 3, "latent dimension 16": 1}
    bottom = figure.axes[3:]
    assert [len(ax.containers) for ax in bottom] == [1, 2, 1]
    draw("fig2c", results, made)


def test_fig1a_converged_region_fills_the_axis(figures, tables):
    """No line of the later epochs is cut off, and the first ones do not set the limits."""
    low, high = figures["fig1a"].axes[0].get_ylim()
    values = tables["elbo_by_epoch"].query("split == 'test'")
    late = values[values.epoch > 6].elbo_paper
    assert low < late.min() and late.max() < high
    assert values.elbo_paper.min() < low
    assert late.max() - late.min() > 0.5 * (high - low)
    assert "cut off" in figures["fig1a"].get_supxlabel()


def test_fig1a_a_diverged_seed_leaves_a_gap(results, demo):
    read = common.read_tables(results, FIGURES["fig1a"].tables)
    table = read["elbo_by_epoch"]
    gone = (table.model == "VAE") & (table.seed == 1) & (table.epoch > 50)
    gone |= (table.model == "HEBAE") & (table.latent_dim == 8)
    table.loc[gone, "elbo_paper"] = np.inf
    figure = fig1a.draw(read, demo, "digits")
    line = by_label(figure.axes[0])["VAE"].get_ydata()
    assert np.isfinite(line).tolist() == [True] * 50 + [False] * 10
    assert not np.isfinite(by_label(figure.axes[2])["HEBAE"].get_ydata()).any()
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def heat_maps(figure: Figure) -> list[list]:
    images = [ax.images[0] for ax in figure.axes if ax.images]
    return [images[: len(images) // 2], images[len(images) // 2 :]]


@pytest.mark.parametrize("name", ["fig2a", "fig2b"])
def test_fig2_shows_the_matrices_a_scale_a_row(name, figures, drawn):
    folder, made = drawn[name]
    dataset = made.figures[name]
    d = made.datasets[dataset].main_latent_dim
    table = pd.read_csv(folder / "tables/covariance.csv").query("which == 'mean'")
    models = made.datasets[dataset].models
    grid = heat_maps(figures[name])
    bars = [ax for ax in figures[name].axes if not ax.images]
    for images, bar, quantity in zip(grid, bars, ("covariance", "correlation"), strict=True):
        for image, model in zip(images, models, strict=True):
            expected = np.empty((d, d))
            rows = table[(table.model == model) & (table.latent_dim == d)]
            for row in rows[rows.seed == 0].itertuples():
                expected[row.i, row.j] = getattr(row, quantity)
            np.testing.assert_allclose(image.get_array(), expected)
            assert not np.ma.is_masked(image.get_array())
            assert image.get_interpolation() == "nearest"
        limits = {image.get_clim() for image in images}
        assert len(limits) == 1
        low, high = limits.pop()
        assert low == -high and bar.get_ylim() == (low, high)
        assert bar.get_ylabel() == quantity == images[0].axes.get_ylabel()


def fig2a_with(results, demo, off: float, factor: float) -> Figure:
    """Of matrices with `off` off the diagonal of the correlation, `factor` times the covariance."""
    read = common.read_tables(results, FIGURES["fig2a"].tables)
    table = read["covariance"]
    table["correlation"] = np.where(table.i == table.j, 1, off)
    table["covariance"] = factor * (table.i == table.j)
    return covariance_heatmaps.draw(read, demo, "digits")


@pytest.mark.parametrize(
    "factor, limit, extend",
    [(0.1, 1, "neither"), (1.6, 1.6, "neither"), (3, 2, "max"), (-3, 2, "min")],
)
def test_fig2a_covariance_scale(results, demo, factor, limit, extend):
    """±1 or the largest magnitude, and at most ±2: then the colour bar says so."""
    image = heat_maps(fig2a_with(results, demo, 0, factor))[0][-1]
    assert image.get_clim() == (-limit, limit)
    assert image.colorbar.extend == extend


@pytest.mark.parametrize(
    "off, limit, extend",
    [(0.02, 0.1, "max"), (0.2, 0.2, "max"), (0.6, 0.3, "max"), (-0.6, 0.3, "both")],
)
def test_fig2a_correlation_scale(results, demo, off, limit, extend):
    """For those off the diagonal, so that small ones show; the diagonal is beyond it."""
    figure = fig2a_with(results, demo, off, 1)
    image = heat_maps(figure)[1][-1]
    assert image.get_clim() == pytest.approx((-limit, limit))
    assert image.colorbar.extend == extend
    colours = image.to_rgba(image.get_array())
    assert np.abs(colours[0, 1] - image.cmap(0.5)).max() > 0.05
    text = figure.get_supxlabel().replace("\n", " ")
    assert f"(largest): VAE {abs(off)} ({abs(off)}); HEBAE" in text
    assert "Variances: VAE 1 to 1; HEBAE" in text


def test_fig2b_every_cell_is_seen(tmp_path):
    """At 64 dimensions each row of the matrix has its own rows of pixels."""
    made = experiment("toyfaces", latent_dims=(64,), main_latent_dim=64)
    random = stream("cells")
    table = pd.DataFrame(
        run.identity
        | {"which": "mean", "i": i, "j": j, "covariance": float(i == j), "correlation": value}
        for run in made.main_runs("toyfaces")
        for (i, j), value in np.ndenumerate(np.where(random.random((64, 64)) < 0.5, -1.0, 1.0))
    ).astype({"weight": float})
    figure = covariance_heatmaps.draw({"covariance": table}, made, "toyfaces")
    common.save(figure, [tmp_path / "fig2b.png"])
    pixels = matplotlib.image.imread(tmp_path / "fig2b.png")[..., :3]
    image = heat_maps(figure)[1][0]
    box = image.get_window_extent().get_points() * 300 / figure.dpi
    (x0, y0), (x1, y1) = box
    assert (x1 - x0) / 64 >= 5
    centres = (np.arange(64) + 0.5) / 64
    columns = (x0 + (x1 - x0) * centres).astype(int)
    lines = (len(pixels) - y1 + (y1 - y0) * centres).astype(int)
    red = pixels[np.ix_(lines, columns)][..., 0] > pixels[np.ix_(lines, columns)][..., 2]
    assert np.array_equal(red, image.get_array() > 0)


def test_fig2a_undefined_correlation_is_grey(results, demo):
    read = common.read_tables(results, FIGURES["fig2a"].tables)
    table = read["covariance"]
    constant = (table.model == "VAE") & ((table.i == 0) | (table.j == 0))
    table.loc[constant, ["covariance", "correlation"]] = [0.0, np.nan]
    figure = covariance_heatmaps.draw(read, demo, "digits")
    (covariance, *_), (correlation, *_) = heat_maps(figure)
    assert not np.ma.getmaskarray(covariance.get_array()).any()
    mask = np.ma.getmaskarray(correlation.get_array())
    assert mask[0].all() and mask[:, 0].all() and not mask[1:, 1:].any()
    red, green, blue, _ = correlation.cmap.get_bad()
    assert red == green == blue and 0.4 < red < 0.8
    assert "Grey: undefined" in figure.get_supxlabel()


def test_fig2c(figures, tables, demo):
    for ax, measure in zip(figures["fig2c"].axes, ("mic", "tic"), strict=True):
        assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "4", "8"]
        assert [c.get_label() for c in ax.containers] == [
            "VAE", "HEBAE", "HEBAE (diagonal)", "WAE-MMD",
        ]  # fmt: skip
        dots = [line for line in ax.lines if line.get_marker() == "."]
        for container, dot, model in zip(ax.containers, dots, demo.models, strict=True):
            table = tables["mutual_information"].query(f"model == '{model}'")
            of_runs = table.groupby(["latent_dim", "seed"])[measure].mean()
            mean = of_runs.groupby("latent_dim").mean()
            sd = of_runs.groupby("latent_dim").std(ddof=1)
            line, _, (bars,) = container.lines
            assert np.array_equal(np.round(line.get_xdata(orig=False)), [0, 1, 2])
            np.testing.assert_allclose(line.get_ydata(orig=False), mean)
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            np.testing.assert_allclose(ends, np.c_[mean - sd, mean + sd])
            np.testing.assert_allclose(dot.get_ydata(), of_runs)
    note = figures["fig2c"].get_supxlabel().replace("\n", " ")
    assert "20 indices × 50 draws" in note and "20 random sets" in note


def test_fig2d_one_latent_dimension(tmp_path):
    """Models are the categories, evenly spaced, and no legend repeats their names."""
    made = experiment("toyfaces", latent_dims=(8,), main_latent_dim=8, weight_latent_dims=(8,))
    figure = draw("fig2d", write_results(tmp_path, made), made)
    table = pd.read_csv(tmp_path / "tables/mutual_information.csv")
    assert not figure.legends
    for ax, measure in zip(figure.axes, ("mic", "tic"), strict=True):
        labels = [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()]
        assert labels == ["VAE", "HEBAE", "HEBAE (diagonal)", "WAE-MMD"]
        assert ax.get_xlabel() == "latent dimension 8"
        for container, model, tick in zip(ax.containers, made.models, ax.get_xticks(), strict=True):
            ((x, y),) = container.lines[0].get_xydata()
            assert x == tick
            assert y == pytest.approx(table[table.model == model][measure].mean())
        low, high = ax.get_xlim()
        step = np.diff(ax.get_xticks())
        np.testing.assert_allclose(step, (high - low) / 4)


# Fig. 1b


SCALES = ("weight", "common_weight")


def on_grid(results: Path) -> pd.DataFrame:
    """What Fig. 1b shows of the table: not the default runs of other latent dimensions."""
    table = pd.read_csv(results / "faces/tables/fid.csv")
    shown = table[(table.latent_dim == 16) & (table.model != "HEBAE-diagonal")]
    assert len(shown) < len(table)
    return shown


@pytest.mark.parametrize(
    "seeds, weight_seeds, said",
    [
        ((0, 1), (0, 1), "Lines: mean over 2 seeds; bands and bars: minimum to"),
        ((0, 1), (0,), "Lines: mean over 2 seeds (top), 1 seed (bottom); bands: minimum to"),
        ((0,), (0, 1), "Lines: mean over 1 seed (top), 2 seeds (bottom); bars: minimum to"),
        ((0,), (0,), "Lines: 1 seed."),
    ],
)
def test_fig1a_says_whose_spread_is_drawn(tmp_path, seeds, weight_seeds, said):
    dims = {"latent_dims": (8,), "weight_latent_dims": (8,), "main_latent_dim": 8}
    made = experiment(seeds=seeds, weight_seeds=weight_seeds, **dims)
    assert said in note_of(draw("fig1a", write_results(tmp_path, made), made))


@pytest.mark.parametrize("place, scale", list(enumerate(SCALES)))
def test_fig1b(figures, results, faces, place, scale):
    ax = figures["fig1b"].axes[place]
    table = on_grid(results)
    assert ax.get_xscale() == "log"
    shown = [c for c in ax.containers if not c.get_label().startswith("_")]
    assert [c.get_label() for c in shown] == ["VAE", "HEBAE", "WAE"]
    for container in shown:
        model = container.get_label()
        seeds = table[table.model == model].groupby(scale).fid
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(line.get_xdata(orig=False), list(seeds.groups))
        np.testing.assert_allclose(line.get_ydata(orig=False), seeds.mean())
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, seeds.agg(["min", "max"]))
        style = common.look(faces, model)
        assert (line.get_color(), line.get_marker()) == (style.color, style.marker)
    assert ax.get_ylim() == figures["fig1b"].axes[0].get_ylim()


@pytest.mark.parametrize("place, scale", list(enumerate(SCALES)))
def test_fig1b_default_weights_are_filled(figures, results, place, scale):
    table = on_grid(results)
    containers = {c.get_label(): c.lines[0] for c in figures["fig1b"].axes[place].containers}
    for model, default in {"VAE": 0.001, "HEBAE": 0.001, "WAE": 100}.items():
        filled, line = containers[f"_{model}, default"], containers[model]
        assert line.get_markerfacecolor() == "white"
        assert filled.get_markerfacecolor() == filled.get_color() == line.get_color()
        at_default = table[(table.model == model) & (table.weight == default)]
        expected = [[at_default[scale].iloc[0], at_default.fid.mean()]]
        np.testing.assert_allclose(filled.get_xydata(), expected)
    assert "Filled marks: default λ." in note_of(figures["fig1b"])


def test_fig1b_upper_axis_is_the_decoder_variance(figures):
    """Unit variance is λ = 2/P, 1.63e-4, and λ = .001 a variance of 6.1, on the common scale."""
    figure = figures["fig1b"]
    figure.draw_without_rendering()
    left, right = figure.axes
    assert not left.child_axes
    (upper,) = right.child_axes
    assert upper.get_xscale() == "functionlog"
    np.testing.assert_allclose(upper.get_xlim(), np.array(right.get_xlim()) * P / 2)

    def across(ax, value):
        return ax.transData.transform((value, 1))[0]

    assert across(upper, 1) == pytest.approx(across(right, 2 / P))
    assert across(upper, 6.144) == pytest.approx(across(right, 0.001))
    assert round(2 / P, 6) == 1.63e-4
    assert upper.get_xlabel() == "decoder variance σ² = P·λ/2"
    assert "P = 12,288" in note_of(figure)


def note_of(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def fig1b(faces, change=lambda table: None, **changes) -> Figure:
    """With changes to the dataset, and then to the table that is made for it."""
    data = dataclasses.replace(faces.datasets["toyfaces"], **changes)
    made = dataclasses.replace(faces, datasets={"toyfaces": data})
    table = pd.DataFrame(table_rows("fid", made if data.fid else faces))
    table = table.astype({"weight": float})
    change(table)
    return draw_fig1b({"fid": table}, made, "toyfaces")


def inception(faces, **changes):
    return dataclasses.replace(faces.datasets["toyfaces"].fid, features="inception", **changes)


def test_fig1b_says_fid_of_inception_alone(figures, faces):
    """Distances in a classifier's features must not pass for FIDs anywhere in the figure."""
    assert not any("FID" in text.get_text() for text in texts(figures["fig1b"]))
    label = figures["fig1b"].axes[0].get_ylabel()
    assert label == "Fréchet distance\nin features of a classifier of toyfaces"
    figure = fig1b(faces, fid=inception(faces))
    assert figure.axes[0].get_ylabel() == "FID (Inception)"
    assert "classifier" not in note_of(figure)


def test_fig1b_note(figures, faces):
    text = note_of(figures["fig1b"])
    for part in (
        "Toy faces, latent dimension 16.",
        "1,000 generated images, clipped and rounded to 8 bits, uncompressed, against 800 8-bit "
        "images of the test split.",
        "a classifier of toyfaces (mean test accuracy 0.914)",
        "Mean over 2 seeds; bars: minimum to maximum.",
        "Without a grid of λ: HEBAE (diagonal).",
        "squared error as mean (VAE, HEBAE); 0.05 · sum (WAE-MMD), between which λ does not "
        "compare",
    ):
        assert part in text
    assert "Warning" not in text
    fid = inception(faces, n_generated=10_000, reference="train")
    text = note_of(fig1b(faces, fid=fid, weight_seeds=(0,)))
    for part in (
        "10,000 generated images",
        "of the train split",
        "resized to 299×299 by pytorch-fid, bilinear without antialiasing",
        "One seed.",
    ):
        assert part in text
    assert text.count("Warning: rank-deficient: 1000 generated images < 2048 features.") == 1


def test_fig1b_each_warning_once(faces):
    def warn(table):
        table.loc[table.model == "VAE", "warning"] = "one thing"
        table.loc[table.model == "WAE", "warning"] = "another"

    text = note_of(fig1b(faces, warn))
    assert text.count("Warning") == 2 and "Warning: one thing. Warning: another." in text


@pytest.mark.parametrize("factor, scale", [(8, "linear"), (60, "log")])
def test_fig1b_wide_ranges_have_a_log_axis(faces, factor, scale):
    def stretch(table):
        table["fid"] = 50.0
        table.loc[table.model == "VAE", "fid"] *= factor

    assert {ax.get_yscale() for ax in fig1b(faces, stretch).axes} == {scale}


def test_fig1b_without_a_grid(faces):
    """Points at the default λ, a row a latent dimension."""
    figure = fig1b(faces, weight_latent_dims=())
    assert len(figure.axes) == 4
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == [
        "latent dimension 8",
        "latent dimension 16",
    ]
    assert figure.get_supylabel() == "Fréchet distance\nin features of a classifier of toyfaces"
    for ax in figure.axes:
        assert len([c for c in ax.containers if not c.get_label().startswith("_")]) == 4
        assert all(len(line.get_xdata()) == 1 for c in ax.containers for line in c.lines[:1])
    assert "Each model at its default λ." in note_of(figure)
    assert [bool(ax.child_axes) for ax in figure.axes] == [False, True, False, False]


def test_fig1b_a_variance_only_of_squared_errors(faces):
    """Elsewhere no Gaussian variance belongs to a λ."""
    models = faces.datasets["toyfaces"].models
    other = dataclasses.replace(models["VAE"], reconstruction="bernoulli")
    figure = fig1b(faces, models={**models, "VAE": other})
    assert not figure.axes[1].child_axes
    assert "σ²" not in note_of(figure)


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("features", "inception", "rows with different features do not compare: classifier of"),
        ("features", None, "rows with different features do not compare: classifier of"),
        ("n_generated", 5, "rows with different n_generated do not compare"),
        ("n_reference", 5, "rows with different n_reference do not compare"),
    ],
)
def test_fig1b_unlike_distances(faces, column, value, message):
    def change(table):
        table.loc[3, column] = value

    with pytest.raises(UserError, match=message) as caught:
        fig1b(faces, change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.replace("common_weight", "x"), "no column 'common_weight'"),
        (lambda t: t.replace("features,fid", "x,fid"), "no column 'features'"),
        (lambda t: t.replace("warning", "x"), "no column 'warning'"),
        (lambda t: t[: t.rindex("toyfaces,WAE")], "toyfaces/WAE/z16/w300/s1: 0 rows, expected 1"),
        (lambda t: re.sub(r"classifier of toyfaces,[0-9.]+", "classifier of toyfaces,", t),
         "no finite fid of HEBAE"),
        (lambda t: t.replace("classifier of toyfaces", ""), "column 'features' is empty"),
    ],
)  # fmt: skip
def test_fig1b_wrong_tables(results, faces, tmp_path, change, message):
    text = (results / "faces/tables/fid.csv").read_text()
    folder = broken(results / "faces", tmp_path, "fid", change(text))
    with pytest.raises(UserError) as caught:
        draw("fig1b", folder, faces)
    assert str(caught.value) == f"{folder / 'tables/fid.csv'}: {message}"


def test_fig1b_without_a_fid_block(faces):
    with pytest.raises(UserError, match="'toyfaces' has no fid block"):
        fig1b(faces, fid=None)


def test_appendix_c(figures, results, demo):
    axes = figures["appendix_c"].axes
    assert len(axes) == 4 * 3
    for place, run in enumerate(demo.main_runs("digits")):
        saved = np.load(results / "runs" / run.path / "images.npz")
        steps, pairs, samples = (ax.images[0].get_array() for ax in axes[3 * place :][:3])
        assert np.array_equal(steps[9:17, 18:26], saved["interpolations"][1, 2, ..., 0])
        assert np.array_equal(pairs[:8, 9:17], saved["originals"][1, ..., 0])
        assert np.array_equal(pairs[9:, 9:17], saved["reconstructions"][1, ..., 0])
        assert np.array_equal(samples[-8:, -8:], saved["samples"][-1, -1, ..., 0])
        assert (steps[8] == 255).all() and (steps[:, 8] == 255).all()
    assert {ax.images[0].cmap.name for ax in axes} == {"gray"}
    assert {ax.images[0].get_clim() for ax in axes} == {(0, 255)}


def test_fig3(figures, results, faces):
    """Strips of three parts in which all images have one size; models below each other."""
    figure = figures["fig3"]
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    assert len(figure.axes) == 4 * 3
    for place, run in enumerate(faces.main_runs("toyfaces")):
        saved = np.load(results / "faces/runs" / run.path / "images.npz")
        axes = figure.axes[3 * place :][:3]
        steps, pairs, samples = (ax.images[0].get_array() for ax in axes)
        assert np.array_equal(steps[69:133, 2 * 69 : 2 * 69 + 64], saved["interpolations"][1, 2])
        assert np.array_equal(pairs[:64, 69:133], saved["originals"][1])
        assert np.array_equal(pairs[69:, 69:133], saved["reconstructions"][1])
        assert np.array_equal(samples[-64:, -64:], saved["samples"][-1, -1])
        boxes = [ax.get_position() for ax in axes]
        assert len({round(box.y1, 6) for box in boxes}) == 1
        assert boxes[0].x1 < boxes[1].x0 and boxes[1].x1 < boxes[2].x0
        for ax, box in zip(axes, boxes, strict=True):
            n_rows, n_columns = ax.images[0].get_array().shape[:2]
            side = box.width * width / n_columns, box.height * height / n_rows
            assert side == pytest.approx((side[0], side[0]))
            assert 64 * side[0] > 0.25  # inches
    tops = [ax.get_position().y1 for ax in figure.axes[::3]]
    assert tops == sorted(tops, reverse=True)
    assert width <= 6.9 + 1e-9 and height < 9


def test_mosaic_in_colour():
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 24, 24, 3), dtype=np.uint8)
    whole = image_panels.mosaic(images)
    assert whole.shape == (2 * 26 - 2, 3 * 26 - 2, 3)
    assert np.array_equal(whole[26:50, 52:76], images[1, 2])


# Labels, looks, and room for them


def texts(figure: Figure) -> list[Text]:
    """The texts that drawing the figure draws, which tick labels beyond the limits are not."""
    drawn = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: drawn.setdefault(id(text), text))
        figure.draw_without_rendering()
    return [text for text in drawn.values() if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize(
    "name, expected",
    {
        "fig1a": (
            "epoch|weight λ in training|(nats)|paper’s bound|latent dimension 2|latent dimension 8|"
            "mean over 3 seeds|minimum to maximum|KL divergence of the aggregated posterior"
        ),
        "fig2a": ("covariance|correlation|latent variable|WAE-MMD|latent dimension 8|seed 0"),
        "fig2c": "average MIC|average TIC|latent dimension|± 1 standard deviation|WAE-MMD",
        "appendix_c": "interpolations|reconstructions (originals above)|samples|WAE-MMD",
        "fig1b": "each model’s own scale|on the common scale|decoder variance|WAE-MMD",
        "fig2b": "covariance|correlation|latent variable|WAE-MMD|latent dimension 16|seed 0",
        "fig2d": "average MIC|average TIC|latent dimension|± 1 standard deviation|WAE-MMD",
        "fig3": "interpolations|reconstructions (originals above)|samples|latent dimension 16",
    }.items(),
)
def test_labels(figures, name, expected):
    found = "\n".join(text.get_text() for text in texts(figures[name]))
    assert ("Toy faces" if name in FACES_FIGURES else "Digits 8×8") in found
    for text in ("VAE", "HEBAE", "HEBAE (diagonal)", *expected.split("|")):
        assert text in found or text in found.replace("\n", " "), text


FACES_FIGURES = ("fig1b", "fig2b", "fig2d", "fig3")


def variants() -> dict[str, Experiment]:
    made = {
        "demo": experiment(),
        "mnist": experiment("mnist"),
        "one": experiment(seeds=(0,), weight_seeds=(0,), latent_dims=(8,), weight_latent_dims=(8,)),
        "d64": experiment("mnist", latent_dims=(64,), weight_latent_dims=(64,), main_latent_dim=64),
        "no_grid": experiment("mnist", weight_latent_dims=()),
        "one_no_grid": experiment("mnist", seeds=(0,), weight_latent_dims=()),
    }
    of_demo = made["demo"].datasets["digits"]
    alone = dataclasses.replace(of_demo, models={"HEBAE": of_demo.models["HEBAE"]})
    training = dataclasses.replace(alone.models["HEBAE"].training, epochs=1)
    made["tiny"] = experiment(
        models={n: dataclasses.replace(m, training=training) for n, m in of_demo.models.items()},
        latent_dims=(1,),
        weight_latent_dims=(1,),
        main_latent_dim=1,
        panels=dataclasses.replace(alone.panels, interpolations=((7, 3),), samples=(1, 2)),
    )
    models = {f"M{k}": made["demo"].models["HEBAE-diagonal"] for k in range(6)}
    models = {name: dataclasses.replace(model, name=name) for name, model in models.items()}
    many = dataclasses.replace(alone, models=dict.fromkeys(models, alone.models["HEBAE"]))
    made["six_models"] = dataclasses.replace(made["demo"], models=models, datasets={"digits": many})
    made["one_model"] = dataclasses.replace(made["demo"], datasets={"digits": alone})
    faces = experiment("toyfaces")
    made["faces"] = faces
    made["faces_64"] = experiment(
        "toyfaces", latent_dims=(64,), weight_latent_dims=(64,), main_latent_dim=64
    )
    three = {
        name: model for name, model in faces.datasets["toyfaces"].models.items() if "-" not in name
    }
    made["faces_three"] = experiment(
        "toyfaces", models=three, fid=inception(faces), weight_latent_dims=(8, 16)
    )
    made["faces_no_grid"] = experiment("toyfaces", weight_latent_dims=(), seeds=(0,))
    alike = {"no_grid": "fig1a", "one_no_grid": "fig1a", "faces_no_grid": "fig1b"}
    for name, figure in alike.items():  # the other figures are another variant's
        only = {figure: made[name].figures[figure]}
        made[name] = dataclasses.replace(made[name], figures=only)
    return made


@pytest.mark.parametrize("variant", variants())
def test_every_text_fits(tmp_path, variant):
    """Inside the figure, at least 7 pt, and no two texts over each other."""
    made = variants()[variant]
    write_results(tmp_path, made)
    for name in made.figures:
        figure = draw(name, tmp_path, made)
        assert figure.get_figwidth() <= 6.9 + 1e-9
        box, boxes = figure.bbox, []
        for text in texts(figure):
            extent = text.get_window_extent()
            assert text.get_fontsize() >= 7, (name, text)
            assert box.x0 - 0.5 <= extent.x0 and extent.x1 <= box.x1 + 0.5, (name, text, extent)
            assert box.y0 - 0.5 <= extent.y0 and extent.y1 <= box.y1 + 0.5, (name, text, extent)
            boxes.append((extent.padded(-0.5), text))
        for k, (extent, text) in enumerate(boxes):
            for other, text2 in boxes[:k]:
                assert not extent.overlaps(other), (name, text.get_text(), text2.get_text())


def test_a_model_looks_the_same_everywhere(figures, demo):
    looks = [common.look(demo, model) for model in demo.models]
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == 4
    assert len({(look.linestyle, look.linewidth) for look in looks}) >= 3
    by_epoch, by_weight = figures["fig1a"].axes[0], figures["fig1a"].axes[3]
    for model in ("VAE", "HEBAE"):
        look = common.look(demo, model)
        line = by_label(by_epoch)[model]
        points = next(c for c in by_weight.containers if c.get_label() == model).lines[0]
        marks = next(c for c in figures["fig2c"].axes[0].containers if c.get_label() == model)
        for drawn in (line, points, marks.lines[0]):
            assert (drawn.get_color(), drawn.get_marker()) == (look.color, look.marker)


def test_a_users_style_changes_nothing(results, demo):
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        figure = draw("fig2c", results, demo)
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)
    assert max(text.get_fontsize() for text in texts(figure)) == 8


# Files


@pytest.mark.parametrize("name", DRAWN)
def test_files(name, saved, drawn, tmp_path):
    """The bytes are those that another process writes, which imports no torch."""
    figure = draw(name, *drawn[name])
    width, height = figure.get_size_inches()
    paths = [tmp_path / f"new/{name}.{kind}" for kind in ("pdf", "png")]
    common.save(figure, paths[::-1])  # their order does not matter
    for path in paths:
        assert path.read_bytes() == (saved / path.name).read_bytes()
    pdf = paths[0].read_bytes()
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    pixels = matplotlib.image.imread(paths[1])
    assert pixels.shape == (int(300 * height), int(300 * width), 4)
    assert len(np.unique(pixels[..., :3])) > 20 and pixels[..., 3].min() == 1


def arguments(name: str, experiment: Experiment, results: Path, *outputs: Path) -> list[str]:
    described = experiment.to_json()
    given = ["--experiment", described, "--results", results, "--output", *outputs]
    return ["hebae.figures.draw", "--figure", name, *map(str, given)]


def command(*calls: list[str]):
    """Run figures' commands, all in one process: importing takes longer than drawing."""
    code = """
import json, runpy, sys
for sys.argv in json.load(sys.stdin):
    runpy.run_module(sys.argv[0], run_name="__main__")
assert not {"torch", "matplotlib.pyplot", "seaborn"} & set(sys.modules)
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def test_commands_write_nothing_else(saved):
    expected = sorted(f"{name}.{kind}" for name in DRAWN for kind in ("pdf", "png"))
    assert sorted(path.name for path in saved.iterdir()) == expected


def test_command_reports_in_one_line(demo, tmp_path):
    done = command(arguments("fig2a", demo, tmp_path, tmp_path / "fig2a.pdf"))
    path = tmp_path / "tables/covariance.csv"
    assert (done.returncode, done.stderr) == (1, f"error: {path}: no such table\n")
    assert not (tmp_path / "fig2a.pdf").exists()
    done = command(arguments("fig2a", demo, tmp_path, tmp_path / "fig2a.svg"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and ".svg" in done.stderr


# Errors


def broken(results: Path, tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / "tables").mkdir()
    for path in (results / "tables").iterdir():
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tables" / f"{name}.csv").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "figure, name, change, message",
    [
        ("fig1a", "elbo_by_epoch", lambda t: "", "the table is empty"),
        ("fig1a", "elbo_by_epoch", lambda t: t.splitlines()[0] + "\n", "the table is empty"),
        ("fig1a", "elbo_by_epoch", lambda t: t.replace("elbo_p", "x"), "no column 'elbo_paper'"),
        ("fig1a", "elbo_by_weight", lambda t: t.replace("seed", "s"), "no column 'seed'"),
        ("fig1a", "elbo_by_epoch", lambda t: t.replace("test", "valid"),
         "digits/VAE/z2/w1/s0, split test: 0 rows, expected 1"),
        ("fig1a", "elbo_by_epoch", lambda t: t[: t.rindex("digits,HEBAE-")], "expected 60"),
        ("fig1a", "elbo_by_weight", lambda t: t.replace("digits,HEBAE,4,0.5,", "digits,HEBAE,4,7,"),
         "digits/HEBAE/z4/w0.5/s0: 0 rows, expected 1"),
        ("fig1a", "elbo_by_weight", lambda t: t + t.splitlines()[1] + "\n",
         "digits/VAE/z2/w1/s0: 2 rows, expected 1"),
        ("fig2a", "covariance", lambda t: t.replace("mean,0,0", "sample,0,0"),
         "digits/VAE/z8/w1/s0, which mean: 63 rows, expected 64"),
        ("fig2a", "covariance", lambda t: t.replace("covariance", "x"), "no column 'covariance'"),
        ("fig2a", "covariance", lambda t: t.replace("mean,0,1", "mean,0,0"), "i 0, j 0"),
        ("fig2c", "mutual_information", lambda t: t.replace("indices_draws", "other"),
         "digits/VAE/z2/w1/s0, protocol indices_draws: 0 rows, expected 2"),
        ("fig2c", "mutual_information", lambda t: t.replace(",8,", ",eight,"), "not a table"),
        ("fig2c", "mutual_information", lambda t: t.replace("0.", "x."), "'mic'"),
        ("fig2c", "mutual_information", lambda t: re.sub(r"[0-9.]+,[0-9.]+\n", "nan,1\n", t),
         "no finite mic of HEBAE"),
    ],
)  # fmt: skip
def test_wrong_tables(results, demo, tmp_path, figure, name, change, message):
    text = (results / "tables" / f"{name}.csv").read_text()
    folder = broken(results, tmp_path, name, change(text))
    with pytest.raises(UserError) as caught:
        draw(figure, folder, demo)
    assert "\n" not in str(caught.value)
    assert str(folder / "tables" / f"{name}.csv") in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", ["missing", "text", "lacks", "cut", "shape", "flat", "float"])
def test_wrong_images(results, demo, tmp_path, content):
    run = demo.main_runs("digits")[0]
    for other in demo.main_runs("digits"):
        path = tmp_path / "runs" / other.path / "images.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes((results / "runs" / other.path / "images.npz").read_bytes())
    path = tmp_path / "runs" / run.path / "images.npz"
    arrays = dict(np.load(path))
    if content == "missing":
        path.unlink()
    elif content == "text":
        path.write_text("not images")
    elif content == "lacks":
        np.savez(path, **{name: arrays[name] for name in arrays if name != "samples"})
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "shape":
        np.savez(path, **{**arrays, "reconstructions": arrays["reconstructions"][:5]})
    elif content == "float":
        np.savez(path, **{**arrays, "samples": arrays["samples"] / 255})
    elif content == "flat":
        np.savez(path, **{**arrays, "samples": arrays["samples"].reshape(100, 8, 8, 1)})
    with pytest.raises(UserError) as caught:
        draw("appendix_c", tmp_path, demo)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_bound_to_draw(results, demo):
    data = demo.datasets["digits"]
    only = dataclasses.replace(data, models={"WAE": data.models["WAE"]})
    with pytest.raises(UserError, match="no model of digits has a bound"):
        draw("fig1a", results, dataclasses.replace(demo, datasets={"digits": only}))
