"""The diagnostics of InfoVAE, drawn from a table made up here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from tests.unit.figures.planted import ROOT, arguments, check_fits, command, stream

from hebae.base import files
from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.protocols import Diagnostics
from hebae.facts import infovae_diagnostics as facts
from hebae.figures import common, infovae_diagnostics
from hebae.figures.draw import draw

DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  ELBO: {objective: vae, title: VAE (ELBO)}
  MMD: {objective: infovae, title: InfoVAE (MMD)}
  Adversarial: {objective: infovae, divergence: {name: adversarial}, title: InfoVAE (adversarial)}
  Stein: {objective: infovae, divergence: {name: stein}, title: InfoVAE (Stein)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
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
figures: {infovae_diagnostics: digits}
"""
N_TRAIN, N_TEST = 1297, 500


def experiment(**changes) -> Experiment:
    """The document's, with fields of the dataset changed."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    made = parse(yaml.safe_load(DOCUMENT), schema).experiment
    data = dataclasses.replace(made.datasets["digits"], **changes)
    return dataclasses.replace(made, datasets={"digits": data})


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


def write_results(folder: Path, made: Experiment) -> Path:
    files.write_csv(folder / "tables/diagnostics.csv", diagnostics_rows(made))
    return folder


def table_of(made: Experiment) -> pd.DataFrame:
    return pd.DataFrame(diagnostics_rows(made)).astype({"weight": float})


Change = Callable[[pd.DataFrame], None]


def changed(made: Experiment, change: Change) -> dict[str, pd.DataFrame]:
    table = table_of(made)
    change(table)
    return {"diagnostics": table}


def drawn(made: Experiment, change: Change = lambda table: None, width: float = 6.9) -> Figure:
    return infovae_diagnostics.draw(changed(made, change), made, "digits", width)


def said(made: Experiment, change: Change = lambda table: None) -> str:
    sentences = facts.caption(changed(made, change), made, "digits")
    return " ".join(filter(None, sentences))


@pytest.fixture(scope="module")
def demo() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def results(tmp_path_factory, demo) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), demo)


@pytest.fixture(scope="module")
def figure(demo) -> Figure:
    return drawn(demo)


MODELS = ["ELBO", "MMD", "Adversarial", "Stein", "WAE"]
PLACES = {"latent_dim": [2, 4, 8], "n_train": [50, 300, 1000, N_TRAIN]}
PANELS = [
    (0, "mmd", "latent_dim"),
    (1, "mmd", "n_train"),
    (2, "log_det", "latent_dim"),
    (3, "log_det", "n_train"),
]


def shown(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """What a column of panels shows of the table."""
    kept = table.n_train == N_TRAIN if column == "latent_dim" else table.latent_dim == 8
    assert kept.sum() == {"latent_dim": 5 * 3 * 3 * 2, "n_train": 5 * 3 * 4 * 2}[column]
    return table[kept]


def curves(ax: Axes) -> dict[tuple[str, str], list[Line2D]]:
    """The lines of means by model and split; several where one is broken."""
    found: dict[tuple[str, str], list[Line2D]] = {}
    for line in ax.lines:
        if ", " in line.get_label():
            found.setdefault(tuple(line.get_label().split(", ")), []).append(line)
    return found


def points(lines: list[Line2D]) -> np.ndarray:
    """Places and means, (n, 2)."""
    return np.concatenate([line.get_xydata() for line in lines])


def boxes(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Of the bands: left, right, bottom and top."""
    found = []
    for collection in ax.collections:
        if (
            tuple(collection.get_facecolor()[:1].ravel()[:3])
            == (float(infovae_diagnostics.BAND),) * 3
        ):
            vertices = collection.get_paths()[0].vertices
            found.append((*vertices.min(0), *vertices.max(0)))
    return [(x0, x1, y0, y1) for x0, y0, x1, y1 in found]


# What is drawn


