"""Figures about decoders: whether models use their code, and random samples."""

from __future__ import annotations

import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from tests.unit.figures import planted
from tests.unit.figures.test_image_rows import parts, pictures, saved

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.facts import infovae_samples as facts
from hebae.figures import common
from hebae.figures.draw import caption
from hebae.figures.images import read_images

DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  VAE: {objective: vae, title: VAE (ELBO)}
  InfoVAE: {objective: infovae, title: InfoVAE (MMD)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
  VAE-AR: {objective: vae, title: VAE (ELBO)}
  InfoVAE-AR: {objective: infovae, title: InfoVAE (MMD)}
datasets:
  binary:
    source: digits
    title: Binary digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    reconstruction: {name: binary}
    latent_dims: [2, 4]
    main_latent_dim: 4
    training: {epochs: 60}
    models:
      InfoVAE-AR: &autoregressive
        weight: 10
        network: {name: pixelcnn, encoder_widths: [64], decoder_widths: [64]}
      VAE: {weight: 1, weights: [0.5, 1, 2]}
      WAE: {weight: 10}
      VAE-AR: {<<: *autoregressive, weight: 1}
      InfoVAE: {weight: 10}
figures: {infovae_decoder: binary, infovae_samples: binary}
"""
NAMES = ("infovae_decoder", "infovae_samples")
GROUPS = {
    "independent pixels": ["VAE", "WAE", "InfoVAE"],
    "autoregressive": ["InfoVAE-AR", "VAE-AR"],
}
GROUPED = [model for models in GROUPS.values() for model in models]
WEIGHTS = {"VAE": 1, "WAE": 10, "InfoVAE": 10, "InfoVAE-AR": 10, "VAE-AR": 1}
WIDTHS = [6.9, 3.3]
LOG_N = float(np.log(500))


def experiment(**changes) -> Experiment:
    """The document's, with fields of the dataset changed."""
    schema = yaml.safe_load((planted.ROOT / "workflow/schemas/config.schema.yaml").read_text())
    made = parse(yaml.safe_load(DOCUMENT), schema).experiment
    return dataclasses.replace(
        made, datasets={"binary": dataclasses.replace(made.datasets["binary"], **changes)}
    )


def information_rows(experiment: Experiment):
    """With an autoregressive decoder the ELBO gives the code up."""
    for run in experiment.default_runs():
        random = planted.stream("information", run.path)
        share = 0.02 if run.model == "VAE-AR" else 0.9 if "AR" in run.model else 0.6
        nats = share * LOG_N * random.uniform(0.95, 1.05)
        yield run.identity | {
            "nats": LOG_N if run.objective == "wae_mmd" else nats,
            "log_n": LOG_N,
            "kl_aggregate": 0.4,
            "kl_gaussian": 0.3,
        }


def bound_rows(experiment: Experiment):
    """Better with an autoregressive decoder, and none of a deterministic encoder."""
    for run in experiment.runs():
        value = (-16 if run.network == "pixelcnn" else -22) - 0.3 * run.lam
        value += planted.stream("bound", run.path).normal(0, 0.3) + 0.2 * run.latent_dim
        has_bound = run.objective != "wae_mmd"
        yield run.identity | {
            "elbo_paper": value + 100 if has_bound else None,
            "elbo": value if has_bound else None,
            "reconstruction": -0.9 * value,
            "regulariser": -0.1 * value,
        }


def write_results(folder, experiment: Experiment, size: int = 8):
    """The tables, and images of which VAE-AR's reconstructions are of other images."""
    images = dataclasses.replace(experiment, figures={})
    planted.write_results(folder, images, size)
    files.write_csv(folder / "tables/index_code_information.csv", information_rows(experiment))
    files.write_csv(folder / "tables/elbo_by_weight.csv", bound_rows(experiment))
    for run in experiment.main_runs("binary"):
        if run.model == "VAE-AR":
            path = folder / "runs" / run.path / "images.npz"
            arrays = dict(np.load(path))
            others = planted.blobs("others", len(arrays["originals"]), size, size, 1)
            np.savez(path, **{**arrays, "reconstructions": others})
    return folder


@pytest.fixture(scope="module")
def made() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def results(tmp_path_factory, made):
    return write_results(tmp_path_factory.mktemp("decoders"), made)


@pytest.fixture(scope="module")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}


