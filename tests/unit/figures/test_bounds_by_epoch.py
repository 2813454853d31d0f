"""The bounds and the noise by epoch, drawn from planted tables."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import by_label, check_fits, experiment

from hebae.base.errors import UserError
from hebae.facts import bounds_by_epoch as facts
from hebae.figures import bounds_by_epoch

SPARSE = (1, 2, 3, 5, 10, 20, 30, 48, 54, 60)
VALUES = {
    # by model: paper's bound, per-sample bound, widened bound, noise after epoch t
    "VAE": (lambda t: -20 - 5 / t, lambda t: -20 - 5 / t, lambda t: -21 - 5 / t, lambda t: 0.4),
    "HEBAE": (
        lambda t: -15 - 9 / t,
        lambda t: -30 - 0.5 * t,
        lambda t: -22 - 5 / t,
        lambda t: 0.1 / t,
    ),
    "HEBAE-diagonal": (
        lambda t: -15 - 9.1 / t,
        lambda t: -30 - 0.6 * t,
        lambda t: -22 - 5 / t,
        lambda t: 0.11 / t,
    ),
    "WAE": (lambda t: None, lambda t: None, lambda t: -23 - 5 / t, lambda t: 0.0),
}


def tables_of(made) -> dict[str, pd.DataFrame]:
    rows = []
    for run in made.default_runs():
        for epoch in range(1, 61):
            paper, own, widened, noise = (value(epoch) for value in VALUES[run.model])
            shift = 0.1 * run.seed
            rows.append(
                run.identity
                | {"weight": run.lam, "epoch": epoch, "split": "test"}
                | {"elbo_paper": paper and paper + shift, "elbo": own and own + shift}
                | {"elbo_widened": widened + shift if epoch in SPARSE else None}
                | {"noise_deviation": noise * (1 + shift)}
            )
    return {"elbo_by_epoch": pd.DataFrame(rows)}


@pytest.fixture(scope="module")
def demo():
    return experiment()


@pytest.fixture(scope="module")
def tables(demo):
    return tables_of(demo)


def said(tables, made) -> str:
    return " ".join(filter(None, facts.caption(tables, made, "digits")))


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_panels(tables, demo, width):
    figure = bounds_by_epoch.draw(tables, demo, "digits", width)
    check_fits(figure, "bounds_by_epoch")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["paper’s bound", "per-sample bound", "widened bound", "noise in z (prior: 1)"]
    paper, own, widened, noise = map(by_label, figure.axes)
    assert "WAE" not in paper and "WAE" not in own and "WAE" not in noise
    assert widened["WAE"].get_xdata() == pytest.approx(SPARSE)
    t = np.arange(1, 61)
    np.testing.assert_allclose(own["HEBAE"].get_ydata(), -30 - 0.5 * t + 0.1)
    np.testing.assert_allclose(noise["HEBAE"].get_ydata(), 0.11 / t)
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}
    assert [ax.get_yscale() for ax in figure.axes] == ["linear"] * 3 + ["log"]


def test_the_caption_says_what_settles(tables, demo):
    text = said(tables, demo)
    assert "−0.500 (−0.500 to −0.500) for HEBAE," in text
    assert "Not settled: per-sample bound (HEBAE, HEBAE (diagonal))." in text
    assert re.search(r"widened bound \(VAE, HEBAE, HEBAE \(diagonal\), WAE-MMD\)\.", text)
    assert "HEBAE passes VAE’s final value in epoch 2 by the paper’s bound (−20.0 nats)" in text
    assert "never by the per-sample bound" in text
    assert "Not shown" not in text and "No mean" not in text


def test_the_rule_by_hand(tables, demo):
    curve = facts.measured(tables, demo, "digits").curves["elbo"]
    slopes = facts.changes(curve, "elbo").groupby("model").mean()
    t = np.arange(48, 61)
    assert slopes["VAE"] == pytest.approx(np.polyfit(t, -20 - 5 / t, 1)[0])
    assert slopes["HEBAE"] == pytest.approx(-0.5)
    one = curve[curve["epoch"] == 60]
    assert facts.changes(one, "elbo").isna().all()
    assert facts.settles(one, "elbo").empty


def test_seeds_that_move_in_opposite_directions_do_not_settle(tables, demo):
    """.1 nats an epoch in the last 12 of 60, up or down; so does the claim ``bound-settles``."""
    curve = facts.measured(tables, demo, "digits").curves["elbo"].query("model == 'HEBAE'")
    seeds = sorted(set(curve["seed"]))[:2]
    curve = curve[curve["seed"].isin(seeds)]
    sign = np.where(curve["seed"] == seeds[0], 1, -1)
    moving = curve.assign(elbo=sign * 0.1 * curve["epoch"])
    assert facts.changes(moving, "elbo").mean() == pytest.approx(0)
    assert not facts.settles(moving, "elbo")["HEBAE"]
    assert facts.settles(moving.assign(elbo=sign * 0.04 * moving["epoch"]), "elbo")["HEBAE"]


def test_tables_that_were_published_before(tables, demo):
    """They have two bounds; the other two panels are left out, and the caption says so."""
    old = tables["elbo_by_epoch"].drop(columns=["elbo_widened", "noise_deviation"])
    figure = bounds_by_epoch.draw({"elbo_by_epoch": old}, demo, "digits")
    assert [ax.get_title() for ax in figure.axes] == ["paper’s bound", "per-sample bound"]
    assert (
        "Not shown, as these runs were not measured for it: widened bound and deviation of z "
        "given x."
    ) in said({"elbo_by_epoch": old}, demo)
    with pytest.raises(UserError, match="no column 'elbo_paper'"):
        nothing = old.drop(columns=["elbo_paper", "elbo"])
        bounds_by_epoch.draw({"elbo_by_epoch": nothing}, demo, "digits")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", facts.COLUMNS)
def test_a_diverged_seed(tables, demo, column, value):
    table = tables["elbo_by_epoch"].copy()
    table.loc[(table["model"] == "VAE") & (table["seed"] == 0), column] = value
    figure = bounds_by_epoch.draw({"elbo_by_epoch": table}, demo, "digits")
    figure.draw_without_rendering()
    text = said({"elbo_by_epoch": table}, demo)
    assert not re.search(r"\b(nan|inf|None)\b|∞", text), text
    assert f"No mean is shown of {facts.COLUMNS[column]} of VAE in some epochs" in text


def test_nothing_to_draw(tables, demo):
    data = demo.datasets["digits"]
    only = dataclasses.replace(data, models={"WAE": data.models["WAE"]})
    made = dataclasses.replace(demo, datasets={"digits": only})
    with pytest.raises(UserError, match="bounds_by_epoch: no model of digits has a bound"):
        bounds_by_epoch.draw(tables, made, "digits")
