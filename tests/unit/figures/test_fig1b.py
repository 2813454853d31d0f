"""Fig. 1b draws what the table of distances holds, and its caption says what they are."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.unit.figures.planted import check_fits, draw, experiment, table_rows, texts

from hebae.base.errors import UserError
from hebae.facts import fig1b as facts
from hebae.figures import fig1b
from hebae.figures.common import looks_of

WIDTHS = (6.9, 3.3)
SCALES = ("weight", "common_weight")
MODELS = ["VAE", "HEBAE", "WAE"]
DEFAULTS = {"VAE": 0.001, "HEBAE": 0.001, "WAE": 100}


def of_prior(table: pd.DataFrame) -> pd.DataFrame:
    """Samples of the prior, as in a table without other samplings."""
    return table[table["sampling"] == "prior"].drop(columns="sampling").reset_index(drop=True)


def planted(change=lambda table: table, every=False, **changes):
    """What the figure's functions are given, with changes to the dataset and to its table.

    Args:
        every: whether the table has every sampling, those beside the prior at the default λ alone.
    """
    made = experiment("toyfaces", **changes)
    of_fid = made if made.datasets["toyfaces"].fid else experiment("toyfaces")
    with np.errstate(divide="ignore"):  # a weight of 0
        table = pd.DataFrame(table_rows("fid", of_fid)).astype({"weight": float})
    table = table if every else of_prior(table)
    changed = change(table)
    return {"fid": table if changed is None else changed}, made, "toyfaces"


def said(*arguments) -> str:
    return " ".join(filter(None, facts.caption(*arguments)))


def setting(column: str, value, where="index == index"):
    """Changes the table's column in some rows."""

    def change(table):
        table.loc[table.query(where).index, column] = value

    return change


def inception(**changes):
    fid = experiment("toyfaces").datasets["toyfaces"].fid
    return dataclasses.replace(fid, features="inception", **changes)


def on_grid(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[(table.latent_dim == 16) & table.model.isin(MODELS)]
    assert len(shown) < len(table)
    return shown


def lines(ax, model: str, kind: str = "prior"):
    """The stretches of a model's curve of generated images, of its default, of reconstructions."""
    found = {"prior": [], "default": [], "reconstruction": []}
    for line in ax.lines:
        if line.get_label() == model:
            small = line.get_markersize() == fig1b.RECONSTRUCTED["markersize"]
            default = line.get_linestyle() == "None"
            found["reconstruction" if small else "default" if default else "prior"].append(line)
    return found[kind]


def check_curve(line, bars, rows: pd.DataFrame, scale: str):
    """A curve shows the mean over seeds, and its bars their range."""
    seeds = rows.groupby(scale).fid
    np.testing.assert_allclose(line.get_xdata(), list(seeds.groups))
    np.testing.assert_allclose(line.get_ydata(), seeds.mean())
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, seeds.agg(["min", "max"]))


@pytest.mark.parametrize("width", WIDTHS)
def test_means_and_ranges_on_both_scales(results, faces, width):
    """Arithmetic ones also on log axes, in every panel."""
    table = of_prior(pd.read_csv(results / "faces/tables/fid.csv"))
    figure = draw("fig1b", results / "faces", faces, width)
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "weight λ, each model’s own scale",
        "weight λ, common scale",
    ]
    shape = figure.axes[0].get_gridspec()
    assert (shape.nrows, shape.ncols) == ((1, 2) if width == 6.9 else (2, 1))
    shown = on_grid(table)
    for ax, scale in zip(figure.axes, SCALES, strict=True):
        assert ax.get_xscale() == "log"
        for model, bars in zip(MODELS, ax.containers[1::3], strict=True):
            (line,) = lines(ax, model)
            check_curve(line, bars, shown[shown.model == model], scale)
            look = looks_of(faces)[model]
            assert (line.get_color(), line.get_marker()) == (look.color, look.marker)
        assert ax.get_ylim() == figure.axes[0].get_ylim()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_a_latent_dimension(width):
    given = planted(setting("fid", 5000.0, "model == 'VAE' and seed == 1"),
                    weight_latent_dims=(8, 16))  # fmt: skip
    table = given[0]["fid"]
    figure = fig1b.draw(*given, width)
    titles = [f"latent dimension {latent_dim}" for latent_dim in (8, 8, 16, 16)]
    assert [ax.get_title() for ax in figure.axes] == titles
    for ax, latent_dim, scale in zip(figure.axes, (8, 8, 16, 16), SCALES * 2, strict=True):
        assert ax.get_yscale() == "log"
        rows = table[(table.model == "VAE") & (table.latent_dim == latent_dim)]
        check_curve(*lines(ax, "VAE"), ax.containers[0], rows, scale)
    assert "Latent dimensions 8 and 16, after 3 epochs." in said(*given)