def panels(figure: Figure) -> list:
    """Those of I(n; z), one a kind of decoder, and then those of the bound."""
    return [ax for ax in figure.axes if not ax.images]


def marks(ax) -> dict[float, tuple[float, str, str]]:
    """Means by row: value, colour and marker."""
    return {
        round(float(y)): (float(x), line.get_color(), line.get_marker())
        for line in ax.lines
        if line.get_marker() not in ("None", "", None)
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        if np.isfinite(x)
    }


def bars(ax) -> dict[float, tuple[float, float]]:
    """Ends of the bars by row."""
    found = {}
    for line in ax.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if line.get_marker() in ("None", "", None) and np.isfinite(x).any() and np.ptp(y) != 1:
            found[round(float(np.nanmedian(y)))] = (np.nanmin(x), np.nanmax(x))
    return found


# Whether models use their code


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("group, kind", list(enumerate(GROUPS)))
@pytest.mark.parametrize(
    "place, name, column", [(0, "index_code_information", "nats"), (1, "elbo_by_weight", "elbo")]
)
def test_decoder(results, tables, made, width, group, kind, place, name, column):
    """A row a model: the mean, from the lowest to the highest seed, and the seeds; by decoder."""
    ax = panels(planted.draw("infovae_decoder", results, made, width))[2 * place + group]
    table = tables[name].query("latent_dim == 4")
    table = table[table.weight == table.model.map(WEIGHTS)]
    assert len(table) == 5 * 3
    looks = common.looks_of(made)
    assert tuple(ax.get_ylim()) == (len(GROUPS[kind]) - 0.5, -0.5)
    means, ends = marks(ax), bars(ax)
    for row, model in enumerate(GROUPS[kind]):
        seeds = table[table.model == model][column]
        if model == "WAE" and column == "elbo":
            assert row not in means and row not in ends
            continue
        mean, color, marker = means[row]
        assert mean == pytest.approx(seeds.mean())
        assert (color, marker) == (looks[model].color, looks[model].marker)
        if seeds.nunique() > 1:
            assert ends[row] == pytest.approx((seeds.min(), seeds.max()))
        points = [np.asarray(of.get_offsets()) for of in ax.collections]
        found = sorted(x for of in points for x, y in of if round(y) == row)
        assert found == pytest.approx(sorted(seeds))
        assert ax.get_xlim()[0] < seeds.min() and seeds.max() < ax.get_xlim()[1]