@pytest.mark.parametrize("panel, quantity, column", PANELS)
def test_marks_are_the_means(figure, demo, panel, quantity, column):
    """Of the right runs: at its place, training images to the left and test images to the right."""
    ax, looks = figure.axes[panel], common.looks_of(demo)
    table = shown(table_of(demo), column)
    found = curves(ax)
    assert sorted(found) == sorted((m, split) for m in MODELS for split in ("train", "test"))
    bars = [
        segment for container in ax.containers for segment in container.lines[2][0].get_segments()
    ]
    for (model, split), lines in found.items():
        part = table[(table.model == model) & (table.split == split)]
        seeds = part.groupby(column)[quantity]
        at, means = points(lines).T
        np.testing.assert_allclose(means, seeds.mean())
        places = np.arange(len(PLACES[column]))
        assert ((places - 0.5 < at) & (at < places)).all() == (split == "train")
        assert ((places < at) & (at < places + 0.5)).all() == (split == "test")
        for x, low, high in zip(at, seeds.min(), seeds.max(), strict=True):
            ends = [bar[:, 1] for bar in bars if np.allclose(bar[:, 0], x)]
            np.testing.assert_allclose(ends, [[low, high]])
            assert ax.get_ylim()[0] < low and high < ax.get_ylim()[1]
        look = looks[model]
        for line in lines:
            assert (line.get_color(), line.get_marker()) == (look.color, look.marker)
            assert line.get_markeredgecolor() == look.color
            filled = look.color if split == "train" else "white"
            assert line.get_markerfacecolor() == filled
    at = [round(points(lines)[0, 0], 6) for lines in found.values()]
    assert len(set(at)) == 10  # none hides another


@pytest.mark.parametrize("panel, quantity, column", PANELS)
def test_bands_are_those_of_each_split(figure, demo, panel, quantity, column):
    """A mark lies over the band of as many codes of the prior."""
    ax, table = figure.axes[panel], shown(table_of(demo), column)
    ends = {"mmd": "null", "log_det": "log_det"}[quantity]
    expected = []
    for split, start in {"train": -0.46, "test": 0}.items():
        band = table[table.split == split].groupby(column)[[f"{ends}_low", f"{ends}_high"]].median()
        expected += [
            (place + start, place + start + 0.46, low, high)
            for place, (low, high) in enumerate(band.to_numpy())
        ]
    np.testing.assert_allclose(sorted(boxes(ax)), sorted(expected))
    for lines, (_, split) in ((lines, key) for key, lines in curves(ax).items()):
        for x, _ in points(lines):
            assert any(x0 < x < x1 for x0, x1, *_ in boxes(ax)), split


@pytest.mark.parametrize("n_places, joined", [(1, False), (2, False), (3, True)])
def test_lines_join_three_places_at_least(n_places, joined):
    """Two points make no trend."""
    made = experiment(latent_dims=(4, 2, 8)[-n_places:], training_sizes=())
    figure = drawn(made)
    for ax in figure.axes:
        for lines in curves(ax).values():
            assert {line.get_linestyle() != "None" for line in lines} == {joined}
    (legend,) = figure.legends
    handles = legend.legend_handles[: len(MODELS)]
    assert {handle.get_linestyle() != "None" for handle in handles} == {joined}


def test_each_column_of_panels_has_lines_by_its_own_places():
    figure = drawn(experiment(latent_dims=(2, 8)))
    for ax, joined in zip(figure.axes, [False, True] * 2, strict=True):
        styles = {line.get_linestyle() for lines in curves(ax).values() for line in lines}
        assert (styles == {"None"}) != joined


def test_whatever_the_order_of_rows(demo, figure):
    """Runs on a part of the images are told by their number alone."""

    def shuffle(table):
        table[:] = table.sample(frac=1, random_state=0).to_numpy()

    for ax, expected in zip(drawn(demo, shuffle).axes, figure.axes, strict=True):
        for key, lines in curves(ax).items():
            np.testing.assert_allclose(points(lines), points(curves(expected)[key]))


def test_labels(figure):
    figure.draw_without_rendering()
    assert [ax.get_xlabel() for ax in figure.axes[2:]] == [
        "latent dimension (trained on 1,297 images)", "training images (latent dimension 8)",
    ]  # fmt: skip
    outer = [
        [label.get_text() for label in ax.get_xticklabels() if label.get_visible()]
        for ax in figure.axes
    ]
    assert outer == [[], [], ["2", "4", "8"], ["50", "300", "1,000", "1,297"]]
    limits = [ax.get_ylim() for ax in figure.axes]
    assert limits[0] == limits[1] and limits[2] == limits[3]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "VAE (ELBO)", "InfoVAE (MMD)", "InfoVAE (adversarial)", "InfoVAE (Stein)", "WAE-MMD",
        "training images", "test images", "N(0, I), 95 %",
    ]  # fmt: skip