def test_default_weights_are_filled():
    given = planted()
    table = on_grid(given[0]["fid"])
    for ax, scale in zip(fig1b.draw(*given).axes, SCALES, strict=True):
        for model, default in DEFAULTS.items():
            (line,), (filled,) = lines(ax, model), lines(ax, model, "default")
            assert line.get_markerfacecolor() == "white"
            assert filled.get_markerfacecolor() == filled.get_color() == line.get_color()
            at_default = table[(table.model == model) & (table.weight == default)]
            expected = [[at_default[scale].iloc[0], at_default.fid.mean()]]
            np.testing.assert_allclose(filled.get_xydata(), expected)
    assert "Filled marks: the default λ." in said(*given)


@pytest.mark.parametrize("factor", [1, 0.25])
def test_equal_scales_are_one_panel(factor):
    """Also where they differ by one factor of all models."""

    def change(table):
        table["common_weight"] = factor * table["weight"]

    given = planted(change)
    (ax,) = fig1b.draw(*given).axes
    assert ax.get_xlabel() == "weight λ in training"
    np.testing.assert_array_equal(lines(ax, "WAE")[0].get_xdata(), [10, 30, 100, 300])
    text = said(*given)
    assert f"VAE, HEBAE and WAE-MMD: {'4 · ' * (factor != 1)}mean squared error + λ·R." in text
    assert "common scale" not in text and "do not compare" not in text


def test_nearly_equal_scales_are_two_panels():
    def change(table):
        table["common_weight"] = np.where(table["model"] == "WAE", 1.01, 1) * table["weight"]

    assert len(fig1b.draw(*planted(change)).axes) == 2


def test_fid_is_said_of_inception_alone():
    """Distances in a classifier's features must not pass for FIDs."""
    given = planted()
    figure = fig1b.draw(*given)
    assert not any("FID" in text.get_text() for text in texts(figure))
    assert figure.axes[0].get_ylabel() == "Fréchet distance"
    assert "The distance is called FID in Inception’s features alone" in said(*given)
    given = planted(fid=inception())
    assert fig1b.draw(*given).axes[0].get_ylabel() == "FID"
    assert "classifier" not in said(*given) and "Fréchet" not in said(*given)


def test_the_caption():
    text = said(*planted())
    for part in (
        "The Fréchet distance between 1,000 generated images and 800 real images of the test split",
        "a classifier of toyfaces (mean test accuracy 0.914)",
        "clipped, rounded to 8 bits and not compressed",
        "Latent dimension 16, after 3 epochs.",
        "goes to 0, that HEBAE’s depends on λ the least, and that HEBAE’s is the lowest, 46.",
        "Loss of VAE and HEBAE: mean squared error + λ·R. Loss of WAE-MMD: 614.4 · mean squared "
        "error + λ·R. These λ do not compare; on the common scale, all losses are mean squared "
        "error + λ·R.",
        "Marks: mean over 2 seeds; bars: from the lowest to the highest seed.",
        "Left out, without a grid of λ: HEBAE (diagonal).",
    ):
        assert part in text
    for part in ("Warning", "λ = 0,", "No mean", "Thin dashed", "Grey line"):
        assert part not in text
    fid = inception(n_generated=10_000, reference="train")
    text = said(*planted(fid=fid, weight_seeds=(0,)))
    for part in (
        "The FID between 10,000 generated images",
        "of the train split",
        "resizes images to 299×299, bilinear without antialiasing",
        "Marks: one seed.",
    ):
        assert part in text
    assert text.count("Warning: rank-deficient: 1000 generated images < 2048 features.") == 1