@pytest.mark.parametrize("width", WIDTHS)
def test_decoder_axis_of_information(results, made, width):
    """From 0 to log N, each end labelled, and no mark beyond."""
    figure = planted.draw("infovae_decoder", results, made, width)
    for ax in panels(figure)[:2]:
        low, high = ax.get_xlim()
        assert -0.3 < low < 0 and LOG_N < high < LOG_N + 0.3
        lines = [line.get_xdata()[0] for line in ax.lines if line.get_color() == "0.5"]
        assert lines == pytest.approx([0, LOG_N])
        assert all(0 <= end <= LOG_N + 1e-9 for ends in bars(ax).values() for end in ends)
    shown = [text.get_text() for text in planted.texts(figure)]
    assert (
        shown.count("code ignored") == shown.count("log N") == 1
        and shown.count("I(n; z) (nats)") == 1
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_decoder_images(results, made, width):
    """Of each kind of decoder: the test images once, then a row of reconstructions a model."""
    found = pictures(planted.draw("infovae_decoder", results, made, width))
    arrays = saved(results, made, "binary")
    expected = []
    for models in GROUPS.values():
        expected += [arrays[models[0]]["originals"]]
        expected += [arrays[model]["reconstructions"] for model in models]
    assert len(found) == len(expected)
    for (whole, _), images in zip(found, expected, strict=True):
        assert np.array_equal(parts(whole, 8), images)
    assert len({tuple(np.round(box[[0, 2]], 6)) for _, box in found}) == 1


def test_decoder_rows_are_level(results, made):
    """Marks, names, weights and images of a model stand at one height."""
    figure = planted.draw("infovae_decoder", results, made)
    height = figure.get_figheight()
    found = [box for _, box in pictures(figure)]
    images = [(box[1] + box[3]) / 2 for k, box in enumerate(found) if k not in (0, 4)]
    for group, place in ((0, 0), (1, 3), (2, 0), (3, 3)):
        ax = panels(figure)[group]
        box, n = ax.get_position(), len(marks(ax)) + (group == 2)
        edges = np.linspace(1 - box.y1, 1 - box.y0, n + 1) * height
        assert (edges[1:] + edges[:-1]) / 2 == pytest.approx(images[place : place + n], abs=0.02)
    written = [
        (1 - text.get_position()[1]) * height
        for text in planted.texts(figure)
        if "\nλ = " in text.get_text()
    ]
    assert written == pytest.approx(images, abs=0.02)


def test_decoder_names(results, made):
    figure = planted.draw("infovae_decoder", results, made)
    names = [text.get_text() for text in planted.texts(figure) if "λ" in text.get_text()]
    titles = [made.models[model].title for model in GROUPED]
    assert names == [f"{title}\nλ = {WEIGHTS[m]}" for title, m in zip(titles, GROUPED, strict=True)]
    shown = [text.get_text() for text in planted.texts(figure)]
    assert [text for text in shown if text in GROUPS] == list(GROUPS)


def test_decoder_without_a_bound_of_a_model(results, made):
    *_, bound, _ = panels(planted.draw("infovae_decoder", results, made))
    (text,) = bound.texts
    assert text.get_text() == "no bound"
    assert text.get_position()[1] == GROUPS["independent pixels"].index("WAE")


def test_decoder_of_a_seed_that_diverged(results, made, tmp_path):
    """No mean, which would be over other seeds than the means beside it."""
    write_results(tmp_path, made)
    path = tmp_path / "tables/index_code_information.csv"
    table = pd.read_csv(path)
    table.loc[(table.model == "VAE") & (table.seed == 1), "nats"] = np.nan
    table.to_csv(path, index=False)
    ax, *_ = panels(planted.draw("infovae_decoder", tmp_path, made))
    assert sorted(marks(ax)) == [1, 2]
    assert [text.get_text() for text in ax.texts] == ["not finite"]
    said = caption("infovae_decoder", made, tmp_path)
    assert "undefined" not in said and "nan" not in said
    assert "No mean is shown of I(n; z) of VAE (ELBO): a seed has no finite value." in said


def test_decoder_caption(results, tables, made):
    said = caption("infovae_decoder", made, results)
    table = tables["index_code_information"].query("latent_dim == 4")
    means = table[table.weight == table.model.map(WEIGHTS)].groupby("model").nats.mean()
    for part in (
        "N = 500",
        "Binary digits 8×8, latent dimension 4, after 60 epochs.",
        f"independent pixels, {means['VAE']:.2f} nats for VAE (ELBO), 6.21 nats for WAE-MMD and",
        f"autoregressive, {means['InfoVAE-AR']:.2f} nats for InfoVAE (MMD) and",
        "No bound: WAE-MMD (the encoder is deterministic).",
        "mean over 3 seeds; bars: from the lowest to the highest seed. Points: single seeds.",
        "and draws from p(x|z) (autoregressive). All images are of seed 0.",
        "nothing to gain",
    ):
        assert part in said


@pytest.mark.parametrize(
    "models, heading, decoded",
    [
        (
            ("VAE",),
            "independent pixels",
            "Decoded images are means of p(x|z) (independent pixels). ",
        ),
        (
            ("InfoVAE-AR", "VAE-AR"),
            "autoregressive",
            "Decoded images are draws from p(x|z) (autoregressive). ",
        ),
    ],
)
def test_decoder_one_kind(made, tmp_path, models, heading, decoded):
    recipes = made.datasets["binary"].models
    alone = experiment(
        models={model: recipes[model] for model in models}, seeds=(1,), weight_seeds=(1,)
    )
    figure = planted.draw("infovae_decoder", write_results(tmp_path, alone), alone)
    assert [text.get_text() for text in planted.texts(figure) if text.get_text() in GROUPS] == [
        heading
    ]
    for ax in panels(figure):
        assert len(marks(ax)) == len(models) and not bars(ax) and not ax.collections
    said = caption("infovae_decoder", alone, tmp_path)
    assert decoded in said and "Marks: one seed." in said and "of seed 1." in said
    assert "single seeds" not in said and "No bound" not in said


@pytest.mark.parametrize("reconstruction", ["squared_error", "bernoulli"])
def test_decoder_without_any_bound(made, tmp_path, reconstruction):
    """No panel of it; and why there is none."""
    recipes = made.datasets["binary"].models
    models = {
        model: dataclasses.replace(recipes[model], reconstruction=reconstruction)
        for model in ("VAE", "WAE")
    }
    made = experiment(models=models)
    write_results(tmp_path, made)
    path = tmp_path / "tables/elbo_by_weight.csv"
    table = pd.read_csv(path)
    table["elbo"] = np.nan
    table.to_csv(path, index=False)
    figure = planted.draw("infovae_decoder", tmp_path, made)
    assert [ax.get_xlabel() for ax in panels(figure)] == ["I(n; z) (nats)"]
    why = {"squared_error": "the reconstruction term is no likelihood", "bernoulli": "not finite"}
    said = caption("infovae_decoder", made, tmp_path)
    assert f"VAE (ELBO) ({why[reconstruction]})" in said
    assert "WAE-MMD (the encoder is deterministic)" in said


def test_decoder_many_images(made, tmp_path):
    """Six at most; they stay within the page."""
    pairs = tuple((k, k + 1) for k in range(9))
    many = experiment(
        panels=dataclasses.replace(made.datasets["binary"].panels, interpolations=pairs)
    )
    write_results(tmp_path, many, 28)
    for path in tmp_path.glob("runs/**/images.npz"):
        ends = planted.blobs("ends", 18, 28, 28, 1)
        np.savez(path, **{**np.load(path), "originals": ends, "reconstructions": ends})
    for whole, box in pictures(planted.draw("infovae_decoder", tmp_path, many)):
        assert len(parts(whole, 28)) == 6 and box[2] <= 6.9


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("index_code_information", lambda t: t.replace("nats", "x"), "no column 'nats'"),
        ("index_code_information", lambda t: t.replace("log_n", "x"), "no column 'log_n'"),
        ("index_code_information", lambda t: t.replace("binary,InfoVAE,4,", "binary,InfoVAE,5,"),
         "binary/InfoVAE/z4/w10/s0: 0 rows, expected 1"),
        ("index_code_information", lambda t: t + t.splitlines()[-1] + "\n",
         "binary/InfoVAE/z4/w10/s2: 2 rows, expected 1"),
        ("index_code_information", lambda t: re.sub("(binary,WAE,4,10,0,)[^,]*", r"\1x", t),
         "column 'nats'"),
        ("index_code_information", lambda t: re.sub("(binary,WAE,4,10,.,)[^,]*", r"\1", t),
         "no finite nats of WAE"),
        ("index_code_information",
         lambda t: re.sub("(binary,WAE,4,10,0,[^,]*,)[^,]*", r"\g<1>4.60517", t),
         "information about different numbers of images: 100, 500"),
        ("elbo_by_weight", lambda t: t.replace(",elbo,", ",x,"), "no column 'elbo'"),
        ("elbo_by_weight", lambda t: t.replace("binary,VAE,4,1,", "binary,VAE,4,7,"),
         "binary/VAE/z4/w1/s0: 0 rows, expected 1"),
    ],
)  # fmt: skip
def test_decoder_wrong_tables(results, made, tmp_path, name, change, message):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    wrong = tmp_path / "tables" / f"{name}.csv"
    text = wrong.read_text()
    assert change(text) != text
    wrong.write_text(change(text))
    with pytest.raises(UserError) as caught:
        planted.draw("infovae_decoder", tmp_path, made)
    assert "\n" not in str(caught.value)
    assert str(wrong) in str(caught.value) and message in str(caught.value)


