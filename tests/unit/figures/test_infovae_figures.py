"""The InfoVAE figures, drawn from tables and images made up here."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from tests.unit.figures.test_figures import arguments, blobs, command, stream, texts

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.protocols import Diagnostics
from hebae.figures import (
    common,
    image_panels,
    infovae_decoder,
    infovae_diagnostics,
    infovae_samples,
)
from hebae.figures.draw import draw as draw_figure

ROOT = Path(__file__).parents[3]
DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  ELBO: {objective: vae, title: VAE (ELBO)}
  MMD: {objective: infovae, title: InfoVAE (MMD)}
  Adversarial: {objective: infovae, divergence: {name: adversarial}, title: InfoVAE (adversarial)}
  Stein: {objective: infovae, divergence: {name: stein}, title: InfoVAE (Stein)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
  ELBO-AR: {objective: vae, title: VAE (ELBO)}
  MMD-AR: {objective: infovae, title: InfoVAE (MMD)}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    reconstruction: {name: gaussian, variance: 0.01}
    latent_dims: [2, 4, 8]
    main_latent_dim: 8
    training: {epochs: 60}
    models:
      ELBO: {weight: 1}
      MMD: {weight: 1000}
      Adversarial: {weight: 30}
      Stein: {weight: 1000}
      WAE: {weight: 1000}
    diagnostics: {training_sizes: [300, 50, 1000]}
  binary:
    source: digits
    title: Binary digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    reconstruction: {name: binary}
    latent_dims: [2, 4]
    main_latent_dim: 4
    training: {epochs: 60}
    models:
      MMD-AR: &autoregressive
        weight: 10
        network: {name: pixelcnn, encoder_widths: [64], decoder_widths: [64]}
      ELBO: {weight: 1, weights: [0.5, 1, 2]}
      WAE: {weight: 10}
      ELBO-AR: {<<: *autoregressive, weight: 1}
      MMD: {weight: 10}
figures: {infovae_diagnostics: digits, infovae_decoder: binary, infovae_samples: binary}
"""
NAMES = ("infovae_diagnostics", "infovae_decoder", "infovae_samples")
N_TRAIN, N_TEST = 1297, 500


# Experiments and tables