def test_each_warning_once():
    def warn(table):
        table.loc[table.model == "VAE", "warning"] = "one thing"
        table.loc[table.model == "WAE", "warning"] = "another"

    text = said(*planted(warn))
    assert text.count("Warning") == 2 and "Warning: one thing. Warning: another." in text


def test_a_decoder_variance_of_squared_errors_alone():
    """Unit variance is λ = 2/P, and λ = .0001 a variance of .614, on the common scale."""
    text = said(*planted())
    assert "P = 12,288 values" in text and "Unit variance is λ = 0.000163" in text
    assert "the variances here are 0.614 to 3,000." in text
    models = experiment("toyfaces").datasets["toyfaces"].models
    other = dataclasses.replace(models["VAE"], reconstruction="bernoulli")
    text = said(*planted(models={**models, "VAE": other}))
    assert "σ²" not in text and "Loss of VAE and HEBAE: reconstruction error + λ·R." in text


@pytest.mark.parametrize("factor, scale", [(8, "linear"), (60, "log")])
def test_wide_ranges_have_a_log_axis(factor, scale):
    def stretch(table):
        table["fid"] = 50.0
        table.loc[table.model == "VAE", "fid"] *= factor

    assert {ax.get_yscale() for ax in fig1b.draw(*planted(stretch)).axes} == {scale}


def test_without_a_grid():
    """Points at the default λ, a row a latent dimension."""
    given = planted(weight_latent_dims=())
    figure = fig1b.draw(*given)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        for model in (*MODELS, "HEBAE-diagonal"):
            (line,) = lines(ax, model, "default")
            assert len(line.get_xdata()) == 1
    assert "Left out" not in said(*given)


def test_a_seed_without_a_distance_leaves_a_gap():
    lost = "model == 'VAE' and weight == 0.001 and seed == 1 and latent_dim == 16"
    given = planted(setting("fid", np.nan, lost))
    for ax in fig1b.draw(*given).axes:
        assert [len(line.get_xdata()) for line in lines(ax, "VAE")] == [2, 2]
        assert not lines(ax, "VAE", "default")
    assert "No mean is shown of VAE at λ = 0.001: a seed has no finite distance." in said(*given)


def test_a_weight_of_0_is_told():
    models = experiment("toyfaces").datasets["toyfaces"].models
    vae = dataclasses.replace(models["VAE"], default=0.0, grid=(0.0, 0.001, 0.1))
    given = planted(setting("fid", 41.5, "weight == 0"), models={**models, "VAE": vae})
    for ax in fig1b.draw(*given).axes:
        np.testing.assert_array_equal(lines(ax, "VAE")[0].get_xdata(), [0.001, 0.1])
        assert not lines(ax, "VAE", "default")
    assert "The log axis cannot show λ = 0, where the mean is 41.5 for VAE." in said(*given)


# Other samplings