# Samples


@pytest.mark.parametrize("width, n_columns", [(6.9, 19), (3.3, 10)])
def test_samples(results, made, width, n_columns):
    """Test images at the right, then samples a model, by decoder, all of one size."""
    (tests, corner), *blocks = pictures(planted.draw("infovae_samples", results, made, width))
    arrays = saved(results, made, "binary")
    assert np.array_equal(parts(tests, 8), arrays["VAE"]["originals"])
    assert len(blocks) == 5
    for (whole, box), model in zip(blocks, GROUPED, strict=True):
        assert whole.shape == (2 * 9 - 1, 9 * n_columns - 1)
        shown = arrays[model]["samples"].reshape(-1, 8, 8)[: 2 * n_columns]
        assert np.array_equal(parts(whole, 8), shown)
        assert box[2] == pytest.approx(corner[2])
        for size, inches in zip(whole.shape[::-1], (box[2:] - box[:2]), strict=True):
            assert inches / size == pytest.approx((corner[3] - corner[1]) / 8)
        assert corner[3] < box[1]


def test_samples_names(results, made):
    """Names and weights beside rows, and under which decoder they stand."""
    figure = planted.draw("infovae_samples", results, made)
    shown = [text.get_text() for text in planted.texts(figure)]
    expected = [
        "test images",
        "independent pixels: means of p(x|z)",
        "VAE (ELBO)\nλ = 1",
        "WAE-MMD\nλ = 10",
        "InfoVAE (MMD)\nλ = 10",
        "autoregressive: draws from p(x|z)",
        "InfoVAE (MMD)\nλ = 10",
        "VAE (ELBO)\nλ = 1",
    ]
    assert [text for text in shown if text in expected] == expected
    middles = [(box[1] + box[3]) / 2 for _, box in pictures(figure)[1:]]
    written = [
        (1 - text.get_position()[1]) * figure.get_figheight()
        for text in planted.texts(figure)
        if "\n" in text.get_text()
    ]
    assert written == pytest.approx(middles, abs=0.02)