def experiment(dataset: str = "digits", **changes) -> Experiment:
    """The document's, with fields of one dataset changed."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    made = parse(yaml.safe_load(DOCUMENT), schema).experiment
    data = dataclasses.replace(made.datasets[dataset], **changes)
    return dataclasses.replace(made, datasets={**made.datasets, dataset: data})


def diagnostics_rows(experiment: Experiment):
    """Codes of the ELBO grow apart on small training sets, others stay near the prior."""
    for run in experiment.diagnostics_runs():
        n_train = run.n_train or N_TRAIN
        for split, n_codes in (("train", n_train), ("test", N_TEST)):
            random = stream("diagnostics", run.path, split)
            null = 4 / n_codes + 0.001
            small = np.log(N_TRAIN / n_train)
            if run.objective == "vae":
                mmd = 0.02 * 2.2**small * (1.3 if split == "test" else 1)
                log_det = run.latent_dim * (0.15 + 1.1 * small)
            else:
                mmd = -0.3 * null if split == "train" else 0.004 * 1.5**small
                log_det = -0.05 * run.latent_dim * (1 + small * (split == "test"))
            yield run.identity | {
                "n_train": n_train,
                "split": split,
                "n_codes": n_codes,
                "n_prior": 2000,
                "kernel": "imq",
                "mmd": mmd + random.normal(0, 0.1 * abs(mmd) + 0.1 * null),
                "null_low": -null * random.uniform(0.8, 1),
                "null_high": null * random.uniform(1, 1.2),
                "p_value": 0.5,
                "log_det": log_det + random.normal(0, 0.02 * abs(log_det) + 0.1),
                "log_det_low": -60 / n_codes * random.uniform(0.8, 1),
                "log_det_high": 20 / n_codes * random.uniform(0.8, 1),
            }


def information_rows(experiment: Experiment):
    """With an autoregressive decoder the ELBO gives the code up."""
    for run in experiment.default_runs():
        random = stream("information", run.path)
        log_n = float(np.log(N_TEST))
        share = 0.02 if run.model == "ELBO-AR" else 0.9 if "AR" in run.model else 0.6
        nats = share * log_n * random.uniform(0.95, 1.05)
        yield run.identity | {
            "nats": log_n if run.objective == "wae_mmd" else nats,
            "log_n": log_n,
            "kl_aggregate": 0.4,
            "kl_gaussian": 0.3,
        }


def bound_rows(experiment: Experiment):
    """Better with an autoregressive decoder, and none of a deterministic encoder."""
    for run in experiment.runs():
        random = stream("bound", run.path)
        value = (-16 if run.network == "pixelcnn" else -22) - 0.3 * run.lam
        value += random.normal(0, 0.3) + 0.2 * run.latent_dim
        yield run.identity | {
            "elbo_paper": None if run.objective == "wae_mmd" else value + 100,
            "elbo": None if run.objective == "wae_mmd" else value,
            "reconstruction": -0.9 * value,
            "regulariser": -0.1 * value,
        }


TABLES = {
    "diagnostics": diagnostics_rows,
    "index_code_information": information_rows,
    "elbo_by_weight": bound_rows,
}


def write_results(folder: Path, experiment: Experiment, size: int = 8, channels: int = 1) -> Path:
    """A results directory with the tables, and the images of all main runs."""
    for name, table_rows in TABLES.items():
        files.write_csv(folder / "tables" / f"{name}.csv", table_rows(experiment))
    for dataset, data in experiment.datasets.items():
        pairs = len(data.panels.interpolations)
        for run in experiment.main_runs(dataset):
            shape = (size, size, channels)
            path = folder / "runs" / run.path / "images.npz"
            path.parent.mkdir(parents=True)
            originals = blobs("originals", 2 * pairs, *shape)
            random = blobs(f"{run.model} again", 2 * pairs, *shape)
            close = (0.8 * originals + 20).astype(np.uint8)
            np.savez_compressed(
                path,
                originals=originals,
                reconstructions=random if run.model == "ELBO-AR" else close,
                interpolations=np.stack([originals[:2]] * pairs),
                samples=blobs(run.model, int(np.prod(data.panels.samples)), *shape).reshape(
                    *data.panels.samples, *shape
                ),
            )
    return folder


def draw(name: str, results: Path, experiment: Experiment) -> Figure:
    return draw_figure(name, experiment, results)


@pytest.fixture(scope="module")
def demo() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def results(tmp_path_factory, demo) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), demo)


@pytest.fixture(scope="module")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}


@pytest.fixture(scope="module")
def figures(results, demo) -> dict[str, Figure]:
    return {name: draw(name, results, demo) for name in NAMES}


def note_of(figure: Figure) -> str:
    """The note: the last and longest text."""
    return (
        max((text.get_text() for text in texts(figure)), key=len)
        .replace("\n", " ")
        .replace("\u00a0", " ")
    )


# Diagnostics


def diagnostics(results, made, change=lambda table: None) -> Figure:
    """With changes to its table."""
    read_tables = common.read_tables(results, ["diagnostics"])
    change(read_tables["diagnostics"])
    return infovae_diagnostics.draw(read_tables, made, made.figures["infovae_diagnostics"])


def curves(ax) -> dict[tuple[str, str], object]:
    """The containers of error bars, by model and split."""
    return {tuple(c.get_label().split(", ")): c for c in ax.containers}


def shown(tables, column: str) -> pd.DataFrame:
    """What a column of panels shows of the table."""
    table = tables["diagnostics"].query("dataset == 'digits'")
    kept = table.n_train == N_TRAIN if column == "latent_dim" else table.latent_dim == 8
    assert kept.sum() == {"latent_dim": 5 * 3 * 3 * 2, "n_train": 5 * 3 * 4 * 2}[column]
    return table[kept]


@pytest.mark.parametrize("line, quantity", list(enumerate(["mmd", "log_det"])))
@pytest.mark.parametrize("place, column", list(enumerate(["latent_dim", "n_train"])))
def test_diagnostics(figures, tables, demo, line, quantity, place, column):
    """Means of the right runs, none hidden beyond the axes, near the places they belong to."""
    ax = figures["infovae_diagnostics"].axes[2 * line + place]
    table = shown(tables, column)
    drawn = curves(ax)
    models = ["ELBO", "MMD", "Adversarial", "Stein", "WAE"]
    assert list(drawn) == [(model, split) for model in models for split in ("train", "test")]
    for (model, split), container in drawn.items():
        part = table[(table.model == model) & (table.split == split)]
        seeds = part.groupby(column)[quantity]
        marks, _, (bars,) = container.lines
        np.testing.assert_allclose(marks.get_ydata(orig=False), seeds.mean())
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, seeds.agg(["min", "max"]))
        places = np.array(list(seeds.groups), float)
        # nearer to its own place than to any other's
        nearest = np.abs(np.log(np.divide.outer(marks.get_xdata(orig=False), places))).argmin(1)
        assert list(nearest) == list(range(len(places)))
        for low, high, values in (
            (*ax.get_xlim(), marks.get_xdata(orig=False)),
            (*ax.get_ylim(), ends.ravel()),
        ):
            assert low < values.min() and values.max() < high
        style = common.look(demo, model)
        assert (marks.get_color(), marks.get_marker()) == (style.color, style.marker)
        filled = style.color if split == "train" else "white"
        assert marks.get_markerfacecolor() == filled
        assert (marks.get_linestyle() == ":") == (split == "test" or style.linestyle == ":")
    shifts = [c.lines[0].get_xdata(orig=False)[0] for c in drawn.values()]
    assert len(set(np.round(shifts, 6))) == 10 and ax.get_xscale() == "log"


def test_diagnostics_whatever_the_order_of_rows(results, demo, figures):
    """Runs on a part of the images are told by their number alone."""

    def shuffle(table):
        table[:] = table.sample(frac=1, random_state=0).to_numpy()

    shuffled = diagnostics(results, demo, shuffle)
    for ax, expected in zip(shuffled.axes, figures["infovae_diagnostics"].axes, strict=True):
        for key, container in curves(ax).items():
            marks = curves(expected)[key].lines[0]
            np.testing.assert_allclose(container.lines[0].get_xydata(), marks.get_xydata())


@pytest.mark.parametrize("line, ends", [(0, "null"), (2, "log_det")])
@pytest.mark.parametrize("place, column", list(enumerate(["latent_dim", "n_train"])))
def test_diagnostics_bands_are_those_of_each_split(figures, tables, line, ends, place, column):
    """A mark is compared with as many codes of the prior, of its own split."""
    ax = figures["infovae_diagnostics"].axes[line + place]
    of_splits = {
        split: part.groupby(column)[[f"{ends}_low", f"{ends}_high"]].median()
        for split, part in shown(tables, column).groupby("split")
    }
    null = of_splits["train"]
    dashed = [c for c in ax.collections if len(c.get_paths()) == 2 and c.get_linewidth() == 0.6]
    dashed = [c for c in dashed if c.get_linestyle()[0][1] is not None]
    found = [sorted(path.vertices[0, 1] for path in c.get_paths()) for c in dashed]
    np.testing.assert_allclose(found, of_splits["test"].to_numpy())
    boxes = [c.get_paths()[0].vertices for c in ax.collections if c.get_label() != "_nolegend_"]
    boxes = [vertices for vertices in boxes if len(vertices) > 4]  # bars are segments
    assert len(boxes) == len(null)
    for vertices, (value, low, high) in zip(boxes, null.itertuples(), strict=True):
        np.testing.assert_allclose([vertices[:, 1].min(), vertices[:, 1].max()], [low, high])
        assert vertices[:, 0].min() < value < vertices[:, 0].max()
    left, right = ax.get_xlim()
    edges = [vertices[:, 0].min() for vertices in boxes] + [boxes[-1][:, 0].max()]
    np.testing.assert_allclose([edges[0], edges[-1]], [left, right])
    for first, second in pairwise(boxes):
        assert first[:, 0].max() == pytest.approx(second[:, 0].min())


def test_diagnostics_draws_mmd_below_zero(figures, tables):
    table = shown(tables, "n_train").query("model == 'MMD' and split == 'train'")
    lowest = table.groupby("n_train").mmd.mean().min()
    ax = figures["infovae_diagnostics"].axes[1]
    marks = curves(ax)["MMD", "train"].lines[0]
    assert marks.get_ydata(orig=False).min() == pytest.approx(lowest) and lowest < -0.01
    # below the line at 0, by as much as a reader can see
    (zero, low) = ax.transData.transform([(100, 0), (100, lowest)])[:, 1]
    assert zero - low > 10


def test_diagnostics_labels(figures):
    figure = figures["infovae_diagnostics"]
    figure.draw_without_rendering()
    assert [ax.get_title() for ax in figure.axes] == [
        "all 1,297 training images", "latent dimension 8", "", "",
    ]  # fmt: skip
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "", "", "latent dimension", "training images",
    ]  # fmt: skip
    dims, sizes = ([t.get_text() for t in ax.get_xticklabels()] for ax in figure.axes[2:])
    assert dims == ["2", "4", "8"] and sizes == ["50", "300", "", "1,297"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "VAE (ELBO)", "InfoVAE (MMD)", "InfoVAE (adversarial)", "InfoVAE (Stein)", "WAE-MMD",
        "codes of training images", "codes of test images",
        "N(0, I), as many training codes", "N(0, I), as many test codes",
    ]  # fmt: skip
    assert "N(0, I)" in [text.get_text() for text in texts(figure)]
    note = note_of(figure)
    for part in (
        "λ: 1 for VAE (ELBO); 1000 for InfoVAE (MMD), InfoVAE (Stein), WAE-MMD; 30 for InfoVAE (ad",
        "all 1,297 images or on a random 50, 300, 1,000 of them.",
        "trained on (filled marks) or of the test split (open)",
        "where 95 % of single runs would lie if their codes, as many, were N(0, I)",
        "from 200 random relabellings of codes and samples of the prior",
        "the median of the runs at each place",
        "inverse multiquadratic kernels",
        "Axis of MMD²: logarithmic beyond ±0.01.",
        "Mean over 3 seeds; bars: minimum to maximum.",
    ):
        assert part in note
    assert "No " not in note and "Axis of log det" not in note


@pytest.mark.parametrize("model, label", [("gaussian", "Gaussian"), ("imq", "inverse multiquad")])
def test_diagnostics_kernel(results, model, label):
    made = experiment(diagnostics=Diagnostics(model, 99), training_sizes=(300, 50, 1000))

    def change(table):
        table["kernel"] = model

    note = note_of(diagnostics(results, made, change))
    assert f"{label}" in note and "from 99 random" in note


@pytest.mark.parametrize(
    "column, reach, scale",
    [("mmd", 0.2, "linear"), ("mmd", 5, "symlog"), ("mmd", -5, "symlog"),
     ("log_det", 90, "linear"), ("log_det", -900, "symlog")],
)  # fmt: skip
def test_diagnostics_wide_ranges_turn_logarithmic(results, demo, column, reach, scale):
    """Beyond 20 times the narrowest band, here .02, or 100 of a log det; linear around 0."""

    def change(table):
        table["null_low"], table["null_high"] = -0.02, 0.02
        table[["mmd", "log_det"]] = 0.0
        table.loc[table.model == "ELBO", column] = reach

    figure = diagnostics(results, demo, change)
    line = 2 * (column == "log_det")
    scales = {ax.get_yscale() for ax in figure.axes[line : line + 2]}
    assert scales == {scale}
    assert {ax.get_yscale() for ax in figure.axes} == {scale, "linear"}
    ax = figure.axes[line]
    figure.draw_without_rendering()
    extreme, zero = ax.transData.transform([(1, reach), (1, 0)])[:, 1]
    box = ax.get_window_extent()
    for y in (extreme, zero):  # whole marks are inside
        assert box.y0 + 5 < y < box.y1 - 5
    if scale == "symlog":
        near = {"mmd": 0.01, "log_det": 10}[column]
        assert figure.axes[line].yaxis.get_transform().linthresh == near
        name = {"mmd": "MMD²", "log_det": "log det"}[column]
        assert f"Axis of {name}: logarithmic beyond ±{near:g}." in note_of(figure)
        figure.draw_without_rendering()
        ticks = [label.get_text() for label in figure.axes[line].get_yticklabels()]
        assert "0" in ticks and f"{near:g}" in ticks and f"−{near:g}" in ticks


def test_diagnostics_singular_covariances(results, demo):
    """Left out where a seed has none, the others drawn as ever, and named."""

    def change(table):
        of_wae = (table.model == "WAE") & (table.n_train != 50)
        one = (table.model == "MMD") & (table.n_train == 50) & (table.seed == 1)
        table.loc[of_wae | (one & (table.split == "train")), "log_det"] = np.nan

    figure = diagnostics(results, demo, change)
    drawn = curves(figure.axes[3])
    expected = {
        ("MMD", "train"): [False, True, True, True],
        ("MMD", "test"): [True] * 4,
        ("WAE", "train"): [True, False, False, False],
    }
    for key, finite in expected.items():
        assert np.isfinite(drawn[key].lines[0].get_ydata(orig=False)).tolist() == finite
    assert all(
        np.isfinite(container.lines[0].get_ydata(orig=False)).all()
        for ax in figure.axes[:2]
        for container in ax.containers
    )
    assert (
        "No log det (singular covariance): InfoVAE (MMD) (50 images, train, seed 1), WAE-MMD "
        "(dimension 2; dimension 4; 300 images; 1,000 images; dimension 8)."
    ) in note_of(figure)


def test_diagnostics_a_model_without_any_log_det(results, demo):
    def change(table):
        table.loc[table.model == "WAE", "log_det"] = np.nan

    figure = diagnostics(results, demo, change)
    assert np.isfinite(figure.axes[3].get_ylim()).all()
    assert "WAE-MMD (dimension 2;" in note_of(figure)


def test_diagnostics_without_training_sizes(tmp_path):
    made = experiment(training_sizes=())
    figure = draw("infovae_diagnostics", write_results(tmp_path, made), made)
    labels = infovae_diagnostics.LABELS.values()
    assert [ax.get_ylabel() for ax in figure.axes] == list(labels)
    assert {ax.get_xlabel() for ax in figure.axes} == {"latent dimension"}
    assert {ax.get_title() for ax in figure.axes} == {"all 1,297 training images"}
    for ax in figure.axes:
        assert all(len(c.lines[0].get_xdata()) == 3 for c in ax.containers)
    assert "Trained on all 1,297 images. One code" in note_of(figure)


@pytest.mark.parametrize("sizes", [(), (50, 300)])
def test_diagnostics_one_latent_dimension_and_seed(tmp_path, sizes):
    """Against the sizes, of which the last is the whole set; or all marks beside each other."""
    made = experiment(seeds=(0,), latent_dims=(8,), training_sizes=sizes)
    figure = draw("infovae_diagnostics", write_results(tmp_path, made), made)
    table = pd.read_csv(tmp_path / "tables/diagnostics.csv").sort_values("n_train")
    assert len(figure.axes) == 2
    assert {ax.get_xlabel() for ax in figure.axes} == {
        "training images" if sizes else "latent dimension"
    }
    for ax, quantity in zip(figure.axes, ("mmd", "log_det"), strict=True):
        for (model, split), container in curves(ax).items():
            part = table[(table.model == model) & (table.split == split)]
            marks, caps, bars = container.lines
            np.testing.assert_allclose(marks.get_ydata(orig=False), part[quantity])
            assert not caps and not bars
        places = [container.lines[0].get_xdata(orig=False)[-1] for container in ax.containers]
        assert np.diff(np.log(places)).min() > 0
        low, high = ax.get_xlim()
        assert low < min(places) and max(places) < high
    assert "One seed." in note_of(figure)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: "", "the table is empty"),
        (lambda t: t.replace("mmd", "x", 1), "no column 'mmd'"),
        (lambda t: t.replace("n_train", "x", 1), "no column 'n_train'"),
        (lambda t: t.replace("null_low", "x", 1), "no column 'null_low'"),
        (lambda t: t.replace("log_det", "x", 1), "no column 'log_det'"),
        (lambda t: t.replace("split", "x", 1), "no column 'split'"),
        (lambda t: t[: t.rindex("digits,WAE")],
         "digits/WAE/z8/w1000/s2, split test, kernel imq: 3 rows, expected 4"),
        (lambda t: t.replace("digits,MMD,4,1000,1,1297,train", "digits,MMD,4,1000,1,1297,valid"),
         "digits/MMD/z4/w1000/s1, split train, kernel imq: 0 rows, expected 1"),
        (lambda t: t + t.splitlines()[-1] + "\n",
         "digits/WAE/z8/w1000/s2, split test, kernel imq: 5 rows, expected 4"),
        (lambda t: t.replace("digits,MMD,8,1000,1,300,", "digits,MMD,8,1000,1,50,"),
         "two rows with dataset digits, model MMD, latent_dim 8, weight 1000.0, seed 1, n_train"),
        (lambda t: t.replace(",imq,", ",gaussian,"), "kernel imq: 0 rows, expected 1"),
        (lambda t: t.replace("imq,0.", "imq,x."), "column 'mmd'"),
        (lambda t: t.replace(",1297,", ",many,"), "column 'n_train'"),
        (lambda t: t.replace(",300,", ",200,"),
         "n_train 50, 200, 1000, 1297: expected one size of all training images, and of parts of "
         "them, at latent dimension 8 alone: 300, 50, 1000"),
        (lambda t: t.replace("digits,MMD,4,1000,1,1297,", "digits,MMD,4,1000,1,300,"),
         "n_train 50, 300, 1000, 1297: expected one size"),
        (lambda t: t.replace(",1297,", ",40,"), "n_train 40, 50, 300, 1000: expected one size"),
        (lambda t: re.sub(r"(WAE.*imq,)[^,]*", r"\1", t), "no finite mmd of WAE"),
    ],
)  # fmt: skip
def test_diagnostics_wrong_tables(results, demo, tmp_path, change, message):
    text = (results / "tables/diagnostics.csv").read_text()
    assert change(text) != text
    wrong(tmp_path, results, demo, "infovae_diagnostics", "diagnostics", change(text), message)


def wrong(tmp_path, results, made, figure, name, text, message) -> None:
    """The figure fails in one line that names the table, whose content this is, and the matter."""
    (tmp_path / "tables").mkdir()
    for path in (results / "tables").iterdir():
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "runs").symlink_to(results / "runs")
    (tmp_path / "tables" / f"{name}.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        draw(figure, tmp_path, made)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/tables/{name}.csv: ")
    assert message in str(caught.value)


def test_diagnostics_without_a_block(results, demo):
    with pytest.raises(UserError, match="'digits' has no diagnostics"):
        diagnostics(results, experiment(diagnostics=None))


# Decoder


GROUPED = ["ELBO", "WAE", "MMD", "MMD-AR", "ELBO-AR"]


def panels(figure: Figure) -> list:
    return [ax for ax in figure.axes if not ax.images]


def strips(figure: Figure) -> list:
    return [ax for ax in figure.axes if ax.images]


def inches(figure: Figure, ax) -> tuple[float, float]:
    """Top and bottom of an image, from the top of the page."""
    box, height = ax.get_position(), figure.get_figheight()
    return (1 - box.y1) * height, (1 - box.y0) * height


@pytest.mark.parametrize(
    "place, name, column", [(0, "index_code_information", "nats"), (1, "elbo_by_weight", "elbo")]
)
def test_decoder(figures, tables, demo, place, name, column):
    """A row a model, at the main latent dimension and the default weight; by decoder."""
    ax = panels(figures["infovae_decoder"])[place]
    table = tables[name].query("dataset == 'binary' and latent_dim == 4")
    default = {"ELBO": 1, "WAE": 10, "MMD": 10, "MMD-AR": 10, "ELBO-AR": 1}
    table = table[table.weight == table.model.map(default)]
    assert len(table) == 5 * 3
    assert [c.get_label() for c in ax.containers] == GROUPED
    dots = [line for line in ax.lines if line.get_marker() == "."]
    tops = []
    for container, dot, model in zip(ax.containers, dots, GROUPED, strict=True):
        seeds = table[table.model == model].sort_values("seed")[column]
        marks, _, (bars,) = container.lines
        np.testing.assert_allclose(marks.get_xdata(orig=False), [seeds.mean()])
        if model == "WAE" and column == "elbo":
            assert seeds.isna().all()
        else:
            ((low, high),) = [segment[:, 0] for segment in bars.get_segments()]
            deviation = seeds.std(ddof=1)
            assert (low, high) == pytest.approx(
                (seeds.mean() - deviation, seeds.mean() + deviation)
            )
            assert ax.get_xlim()[0] < seeds.min() and seeds.max() < ax.get_xlim()[1]
        np.testing.assert_allclose(dot.get_xdata(), seeds)
        style = common.look(demo, model)
        assert (marks.get_color(), marks.get_marker()) == (style.color, style.marker)
        tops.append(marks.get_ydata()[0])
    assert tops == sorted(tops)


def test_decoder_marks_stand_beside_their_images(figures):
    figure = figures["infovae_decoder"]
    for ax in panels(figure):
        bottom, top = ax.get_ylim()
        assert (top, bottom) == pytest.approx(inches(figure, ax))
        for container, image in zip(ax.containers, strips(figure), strict=True):
            y = container.lines[0].get_ydata()[0]
            assert y == pytest.approx(np.mean(inches(figure, image)))


def test_decoder_images(figures, results, demo):
    """Originals over reconstructions of the first seed, one size for all models."""
    figure = figures["infovae_decoder"]
    runs = {run.model: run for run in demo.main_runs("binary")}
    sizes = set()
    for ax, model in zip(strips(figure), GROUPED, strict=True):
        saved = np.load(results / "runs" / runs[model].path / "images.npz")
        assert runs[model].seed == 0 and runs[model].latent_dim == 4
        shown = ax.images[0].get_array()
        assert shown.shape == (17, 6 * 9 - 1)
        assert np.array_equal(shown[:8, 9:17], saved["originals"][1, ..., 0])
        assert np.array_equal(shown[9:, -8:], saved["reconstructions"][5, ..., 0])
        box = ax.get_position()
        width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
        assert width / shown.shape[1] == pytest.approx(height / shown.shape[0])
        sizes.add(round(width, 6))
    assert len(sizes) == 1


def test_decoder_groups(figures):
    """Each group under its heading, and names beside their rows, in groups apart."""
    figure = figures["infovae_decoder"]
    height = figure.get_figheight()
    written = {}
    for text in texts(figure):
        written.setdefault(text.get_text(), []).append((1 - text.get_position()[1]) * height)
    places = [inches(figure, ax) for ax in strips(figure)]
    (factorised,), (autoregressive,) = written["independent pixels"], written["autoregressive"]
    assert factorised < places[0][0] and places[2][1] < autoregressive < places[3][0]
    middles = [np.mean(place) for place in places]
    assert sorted(written["VAE (ELBO)"]) == pytest.approx([middles[0], middles[4]])
    assert written["WAE-MMD"] == pytest.approx([middles[1]])
    assert sorted(written["InfoVAE (MMD)"]) == pytest.approx([middles[2], middles[3]])
    for weight, rows in {"λ = 1": [0, 4], "λ = 10": [1, 2, 3]}.items():
        below = [middles[row] + 0.02 for row in rows]
        assert sorted(written[weight]) == pytest.approx(below)


def test_decoder_lines(figures):
    """At 0, where the code is ignored, and at log N; none across the bounds."""
    information, bound = panels(figures["infovae_decoder"])
    vertical = [line.get_xdata()[0] for line in information.lines if len(set(line.get_xdata())) == 1
                and tuple(line.get_ydata()) == (0, 1)]  # fmt: skip
    assert vertical == pytest.approx([0, np.log(500)])
    assert [text.get_text() for text in information.texts] == ["code ignored", "log N"]
    assert [text.xy[0] for text in information.texts] == pytest.approx([0, np.log(500)])
    assert [text.get_text() for text in bound.texts] == ["none"]
    assert bound.texts[0].get_position()[1] == bound.containers[1].lines[0].get_ydata()[0]


def test_decoder_note(figures):
    note = note_of(figures["infovae_decoder"])
    for part in (
        "Binary digits 8×8, latent dimension 4; λ: weight in training. I(n; z): what",
        "N = 500",
        "No bound: WAE-MMD (the encoder is deterministic).",
        "Marks: mean over 3 seeds; bars: ± 1 standard deviation; dots: single seeds.",
        "seed 0.",
        "those of autoregressive decoders are drawn from it.",
    ):
        assert part in note


@pytest.mark.parametrize(
    "models, heading, said",
    [
        (("ELBO",), "independent pixels", "Decoded images are means of p(x|z)."),
        (("MMD-AR", "ELBO-AR"), "autoregressive", "Decoded images are drawn from p(x|z): the"),
    ],
)
def test_decoder_one_kind(demo, tmp_path, models, heading, said):
    recipes = demo.datasets["binary"].models
    made = experiment(
        "binary", models={model: recipes[model] for model in models}, seeds=(1,), weight_seeds=(1,)
    )
    figure = draw("infovae_decoder", write_results(tmp_path, made), made)
    found = [text.get_text() for text in texts(figure)]
    headings = [text for text in found if text in infovae_decoder.DECODERS.values()]
    assert headings == [heading]
    for ax in panels(figure):
        assert [container.get_label() for container in ax.containers] == list(models)
        assert not any(line.get_marker() == "." for line in ax.lines)
    assert said in note_of(figure) and "Marks: one seed. " in note_of(figure)
    assert "seed 1." in note_of(figure)


@pytest.mark.parametrize("reconstruction", ["squared_error", "bernoulli"])
def test_decoder_without_any_bound(demo, tmp_path, reconstruction):
    """No panel of it; and why there is none."""
    recipes = demo.datasets["binary"].models
    models = {
        model: dataclasses.replace(recipes[model], reconstruction=reconstruction)
        for model in ("ELBO", "WAE")
    }
    made = experiment("binary", models=models)
    write_results(tmp_path, made)
    path = tmp_path / "tables/elbo_by_weight.csv"
    table = pd.read_csv(path)
    table.loc[table.dataset == "binary", "elbo"] = np.nan
    table.to_csv(path, index=False)
    figure = draw("infovae_decoder", tmp_path, made)
    assert [ax.get_xlabel() for ax in panels(figure)] == ["I(n; z) (nats)"]
    why = {"squared_error": "the reconstruction term is no likelihood", "bernoulli": "not finite"}
    assert f"VAE (ELBO) ({why[reconstruction]})" in note_of(figure)
    assert "WAE-MMD (the encoder is deterministic)" in note_of(figure)


def test_decoder_many_images(demo, tmp_path):
    """Eight at most; the strip stays within the page."""
    panels = dataclasses.replace(
        demo.datasets["binary"].panels, interpolations=tuple((k, k + 1) for k in range(9))
    )
    made = experiment("binary", panels=panels)
    figure = draw("infovae_decoder", write_results(tmp_path, made, 28), made)
    image = strips(figure)[0]
    assert image.images[0].get_array().shape == (2 * 30 - 2, 8 * 30 - 2)
    assert image.get_position().x1 <= 1


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("index_code_information", lambda t: t.replace("nats", "x"), "no column 'nats'"),
        ("index_code_information", lambda t: t.replace("log_n", "x"), "no column 'log_n'"),
        ("index_code_information", lambda t: t.replace("binary,MMD,4,", "binary,MMD,5,"),
         "binary/MMD/z4/w10/s0: 0 rows, expected 1"),
        ("index_code_information", lambda t: t + t.splitlines()[-1] + "\n",
         "binary/MMD/z4/w10/s2: 2 rows, expected 1"),
        ("index_code_information", lambda t: re.sub("(binary,WAE,4,10,0,)[^,]*", r"\1x", t),
         "column 'nats'"),
        ("index_code_information", lambda t: re.sub("(binary,WAE,4,10,.,)[^,]*", r"\1", t),
         "no finite nats of WAE"),
        ("index_code_information",
         lambda t: re.sub("(binary,WAE,4,10,0,[^,]*,)[^,]*", r"\g<1>4.60517", t),
         "information about different numbers of images: 100, 500"),
        ("elbo_by_weight", lambda t: t.replace(",elbo,", ",x,"), "no column 'elbo'"),
        ("elbo_by_weight", lambda t: t.replace("binary,ELBO,4,1,", "binary,ELBO,4,7,"),
         "binary/ELBO/z4/w1/s0: 0 rows, expected 1"),
    ],
)  # fmt: skip
def test_decoder_wrong_tables(results, demo, tmp_path, name, change, message):
    text = (results / "tables" / f"{name}.csv").read_text()
    assert change(text) != text
    wrong(tmp_path, results, demo, "infovae_decoder", name, change(text), message)


# Samples


def test_samples(figures, results, demo):
    """Test images, then a block a model with what its images are; all images of one size."""
    figure = figures["infovae_samples"]
    runs = demo.main_runs("binary")
    originals, *blocks = figure.axes
    assert len(blocks) == len(runs)
    sizes = set()
    for ax, run in zip(blocks, runs, strict=True):
        saved = np.load(results / "runs" / run.path / "images.npz")
        shown = ax.images[0].get_array()
        assert np.array_equal(shown[:8, :8], saved["samples"][0, 0, ..., 0])
        assert np.array_equal(shown[-8:, 9:17], saved["samples"][-1, 1, ..., 0])
    shown = originals.images[0].get_array()
    assert shown.shape == (2 * 9 - 1, 3 * 9 - 1)
    assert np.array_equal(shown[9:, :8], saved["originals"][3, ..., 0])
    for ax in figure.axes:
        box, shape = ax.get_position(), ax.images[0].get_array().shape
        sizes.add(round(box.width * figure.get_figwidth() / shape[1], 6))
        sizes.add(round(box.height * figure.get_figheight() / shape[0], 6))
    assert len(sizes) == 1


def test_samples_titles(figures, demo):
    """Of each block, right above it; what is drawn from p(x|z) and what its mean."""
    figure = figures["infovae_samples"]
    above = {}
    for text in texts(figure):
        if "z ~ N" not in text.get_text():
            x, y = text.get_position()
            below = [ax for ax in figure.axes if abs(ax.get_position().x0 - x) < 1e-6
                     and ax.get_position().y1 < y]  # fmt: skip
            if below:
                nearest = max(below, key=lambda ax: ax.get_position().y1)
                above.setdefault(figure.axes.index(nearest), []).append(text.get_text())
    means, drawn = "means of p(x|z)", "drawn from p(x|z)"
    assert above == {
        0: ["test images"],
        1: ["InfoVAE (MMD)", f"{drawn}, λ = 10"],
        2: ["VAE (ELBO)", f"{means}, λ = 1"],
        3: ["WAE-MMD", f"{means}, λ = 10"],
        4: ["VAE (ELBO)", f"{drawn}, λ = 1"],
        5: ["InfoVAE (MMD)", f"{means}, λ = 10"],
    }
    note = note_of(figure)
    assert "Binary digits 8×8, latent dimension 4, seed 0." in note and "z ~ N(0, I)" in note
    assert "those of autoregressive decoders are drawn from it" in note
    assert "see" not in note.replace("seed", "")


def test_samples_of_models_that_see_other_images(results, demo):
    images = common.read_images(results, demo, "binary")
    images["WAE"] = {**images["WAE"], "originals": images["WAE"]["originals"] // 2}
    note = note_of(infovae_samples.draw(images, demo, "binary"))
    assert "Test images as InfoVAE (MMD) sees them; others see other grey values." in note


@pytest.mark.parametrize(
    "pairs, samples, shape",
    [(1, (10, 10), (1, 2)), (5, (10, 10), (3, 4)), (5, (2, 3), (2, 3)), (5, (1, 1), (1, 1))],
)
def test_samples_originals(pairs, samples, shape):
    """About as many rows as columns, at most as many as samples; the rest is white."""
    shown = blobs("some", 2 * pairs, 8, 8, 1)
    arrays = {"originals": shown, "samples": np.zeros((*samples, 8, 8, 1), np.uint8)}
    whole = infovae_samples.originals({"VAE": arrays})
    n_rows, n_columns = shape
    assert whole.shape == (9 * n_rows - 1, 9 * n_columns - 1)
    for k in range(n_rows * n_columns):
        y, x = 9 * (k // n_columns), 9 * (k % n_columns)
        expected = shown[k, ..., 0] if k < 2 * pairs else 255
        assert (whole[y : y + 8, x : x + 8] == expected).all()


# Looks, room, files


def many(dataset: str, n: int, title: str = "A model with a rather long title, number {}"):
    """So many models, each like one of the dataset's, in an experiment of this dataset alone."""
    made = experiment()
    data = made.datasets[dataset]
    like = {f"M{k}": list(data.models)[k % len(data.models)] for k in range(n)}
    models = {
        name: dataclasses.replace(made.models[model], name=name, title=title.format(name[1:]))
        for name, model in like.items()
    }
    data = dataclasses.replace(data, models={name: data.models[m] for name, m in like.items()})
    figures = {name: dataset for name, of in made.figures.items() if of == dataset}
    return dataclasses.replace(made, models=models, datasets={dataset: data}, figures=figures)


