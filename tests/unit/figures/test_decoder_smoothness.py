"""How fast decoders change, drawn from planted tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import check_fits, draw, experiment, table_rows

from hebae.base.errors import UserError
from hebae.base.text import number
from hebae.facts import decoder_smoothness as facts
from hebae.figures import decoder_smoothness
from hebae.figures.common import looks_of

WIDTHS = (6.9, 3.3)
MODELS = ["VAE", "HEBAE", "HEBAE-diagonal", "WAE"]


def planted(change=lambda table: table, **changes):
    made = experiment("toyfaces", **changes)
    table = pd.DataFrame(table_rows("smoothness", made)).astype({"weight": float})
    return {"smoothness": change(table)}, made, "toyfaces"


def said(*arguments) -> str:
    return " ".join(filter(None, facts.caption(*arguments)))


@pytest.mark.parametrize("width", WIDTHS)
def test_rates_against_steps(width):
    given = planted()
    table = given[0]["smoothness"].query("latent_dim == 16")
    figure = decoder_smoothness.draw(*given, width)
    shape = figure.axes[0].get_gridspec()
    assert (shape.nrows, shape.ncols) == ((1, 2) if width == 6.9 else (2, 1))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["at samples of the prior", "at codes of test images"]
    for ax, at in zip(figure.axes, ("prior", "codes"), strict=True):
        assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
        curves = {line.get_label(): line for line in ax.lines if line.get_label() in MODELS}
        for model in MODELS:
            rows = table[(table["model"] == model) & (table["at"] == at)]
            rates = (rows["change"] / rows["step"]).groupby(rows["step"])
            np.testing.assert_allclose(curves[model].get_xdata(), [0.01, 0.1, 1])
            np.testing.assert_allclose(curves[model].get_ydata(), rates.mean())
            assert curves[model].get_color() == looks_of(given[1])[model].color


def test_the_caption():
    given = planted()
    table = given[0]["smoothness"].query("latent_dim == 16 and model == 'WAE' and at == 'prior'")
    rate = (table["change"] / table["step"]).to_numpy().reshape(2, 3)
    text = said(*given)
    assert f"{number(rate[:, 0].mean())} for WAE-MMD" in text.partition("smallest h is")[2]
    ratio = np.exp(np.log(rate[:, 0] / rate[:, 2]).mean())
    assert f"{number(ratio)} for WAE-MMD times the rate at the largest h." in text
    assert "Over 500 codes and as many directions." in text
    assert "Sec. 2.4" in text and "No mean" not in text and "Left out" not in text


def test_a_seed_that_diverged_leaves_a_gap():
    def lose(table):
        table.loc[table.query("model == 'VAE' and seed == 1 and at == 'prior'").index, "change"] = (
            np.nan
        )
        return table

    given = planted(lose)
    prior, codes = decoder_smoothness.draw(*given).axes
    drawn = [{line.get_label() for line in ax.lines} for ax in (prior, codes)]
    assert "VAE" not in drawn[0] and "VAE" in drawn[1]
    text = said(*given)
    assert "No mean is shown of VAE at samples of the prior: a seed has no finite value." in text
    assert "nan" not in text


def test_a_decoder_that_is_constant_has_no_ratio():
    given = planted(lambda t: t.assign(change=t["change"].where(t["model"] != "VAE", 0.0)))
    text = said(*given)
    assert "At samples of the prior, the rate at the smallest h is 0 for VAE" in text
    assert "VAE" not in text.partition("That is ")[2].partition(" times")[0].partition("for")[0]
    assert "inf" not in text and "nan" not in text


def test_autoregressive_decoders_are_left_out():
    made = experiment("toyfaces")
    models = made.datasets["toyfaces"].models
    other = dataclasses.replace(models["WAE"], network="pixelcnn")
    given = planted(models={**models, "WAE": other})
    assert "Left out, with an autoregressive decoder: WAE-MMD." in said(
        {"smoothness": planted()[0]["smoothness"]}, *given[1:]
    )
    every = {name: dataclasses.replace(one, network="pixelcnn") for name, one in models.items()}
    with pytest.raises(UserError, match="no decoder of 'toyfaces' can be measured"):
        facts.measured(planted()[0], experiment("toyfaces", models=every), "toyfaces")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="change"), "no column 'change'"),
        (lambda t: t[t["at"] == "prior"], "expected"),
        (lambda t: pd.concat([t, t]), "two rows with"),
    ],
)
def test_wrong_tables(change, message):
    with pytest.raises(UserError, match=message) as caught:
        decoder_smoothness.draw(*planted(change))
    assert "\n" not in str(caught.value)


VARIANTS = {
    "planted": lambda: planted(),
    "one seed": lambda: planted(seeds=(0,), weight_seeds=(0,)),
    "wide": lambda: planted(lambda t: t.assign(change=t["change"] / t["step"] ** 0.5)),
    "long title": lambda: planted(title="An uncommonly long title of a dataset"),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_text_fits(name, width):
    figure = decoder_smoothness.draw(*VARIANTS[name](), width)
    assert figure.get_figwidth() == width
    check_fits(figure, name)


def test_it_is_drawn_by_its_name(results, faces):
    assert len(draw("decoder_smoothness", results / "faces", faces).axes) == 2