def test_narrow_panels_are_stacked(demo):
    """Those against the same column together."""
    figure = drawn(demo, width=3.3)
    boxes = [ax.get_position() for ax in figure.axes]
    assert all(above.y0 > below.y1 for above, below in pairwise(boxes))
    assert len({ax.get_xlabel() for ax in figure.axes[:2]}) == 1
    assert [ax.get_ylabel()[:3] for ax in figure.axes] == ["MMD", "log", "MMD", "log"]


# Axes


def reach(table: pd.DataFrame, column: str, value: float) -> None:
    """Values at 0, but for those of a model; bands of ±.02 and ±.1."""
    table[["null_low", "null_high"]] = -0.02, 0.02
    table[["log_det_low", "log_det_high"]] = -0.1, 0.1
    table[["mmd", "log_det"]] = 0.0
    table.loc[table.model == "ELBO", column] = value


@pytest.mark.parametrize(
    "column, value, threshold, ticks",
    [
        ("mmd", 0.2, None, ()),
        ("mmd", 5, 0.1, ["0", "0.1", "0.3", "1", "3"]),
        ("mmd", -5, 0.1, ["−3", "−1", "−0.3", "−0.1", "0"]),
        ("log_det", 2, None, ()),
        ("log_det", 12, 1, ["0", "1", "3", "10"]),
        ("log_det", -40, 1, ["−30", "−10", "−3", "−1", "0"]),
        ("log_det", -600, 1, ["−100", "−10", "−1", "0"]),
    ],
)
def test_axes_are_linear_around_0_and_logarithmic_far_from_it(column, value, threshold, ticks):
    made = experiment(latent_dims=(4, 8), training_sizes=(50,))
    figure = drawn(made, lambda table: reach(table, column, value))
    pair = figure.axes[2:] if column == "log_det" else figure.axes[:2]
    others = figure.axes[:2] if column == "log_det" else figure.axes[2:]
    assert {ax.get_yscale() for ax in pair} == {"symlog" if threshold else "linear"}
    assert {ax.get_yscale() for ax in others} == {"linear"}
    ax = pair[0]
    figure.draw_without_rendering()
    box = ax.get_window_extent()
    for y in ax.transData.transform([(0, value), (0, 0)])[:, 1]:  # whole marks are inside
        assert box.y0 + 4 < y < box.y1 - 4
    text = said(made, lambda table: reach(table, column, value))
    assert ("logarithmic beyond" in text) == bool(threshold)
    if threshold:
        assert ax.yaxis.get_transform().linthresh == threshold
        low, high = sorted(ax.get_ylim())
        labels = [
            label.get_text()
            for label, at in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
            if low <= at <= high
        ]
        assert labels == ticks
        name = {"mmd": "MMD²", "log_det": "log det"}[column]
        assert f"The axis of {name} is linear between ±{threshold:g} and logarithmic" in text


def test_equal_seeds(demo):
    """Whose mean, of three times .2, is beyond them by rounding."""
    values = np.full(3, 0.2)
    assert values.mean() > values.max()
    made = experiment(latent_dims=(8,), training_sizes=(50,))
    figure = drawn(made, lambda table: reach(table, "mmd", 0.2))
    means = points(curves(figure.axes[0])["ELBO", "train"])[:, 1]
    np.testing.assert_allclose(means, 0.2)


# Gaps


def test_singular_covariances(demo):
    """Left out where a seed has none, the others drawn as ever, and named."""

    def change(table):
        of_wae = (table.model == "WAE") & (table.n_train != 50)
        one = (table.model == "MMD") & (table.n_train == 300) & (table.seed == 1)
        table.loc[of_wae | (one & (table.split == "train")), "log_det"] = np.nan

    figure = drawn(demo, change)
    found = curves(figure.axes[3])
    expected = {("MMD", "train"): [0, 2, 3], ("MMD", "test"): [0, 1, 2, 3], ("WAE", "train"): [0]}
    for key, places in expected.items():
        assert [round(x + 0.25) for x, _ in sorted(points(found[key]).tolist())] == (
            places if key[1] == "train" else [place + 0 for place in places]
        )
    assert len(found["MMD", "train"]) == 2  # no line across the gap
    assert all(len(points(lines)) == 3 for lines in curves(figure.axes[0]).values())
    assert (
        "No log det (singular covariance): InfoVAE (MMD) (300 images, train, seed 1), WAE-MMD "
        "(dimension 2; dimension 4; 300 images; 1,000 images; dimension 8)."
    ) in said(demo, change)