def variants() -> dict[str, Experiment]:
    alone = {"seeds": (0,), "weight_seeds": (0,)}
    binary = experiment().datasets["binary"].models
    panels = dataclasses.replace(
        experiment().datasets["binary"].panels, interpolations=((0, 1),), samples=(1, 2)
    )
    return {
        "demo": experiment(),
        "no_sizes": experiment(training_sizes=()),
        "one": experiment(latent_dims=(8,), training_sizes=(), **alone),
        "sizes": experiment(latent_dims=(8,), **alone),
        "dims": experiment(latent_dims=(2, 3, 4, 5, 6, 7, 8, 9, 10), **alone),
        "one_model": experiment("binary", models={"ELBO": binary["ELBO"]}, **alone),
        "few_images": experiment("binary", panels=panels),
        "two_models": many("digits", 2),
        "nine_diagnostics": many("digits", 9),
        "ten_models": many("binary", 10),
        "short_titles": many("binary", 3, "M{}"),
    }


@pytest.mark.parametrize("variant", variants())
def test_every_text_fits(tmp_path, variant):
    """Inside the figure, at least 7 pt, and no two texts over each other or over images."""
    made = variants()[variant]
    write_results(tmp_path, made)
    for name in made.figures:
        figure = draw(name, tmp_path, made)
        assert figure.get_figwidth() <= 6.9 + 1e-9 and figure.get_figheight() < 11
        boxes = [(ax.get_window_extent().padded(-0.5), "image") for ax in strips(figure)]
        page = figure.bbox
        for text in texts(figure):
            extent = text.get_window_extent()
            assert text.get_fontsize() >= 7, (name, text)
            assert page.x0 - 0.5 <= extent.x0 and extent.x1 <= page.x1 + 0.5, (name, text)
            assert page.y0 - 0.5 <= extent.y0 and extent.y1 <= page.y1 + 0.5, (name, text)
            boxes.append((extent.padded(-0.5), text.get_text()))
        for k, (extent, text) in enumerate(boxes):
            for other, text2 in boxes[:k]:
                assert not extent.overlaps(other), (name, text, text2)
        for ax in panels(figure):
            box = ax.get_window_extent()
            assert box.width > 80 and box.height > 50, (name, box)


