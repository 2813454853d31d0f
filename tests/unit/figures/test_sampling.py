"""Where a distance comes from, drawn from planted tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import SAMPLINGS, check_fits, draw, experiment, table_rows

from hebae.base.errors import UserError
from hebae.base.text import number
from hebae.facts import sampling as facts
from hebae.figures import sampling
from hebae.figures.common import looks_of

WIDTHS = (6.9, 3.3)
MODELS = ["VAE", "HEBAE", "HEBAE-diagonal", "WAE"]


def planted(change=lambda table: table, **changes):
    """What the figure's functions are given, with changes to the dataset and to its table."""
    made = experiment("toyfaces", **changes)
    table = pd.DataFrame(table_rows("fid", made)).astype({"weight": float})
    return {"fid": change(table)}, made, "toyfaces"


def said(*arguments) -> str:
    return " ".join(filter(None, facts.caption(*arguments)))


def of_main_runs(table: pd.DataFrame, made) -> pd.DataFrame:
    models = made.datasets["toyfaces"].models
    default = table["weight"] == table["model"].map({m: r.default for m, r in models.items()})
    return table[default & (table["latent_dim"] == 16)]


def rows_of(ax) -> dict[int, dict]:
    """What each row shows, by its place from above."""
    found = {}
    for line in ax.lines:
        for x, y in line.get_xydata():
            if (
                np.isfinite([x, y]).all()
                and y == int(y)
                and line.get_marker() not in ("None", None, "")
            ):
                found[int(y)] = {"mean": x, "color": line.get_color(), "mark": line.get_marker()}
    for text in ax.texts:
        found.setdefault(int(text.get_position()[1]), {})["text"] = text.get_text()
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_what_the_table_holds(width):
    given = planted()
    table = of_main_runs(given[0]["fid"], given[1])
    figure = sampling.draw(*given, width)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "Fréchet distance"
    assert [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()] == list(
        facts.SAMPLINGS.values()
    )
    shown, looks = rows_of(ax), looks_of(given[1])
    order = [(one, model) for one in SAMPLINGS for model in MODELS]
    assert list(facts.SAMPLINGS) == list(SAMPLINGS) and len(shown) == len(order)
    for place, (one, model) in enumerate(order):
        seeds = table[(table["sampling"] == one) & (table["model"] == model)]["fid"]
        assert len(seeds) == 2
        assert shown[place] == {
            "mean": pytest.approx(seeds.mean()),
            "color": looks[model].color,
            "mark": looks[model].marker,
            "text": number(seeds.mean()),
        }
    (floor,) = [line for line in ax.lines if list(line.get_xdata()) == [9.0, 9.0]]
    assert list(floor.get_ydata()) == [0, 1]


def test_the_caption_tells_the_prior_from_the_decoder():
    given = planted()
    table = of_main_runs(given[0]["fid"], given[1])
    means = table.groupby(["sampling", "model"])["fid"].mean()
    text = said(*given)
    for below, what in (("gaussian", "Gaussian"), ("mixture", "mixture")):
        more = means["prior"] - means[below]
        numbers = f"{number(more['VAE'])} for VAE, {number(more['HEBAE'])} for HEBAE, "
        assert f"Less that of samples of a {what}: {numbers}" in text.partition("a mismatch")[2]
    of_vae = table[(table["sampling"] == "reconstruction") & (table["model"] == "VAE")]["fid"]
    told = f"reconstructions of training images, at a distance of {number(of_vae.mean())} for VAE"
    assert told in text
    for part in (
        "The Fréchet distance between 1,000 decoded images and 800 real images of the test split",
        "Toy faces, latent dimension 16, after 3 epochs.",
        "the codes of two training images",
        "Grey line: 1,000 real training images, at 9",
        "mean test accuracy 0.914",
        "Marks and numbers: mean over 2 seeds",
    ):
        assert part in text
    assert "Only samples" not in text and "No mean" not in text
    assert "different numbers of images" not in text