def test_a_model_without_any_log_det(demo):
    def change(table):
        table.loc[table.model == "WAE", "log_det"] = np.nan

    figure = drawn(demo, change)
    assert np.isfinite(figure.axes[3].get_ylim()).all()
    assert ("WAE", "train") not in curves(figure.axes[3])
    text = said(demo, change)
    assert "WAE-MMD (dimension 2;" in text and "WAE-MMD (log det" not in text


def test_no_log_det_at_all(demo):
    def change(table):
        table["log_det"] = np.nan

    check_fits(drawn(demo, change), "none")
    assert said(demo, change).startswith("InfoVAE’s authors")


# Columns of panels


def test_without_training_sizes():
    made = experiment(training_sizes=())
    figure = drawn(made)
    assert [ax.get_ylabel() for ax in figure.axes] == list(facts.LABELS.values())
    labels = {ax.get_xlabel() for ax in figure.axes}
    assert labels == {"latent dimension (trained on 1,297 images)"}
    assert all(len(points(lines)) == 3 for ax in figure.axes for lines in curves(ax).values())
    assert "Trained for 60 epochs on all 1,297 images. Weight" in said(made)


@pytest.mark.parametrize("sizes", [(), (50, 300)])
def test_one_latent_dimension_and_seed(sizes):
    """Against the sizes, of which the last is the whole set; or all marks at one place."""
    made = experiment(seeds=(0,), latent_dims=(8,), training_sizes=sizes)
    figure, table = drawn(made), table_of(made).sort_values("n_train")
    assert len(figure.axes) == 2
    label = "training images (" if sizes else "latent dimension ("
    assert all(ax.get_xlabel().startswith(label) for ax in figure.axes)
    for ax, quantity in zip(figure.axes, ("mmd", "log_det"), strict=True):
        for (model, split), lines in curves(ax).items():
            part = table[(table.model == model) & (table.split == split)]
            np.testing.assert_allclose(points(lines)[:, 1], part[quantity])
    assert "Marks: one seed." in said(made)


def test_no_diagnostics(demo):
    with pytest.raises(UserError, match="infovae_diagnostics: 'digits' has no diagnostics"):
        drawn(experiment(diagnostics=None))


# The caption


def test_caption(demo):
    text = said(demo)
    for part in (
        "Weight λ in training: 1 for VAE (ELBO); 1000 for InfoVAE (MMD), InfoVAE (Stein) and WAE-",
        "on all 1,297 images, and for as many steps on random subsets of 50, 300 and 1,000.",
        "Filled marks: one code z ~ q(z|x) of every image that the run was trained on; open marks",
        "Bands hold 95 % of the values of as many codes drawn from N(0, I).",
        "from 200 random relabellings of codes and samples of N(0, I)",
        "the median of the runs’",
        "inverse multiquadratic kernels",
        "mean over 3 seeds; bars: from the lowest to the highest seed.",
    ):
        assert part in text
    assert "No MMD²" not in text and "No log det" not in text


@pytest.mark.parametrize(
    "value, how",
    [(0.4, "spread wider than"), (0.05, "are as wide as"), (-0.4, "are narrower than")],
)
def test_the_conclusion_comes_first(demo, value, how):
    """By the band of training images, at the main latent dimension, on all of them."""

    def change(table):
        table["log_det"] = 5.0
        table.loc[table.split == "test", ["log_det_low", "log_det_high"]] = 9.0
        main = (table.latent_dim == 8) & (table.n_train == N_TRAIN) & (table.split == "train")
        table.loc[main, ["log_det", "log_det_low", "log_det_high"]] = -0.9, -0.1, 0.1
        table.loc[main & (table.model == "MMD"), "log_det"] = value

    text = said(demo, change)
    (first,) = re.findall(r"At latent dimension 8, .*?I\)\.(?= )", text)
    assert text.startswith("At latent dimension 2, codes of ")
    assert text.index(first) < text.index("These are the codes of all training images, and means")
    own = f"InfoVAE (MMD) (log det {number(value)})"
    others = [
        f"{title} (log det −0.900)"
        for title in ("VAE (ELBO)", "InfoVAE (adversarial)", "InfoVAE (Stein)", "WAE-MMD")
    ]
    if how == "are narrower than":
        others.insert(1, own)
        expected = [f"codes of {listed(others)} {how} N(0, I)"]
    else:
        narrow = f"codes of {listed(others)} are narrower than N(0, I)"
        expected = [f"codes of {own} {how} N(0, I)", narrow]
    assert sorted(re.findall("codes of .*?I\\)", first)) == sorted(expected)