def test_looks_are_told_apart():
    looks = common.LOOKS
    assert len(looks) >= 10
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == len(looks)


@pytest.mark.parametrize("title, columns", [("M{}", 4), ("x" * 30 + "{}", 2), ("x" * 70, 1)])
def test_a_legend_has_as_many_columns_as_fit(tmp_path, title, columns):
    made = many("digits", 5, title)
    figure = draw("infovae_diagnostics", write_results(tmp_path, made), made)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    lefts = {round(text.get_window_extent().x0) for text in legend.get_texts()}
    assert len(lefts) == columns


@pytest.mark.parametrize("weights, said", [((1, 1), "λ = 1."), ((1, 5), "λ: 1 for A; 5 for B.")])
def test_weights_text(weights, said):
    made = many("digits", 2, "{}")
    data = made.datasets["digits"]
    models = {
        name: dataclasses.replace(recipe, default=float(weight))
        for (name, recipe), weight in zip(data.models.items(), weights, strict=True)
    }
    titled = {
        name: dataclasses.replace(model, title="AB"[k])
        for k, (name, model) in enumerate(made.models.items())
    }
    data = dataclasses.replace(data, models=models)
    made = dataclasses.replace(made, models=titled, datasets={"digits": data})
    assert infovae_diagnostics.weights_text(made, "digits") == said