def test_samples_caption(results, made):
    said = caption("infovae_samples", made, results)
    for part in (
        "z ~ N(0, I)",
        "Binary digits 8×8, latent dimension 4, after 60 epochs.",
        "shows 38 of the 100 random samples of each model.",
        "and draws from p(x|z) (autoregressive). All images are of seed 0.",
    ):
        assert part in said
    assert "others see" not in said
    images = read_images(results, made, "binary")
    images["WAE"] = {**images["WAE"], "originals": images["WAE"]["originals"] // 2}
    said = " ".join(facts.caption(images, made, "binary"))
    assert "Test images are shown as InfoVAE (MMD) sees them; others see other grey values." in said


# Room


def many(n: int) -> Experiment:
    """So many models with long titles, of both kinds where there are two."""
    made = experiment()
    recipes = made.datasets["binary"].models
    like = {f"M{k}": list(recipes)[k % len(recipes)] for k in range(n)}
    title = "A model with a rather long title, number {}"
    models = {
        name: dataclasses.replace(made.models[model], name=name, title=title.format(name))
        for name, model in like.items()
    }
    data = dataclasses.replace(
        made.datasets["binary"],
        title="A dataset with a long title " * 4,
        models={name: recipes[model] for name, model in like.items()},
    )
    return dataclasses.replace(made, models=models, datasets={"binary": data})


VARIANTS = {
    "demo": experiment,
    "one_model": lambda: many(1),
    "long_titles": lambda: many(6),
    "many": lambda: many(12),
    "one_seed": lambda: experiment(seeds=(0,), weight_seeds=(0,)),
    "one_dimension": lambda: experiment(latent_dims=(1,), main_latent_dim=1),
    "few": lambda: experiment(
        panels=dataclasses.replace(
            experiment().datasets["binary"].panels, interpolations=((0, 1),), samples=(1, 2)
        )
    ),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_text_fits(tmp_path, variant, width):
    made = VARIANTS[variant]()
    write_results(tmp_path, made)
    for name in NAMES:
        planted.check_fits(planted.draw(name, tmp_path, made, width), name)
