"""What holds for every figure: it fits, it looks alike everywhere, its files, its errors."""

import dataclasses
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import yaml
from matplotlib.colors import to_rgb
from tests.unit.figures.planted import (
    DRAWN,
    ROOT,
    arguments,
    check_fits,
    command,
    draw,
    experiment,
    inception,
    texts,
    write_results,
)

from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.figures import common
from hebae.figures import draw as drawing
from hebae.figures.draw import caption
from hebae.figures.looks import LOOKS


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


# How it looks


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


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize("variant", variants())
def test_every_text_fits(tmp_path, variant, width):
    """Inside the figure, at least 7 pt, and no two texts over each other."""
    made = variants()[variant]
    write_results(tmp_path, made)
    for name in made.figures:
        figure = draw(name, tmp_path, made, width)
        assert figure.get_figwidth() <= width + 1e-9
        check_fits(figure, name)


@pytest.mark.parametrize("name", DRAWN)
def test_no_sentence_is_in_an_image(figures, name):
    """They are in the caption."""
    for text in texts(figures[name]):
        assert len(text.get_text().split()) < 14, text
        assert not text.get_text().endswith("."), text


@pytest.mark.parametrize("name", DRAWN)
def test_a_caption_is_sentences(drawn, name):
    results, made = drawn[name]
    said = caption(name, made, results)
    assert made.datasets[made.figures[name]].title in said
    assert "\n" not in said and "  " not in said and "None" not in said and "nan" not in said
    for sentence in re.split(r"(?<=[.!?]) (?=[A-ZΑ-ΩλΣμσ‖−])", said):
        assert sentence.endswith("."), sentence
        assert len(sentence.split()) <= 45, sentence


def test_a_model_looks_the_same_everywhere(figures):
    for name in ("fig1a", "fig1b", "fig2c", "fig2d"):
        colors = {
            to_rgb(part.get_color())
            for ax in figures[name].axes
            for part in ax.lines
            if isinstance(part.get_color(), str)
        }
        for model in ("VAE", "HEBAE"):
            assert to_rgb(LOOKS[model].color) in colors, (name, model)


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
        ("fig2c", "mutual_information",
         lambda t: re.sub(r"[0-9.]+,[0-9.]+,broken\n", "nan,1,broken\n", t),
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


def test_the_command_takes_the_widths_that_a_config_may_have(demo, tmp_path):
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    allowed = schema["properties"]["figure_width"]
    assert (allowed["minimum"], allowed["maximum"]) == (drawing.NARROWEST, drawing.WIDEST)
    given = arguments("fig2a", demo, tmp_path, tmp_path / "fig2a.pdf")[1:]
    for width in ("2.9", "nan", "inf", "-3"):
        with pytest.raises(UserError, match="from 3 to 20 inches"):
            drawing.main([*given, f"--width={width}"])