def test_seeds_on_both_sides_of_a_band_do_not_cancel(demo):
    """Their mean is in the band, and they are not."""

    def change(table):
        table["log_det"], table["log_det_low"], table["log_det_high"] = 5.0, -0.1, 0.1
        table["mmd"], table["null_low"], table["null_high"] = 1.0, -0.1, 0.1
        main = (table.latent_dim == 8) & (table.n_train == N_TRAIN) & (table.split == "train")
        for model, values in {"MMD": (-0.3, 0.0, 0.3), "Stein": (-0.3, -0.3, 0.6)}.items():
            for seed, value in enumerate(values):
                table.loc[main & (table.model == model) & (table.seed == seed), "log_det"] = value
        table.loc[main & (table.seed == 1), "mmd"] = 0.05

    text = said(demo, change).partition("At latent dimension 8, ")[2]
    assert "InfoVAE (MMD) (log det 0) are as wide as N(0, I) in 1 of 3 seeds;" in text
    assert "InfoVAE (Stein) (log det 0) are wider or narrower than N(0, I) by the seed" in text
    assert "By MMD² 5 of 15 runs are within the band." in text


@pytest.mark.parametrize("kernel, label", [("gaussian", "Gaussian"), ("imq", "inverse multiquad")])
def test_kernel(kernel, label):
    made = experiment(diagnostics=Diagnostics(kernel, 99), training_sizes=(300, 50, 1000))

    def change(table):
        table["kernel"] = kernel

    text = said(made, change)
    assert f"with {label}" in text and "from 99 random" in text


# Errors, room, files


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
         "the seeds of a model differ in n_train"),
        (lambda t: t.replace(",1297,", ",40,"), "n_train 40, 50, 300, 1000: expected one size"),
        (lambda t: re.sub(r"(WAE.*imq,)[^,]*", r"\1", t), "no finite mmd of WAE"),
    ],
)  # fmt: skip
def test_wrong_tables(results, demo, tmp_path, change, message):
    text = (results / "tables/diagnostics.csv").read_text()
    assert change(text) != text
    path = tmp_path / "tables/diagnostics.csv"
    path.parent.mkdir()
    path.write_text(change(text))
    with pytest.raises(UserError) as caught:
        draw("infovae_diagnostics", demo, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def many(n: int, title: str = "A model with a rather long title, number {}", **changes):
    """So many models, each like one of the dataset's."""
    made = experiment(**changes)
    data = made.datasets["digits"]
    like = {f"M{k}": list(data.models)[k % len(data.models)] for k in range(n)}
    models = {
        name: dataclasses.replace(made.models[model], name=name, title=title.format(name[1:]))
        for name, model in like.items()
    }
    data = dataclasses.replace(data, models={name: data.models[m] for name, m in like.items()})
    return dataclasses.replace(made, models=models, datasets={"digits": data})


def variants() -> dict[str, Experiment]:
    alone = {"seeds": (0,), "weight_seeds": (0,)}
    return {
        "demo": experiment(),
        "no_sizes": experiment(training_sizes=()),
        "one": experiment(latent_dims=(8,), training_sizes=(), **alone),
        "sizes": experiment(latent_dims=(8,), **alone),
        "dims": experiment(latent_dims=(2, 3, 4, 5, 6, 7, 8, 9, 10), **alone),
        "one_model": many(1, "VAE", **alone),
        "nine": many(9),
        "short_titles": many(3, "M{}"),
    }


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize("variant", variants())
def test_every_text_fits(variant, width):
    figure = drawn(variants()[variant], width=width)
    check_fits(figure, variant)
    for ax in figure.axes:
        box = ax.get_window_extent()
        assert box.width > 80 and box.height > 50, box


def test_files(results, demo, tmp_path):
    """The bytes are those that another process writes, which imports no torch."""
    outputs = [tmp_path / f"diagnostics.{kind}" for kind in ("pdf", "png")]
    done = command(arguments("infovae_diagnostics", demo, results, *outputs))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again = [tmp_path / "again" / path.name for path in outputs]
    common.save(draw("infovae_diagnostics", demo, results), again)
    for path, expected in zip(again, outputs, strict=True):
        assert path.read_bytes() == expected.read_bytes()


def test_the_command_reports_in_one_line(demo, tmp_path):
    (tmp_path / "tables").mkdir()
    done = command(arguments("infovae_diagnostics", demo, tmp_path, tmp_path / "x.png"))
    lacking = tmp_path / "tables/diagnostics.csv"
    assert (done.returncode, done.stderr) == (1, f"error: {lacking}: no such table\n")