def test_the_other_split_and_how_many_images_it_has():
    def few(table):
        table["reference"] = "train"
        table.loc[table["sampling"].isin(["real", "reconstruction"]), "n_generated"] = 200
        return table

    text = said(*planted(few))
    for part in (
        "between 1,000 and 200 decoded images and 800 real images of the train split",
        "reconstructions of test images, at",
        "the codes of two test images",
        "Grey line: 200 real test images, at 9",
        "Kinds with different numbers of images do not compare with each other.",
    ):
        assert part in text


def test_other_weights_and_dimensions_change_nothing():
    """Nor do other datasets, and the order of the rows."""
    given = planted()
    whole = given[0]["fid"]
    alone = of_main_runs(whole, given[1]).sample(frac=1, random_state=0)
    assert len(alone) < len(whole)
    assert said({"fid": alone}, *given[1:]) == said(*given)


def test_a_table_of_the_prior_alone():
    """As it was published before, without the column."""
    given = planted(lambda table: table[table["sampling"] == "prior"].drop(columns="sampling"))
    (ax,) = sampling.draw(*given).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["samples of the prior"]
    text = said(*given)
    assert "Only samples of the prior were measured." in text
    for part in ("mismatch", "decoder costs", "Grey line", "two codes"):
        assert part not in text


def test_a_seed_without_a_distance():
    def lose(table):
        where = "model == 'VAE' and seed == 1 and sampling == 'mixture'"
        table.loc[table.query(where).index, "fid"] = np.inf
        return table

    given = planted(lose)
    (ax,) = sampling.draw(*given).axes
    row = list(SAMPLINGS).index("mixture") * len(MODELS)
    assert rows_of(ax)[row] == {"text": "not finite"}
    text = said(*given)
    assert "No mean is shown of VAE, samples of a mixture: a seed has no finite value." in text
    assert "inf" not in text and "nan" not in text
    costs = text.partition("that of samples of a mixture: ")[2]
    assert costs.partition(" for ")[2].startswith("HEBAE")  # as the VAE's is unknown


def test_distances_of_0_have_a_linear_axis():
    given = planted(lambda table: table.assign(fid=table["fid"].where(table["seed"] > 0, 0.0)))
    assert sampling.draw(*given).axes[0].get_xscale() == "linear"
    assert "inf" not in said(*given)


def test_inception_makes_it_a_fid():
    fid = dataclasses.replace(experiment("toyfaces").datasets["toyfaces"].fid, features="inception")
    given = planted(fid=fid)
    assert sampling.draw(*given).axes[0].get_xlabel() == "FID"
    assert said(*given).startswith("The FID between") and "Fréchet" not in said(*given)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t[(t["sampling"] != "mixture") | (t["seed"] == 0)], "s1: 0 rows, expected 1"),
        (lambda t: t.assign(reference=["a", "b"] * (len(t) // 2)), "different reference do not"),
        (lambda t: t.drop(columns="fid"), "no column 'fid'"),
    ],
)
def test_wrong_tables(change, message):
    with pytest.raises(UserError, match=message) as caught:
        sampling.draw(*planted(change))
    assert "\n" not in str(caught.value)


VARIANTS = {
    "planted": lambda: planted(),
    "one seed": lambda: planted(seeds=(0,), weight_seeds=(0,)),
    "wide": lambda: planted(lambda t: t.assign(fid=t["fid"].where(t["model"] != "VAE", 1e5))),
    "narrow": lambda: planted(lambda t: t.assign(fid=10 + t["fid"] / 1000)),
    "long title": lambda: planted(title="An uncommonly long title of a dataset"),
    "no real": lambda: planted(lambda t: t[t["sampling"] != "real"]),
    "few": lambda: planted(lambda t: t[t["sampling"].isin(["prior", "midpoints"])]),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_text_fits(name, width):
    figure = sampling.draw(*VARIANTS[name](), width)
    assert figure.get_figwidth() == width
    check_fits(figure, name)


def test_it_is_drawn_by_its_name(results, faces):
    assert len(draw("sampling", results / "faces", faces).axes) == 1