def samplings(named: bool, **real):
    """Adds rows of reconstructions, of real images, and of a sampling that is not drawn.

    Args:
        named: whether the rows of real images repeat with every run, or name none.
        real: other columns of real images.
    """

    def change(table: pd.DataFrame) -> pd.DataFrame:
        counted = {"fid": 12.0, "n_generated": 4000, "accuracy": None, **real}
        of_real = table.assign(sampling="real", **counted)
        if not named:
            empty = ["model", "latent_dim", "weight", "seed", "common_weight"]
            of_real = of_real[:2].assign(**dict.fromkeys(empty), fid=[11.0, 13.0])
        reconstructed = {"fid": table["fid"] / 3, "n_generated": 700, "common_weight": None}
        return pd.concat([
            of_real,
            table.assign(sampling="reconstruction", **reconstructed)[table["weight"] != 300],
            table.assign(sampling="prior"),
            table.assign(sampling="aggregate", fid=1e6),
        ])  # fmt: skip

    return change


def levels(ax) -> list[float]:
    return [line.get_ydata()[0] for line in ax.lines if list(line.get_xdata()) == [0, 1]]


@pytest.mark.parametrize("named", [True, False])
def test_reconstructions_and_real_images(named, tmp_path):
    given = planted(samplings(named))
    path = tmp_path / "fid.csv"  # as it is read: empty fields make whole columns floats
    given[0]["fid"].to_csv(path, index=False)
    given = ({"fid": pd.read_csv(path)}, *given[1:])
    alone = planted()
    table = on_grid(alone[0]["fid"])
    figure = fig1b.draw(*given)
    for ax, without, scale in zip(figure.axes, fig1b.draw(*alone).axes, SCALES, strict=True):
        assert levels(ax) == [12.0] and levels(without) == []
        assert [text.get_text() for text in ax.texts] == ["real images"]
        assert ax.texts[0].xy == (1, 12.0) and not without.texts
        for model in MODELS:
            for kind in ("prior", "default"):
                (line,), (expected,) = lines(ax, model, kind), lines(without, model, kind)
                np.testing.assert_allclose(line.get_xydata(), expected.get_xydata())
            assert not lines(without, model, "reconstruction")
            (line,) = lines(ax, model, "reconstruction")
            of_model = table[(table.model == model) & (table.weight != 300)].groupby(scale).fid
            np.testing.assert_allclose(line.get_xdata(), list(of_model.groups))
            np.testing.assert_allclose(line.get_ydata(), of_model.mean() / 3)
            assert line.get_color() == lines(ax, model)[0].get_color()
        assert ax.get_ylim()[0] < 12 and ax.get_ylim()[1] < 1000
    figure.draw_without_rendering()
    assert all(ax.texts[0].get_window_extent().y0 > ax.bbox.y0 for ax in figure.axes)
    (legend,) = figure.legends
    assert "reconstructions" in [text.get_text() for text in legend.get_texts()]
    text = said(*given)
    assert "lines: 700 reconstructions of training images in place of generated ones." in text
    assert "Grey line: 4,000 real training images in place of generated ones." in text
    assert text.startswith("The Fréchet distance between 1,000 generated images")


def test_other_samplings_at_the_default_weight_alone():
    """As they are measured: a grid of λ has samples of the prior."""
    given, alone = planted(every=True), planted()
    reconstructed = given[0]["fid"].query("sampling == 'reconstruction' and latent_dim == 16")
    figure = fig1b.draw(*given)
    for ax, without, scale in zip(figure.axes, fig1b.draw(*alone).axes, SCALES, strict=True):
        assert levels(ax) == [9.0]
        for model in MODELS:
            (line,), (expected,) = lines(ax, model), lines(without, model)
            np.testing.assert_allclose(line.get_xydata(), expected.get_xydata())
            (line,) = lines(ax, model, "reconstruction")
            of_model = reconstructed[reconstructed.model == model]
            at = [[of_model["common_weight"].iloc[0], of_model["fid"].mean()]]
            if scale == "weight":
                at[0][0] = DEFAULTS[model]
            np.testing.assert_allclose(line.get_xydata(), at)
    text = said(*given)
    assert "Small marks at the default λ: 1,000 reconstructions of training images in" in text
    assert "dashed" not in text