def test_page_places_are_inches_from_the_upper_left():
    page = image_panels.Page(4, 2)
    box = page.axes(1, 0.5, 2, 1).get_position()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((0.25, 0.75, 0.25, 0.75))


def test_files(results, demo, tmp_path):
    """The bytes are those that another process writes, which imports no torch."""
    calls = []
    for name in NAMES:
        outputs = [tmp_path / f"command/{name}.{kind}" for kind in ("pdf", "png")]
        calls.append(arguments(name, demo, results, *outputs))
    done = command(*calls)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in NAMES:
        paths = [tmp_path / f"here/{name}.{kind}" for kind in ("png", "pdf")]
        common.save(draw(name, results, demo), paths)
        for path in paths:
            assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes()


def test_command_reports_in_one_line(demo, tmp_path):
    (tmp_path / "tables").mkdir()
    calls = {name: arguments(name, demo, tmp_path, tmp_path / f"{name}.png") for name in NAMES}
    done = command(calls["infovae_decoder"])
    lacking = tmp_path / "tables/index_code_information.csv"
    assert (done.returncode, done.stderr) == (1, f"error: {lacking}: no such table\n")
    done = command(calls["infovae_samples"])
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "binary/MMD-AR/z4/w10/s0/images.npz" in done.stderr