def test_samplings_of_generated_images_alone():
    """As where the table has no such column."""
    with_column, without = planted(lambda table: table.assign(sampling="prior")), planted()
    assert said(*with_column) == said(*without)
    for ax, other in zip(*(fig1b.draw(*each).axes for each in (with_column, without)), strict=True):
        assert [line.get_label() for line in ax.lines] == [line.get_label() for line in other.lines]
        assert not ax.texts and not levels(ax)


def test_real_images_without_a_distance_are_not_drawn():
    given = planted(samplings(True, fid=np.nan))
    assert not any(levels(ax) or ax.texts for ax in fig1b.draw(*given).axes)
    assert "Grey line" not in said(*given)


@pytest.mark.parametrize(
    "column, value", [("features", "inception"), ("n_reference", 5), ("reference", "train")]
)
def test_real_images_of_an_unlike_kind(column, value):
    with pytest.raises(UserError, match=f"rows with different {column} do not compare"):
        fig1b.draw(*planted(samplings(False, **{column: value})))


# Errors


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("features", "inception", "rows with different features do not compare: classifier of"),
        ("features", None, "rows with different features do not compare: classifier of"),
        ("n_generated", 5, "rows with different n_generated do not compare"),
        ("n_reference", 5, "rows with different n_reference do not compare"),
    ],
)
def test_unlike_distances(column, value, message):
    with pytest.raises(UserError, match=message) as caught:
        fig1b.draw(*planted(setting(column, value, "index == 3")))
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
def test_wrong_tables(results, faces, tmp_path, change, message):
    path = tmp_path / "tables/fid.csv"
    path.parent.mkdir()
    path.write_text(change((results / "faces/tables/fid.csv").read_text()))
    with pytest.raises(UserError) as caught:
        draw("fig1b", tmp_path, faces)
    assert str(caught.value) == f"{path}: {message}"


def test_without_a_fid_block():
    for function in (fig1b.draw, facts.caption):
        with pytest.raises(UserError, match="'toyfaces' has no fid block"):
            function(*planted(fid=None))


# Fits


def many(count: int, title: str = "") -> dict:
    """An experiment of so many models, all with a grid."""
    made = experiment("toyfaces")
    names = ("HEBAE", "VAE", "WAE", "InfoVAE", "WAE-GAN", "Mine")[:count]
    of = {name: name if name in made.models else "WAE" for name in names}
    models = {
        name: dataclasses.replace(made.models[like], name=name, title=title or name)
        for name, like in of.items()
    }
    data = made.datasets["toyfaces"]
    recipes = {name: data.models[like] for name, like in of.items()}
    data = dataclasses.replace(data, models=recipes, title=title or data.title)
    made = dataclasses.replace(made, models=models, datasets={"toyfaces": data})
    table = of_prior(pd.DataFrame(table_rows("fid", made)).astype({"weight": float}))
    return {"fid": table}, made, "toyfaces"


VARIANTS = {
    "planted": lambda: planted(),
    "equal scales": lambda: planted(lambda table: table.assign(common_weight=table["weight"])),
    "latent dimensions": lambda: planted(weight_latent_dims=(8, 16)),
    "no grid": lambda: planted(weight_latent_dims=()),
    "one seed": lambda: planted(weight_seeds=(0,)),
    "samplings": lambda: planted(samplings(True)),
    "as measured": lambda: planted(every=True),
    "wide": lambda: planted(setting("fid", 1e5, "model == 'VAE'")),
    "wide samplings": lambda: planted(samplings(True, fid=0.01)),
    "lost": lambda: planted(setting("fid", np.nan, "weight == 0.001 and seed == 1")),
    "one model": lambda: many(1),
    "six models": lambda: many(6),
    "long titles": lambda: many(3, "An uncommonly long title of something"),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_text_fits(name, width):
    figure: Figure = fig1b.draw(*VARIANTS[name](), width)
    assert figure.get_figwidth() == width
    check_fits(figure, name)
