"""The figure of the identities of Section 3, drawn from tables made up here."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.figures.planted import ROOT, check_fits, stream

from hebae.base.errors import UserError
from hebae.config.parse import parse
from hebae.facts import identities as facts
from hebae.figures import identities as drawing
from hebae.figures.looks import LOOKS

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
    latent_dims: [2, 8]
    main_latent_dim: 8
    training: {epochs: 40}
    models:
      VAE: {weight: 1}
      HEBAE: {weight: 1, weights: [0.5, 1]}
      HEBAE-diagonal: {weight: 1}
      WAE: {weight: 10}
figures: {identities: digits}
"""
# residual and standard error
PLANTED = {
    "theorem_1": (1e-16, None), "closed_form": (0.002, 0.003), "reparameterisation": (2e-13, None),
    "total_covariance": (-0.001, 0.002), "surgery": (0.01, 0.01), "information": (-0.01, 0.01),
    "plugged_in_prior": (0, None), "cross_image": (-2e-18, None), "scalar_variance": (1e-9, None),
    "means_for_codes": (-2e-6, None), "gaussian_aggregate": (38.0, 1e-17),
    "full_information": (-3.0, 0.02), "batch_regulariser": (0.12, 0.003),
    "batch_bias": (-0.014, 0.003), "batch_prior": (0.35, 0.01), "mean_penalty": (0.008, None),
}  # fmt: skip
OF_HEBAE = {"reparameterisation", "scalar_variance"}
OF_NOISE = {"surgery", "information", "gaussian_aggregate"}


def experiment(**changes):
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    made = parse(yaml.safe_load(DOCUMENT), schema).experiment
    data = dataclasses.replace(made.datasets["digits"], **changes)
    return dataclasses.replace(made, datasets={"digits": data})


def planted(made, **residuals: float) -> dict[str, pd.DataFrame]:
    """Tables; residuals: of HEBAE (diagonal), by identity, instead."""
    found = []
    for run in made.default_runs():
        random = stream("identities", run.path)
        for identity, (residual, error) in PLANTED.items():
            if identity in OF_HEBAE and run.objective != "hebae":
                continue
            if identity in OF_NOISE and run.objective == "wae_mmd":
                continue
            if run.model == "HEBAE-diagonal":
                residual = residuals.get(identity, residual)
            residual *= random.uniform(0.8, 1.2)
            found.append(
                {
                    **run.identity,
                    "weight": run.lam,
                    "identity": identity,
                    "equation": "",
                    "kind": "",
                }
                | {"left": 1 + residual, "right": 1.0, "residual": residual}
                | {"standard_error": error}
            )
    return {"identities": pd.DataFrame(found)}


def marks(ax) -> dict[float, tuple[float, str, str]]:
    """The mean of each line from above, with its look, by place."""
    return {
        float(y): (float(x), line.get_color(), line.get_marker())
        for line in ax.lines
        if line.get_marker() not in ("None", None, "", "|")
        for x, y in line.get_xydata()
        if np.isfinite(x)
    }


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_what_the_table_holds(width):
    made = experiment()
    tables = planted(made, reparameterisation=0.03)
    figure = drawing.draw(tables, made, "digits", width)
    check_fits(figure, "identities")
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(facts.PANELS)
    table = tables["identities"].query("latent_dim == 8")
    for ax, labels in zip(figure.axes, facts.PANELS.values(), strict=True):
        found, place = marks(ax), 0
        names = [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
        assert names == list(labels.values())
        for middle, name in zip(ax.get_yticks(), labels, strict=True):
            rows = table[table["identity"] == name]
            models = [model for model in made.models if model in set(rows["model"])]
            assert middle == place + (len(models) - 1) / 2
            for model in models:
                sizes = rows.loc[rows["model"] == model, "residual"].abs().clip(lower=1e-13)
                x, *look = found.pop(place)
                assert x == pytest.approx(sizes.mean()), (name, model)
                assert look == [LOOKS[model].color, LOOKS[model].marker]
                place += 1
        assert not found
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        low, high = ax.get_xlim()
        assert low < 1e-13 and high > 38 * 1.2
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert sorted(ticks[0].get_xdata())[-1] == pytest.approx(0.02)


def test_the_caption():
    made = experiment()
    tables = planted(made, reparameterisation=0.03)
    said = " ".join(filter(None, facts.caption(tables, made, "digits")))
    holding, _, rest = said.partition("Not exact for ")
    assert "Theorem 1; Eq. 11: closed form of R; Eq. 9: covariance of z" in holding
    assert "Eq. 8" not in holding.partition("These hold for all models")[2].partition(".")[0]
    assert rest.startswith("HEBAE (diagonal), Eq. 8: L Lᵀ = Σ̂: 0.02")
    size = tables["identities"].query("identity == 'gaussian_aggregate' and latent_dim == 8")
    mean = size.groupby("model")["residual"].mean()
    assert f"{mean['VAE']:.1f} for VAE, {mean['HEBAE']:.1f} for HEBAE" in said
    assert "R of batches of 128 is 0.1" in said
    assert "Digits 8×8, latent dimension 8, after 40 epochs." in said
    assert "nan" not in said and "None" not in said and "  " not in said
    for sentence in re.split(r"(?<=[.!?]) (?=[A-ZΑ-Ω])", said):
        assert len(sentence.split()) <= 45, sentence
    # residuals beyond four standard errors are none of Monte Carlo's
    worse = planted(made, surgery=0.3)
    assert "Not exact for HEBAE (diagonal), Eq. 10: mean KL: 0.2" in " ".join(
        facts.caption(worse, made, "digits")
    )


def test_a_seed_without_a_value_leaves_no_mean():
    made = experiment()
    tables = planted(made)
    table = tables["identities"]
    of_run = (table.model == "VAE") & (table.seed == 1) & (table.identity == "theorem_1")
    table.loc[of_run, ["left", "residual"]] = [np.inf, np.nan]
    figure = drawing.draw(tables, made, "digits")
    check_fits(figure, "identities")
    assert sorted(marks(figure.axes[0]))[:4] == [1, 2, 3, 4]
    assert "not finite" in [text.get_text() for text in figure.axes[0].texts]
    said = " ".join(facts.caption(tables, made, "digits"))
    assert "No mean is shown of VAE (Theorem 1): a seed has no finite value." in said


def test_a_table_without_some_identities_draws_the_others():
    made = experiment()
    tables = planted(made)
    table = tables["identities"]
    tables["identities"] = table[table["identity"].isin(["theorem_1", "mean_penalty"])]
    figure = drawing.draw(tables, made, "digits", 3.3)
    check_fits(figure, "identities")
    assert [ax.get_title(loc="left") for ax in figure.axes] == [facts.EXACT, facts.BATCH]
    assert "Gaussian of Eq. 9" not in " ".join(facts.caption(tables, made, "digits"))


def test_one_seed():
    made = experiment(seeds=(0,))
    figure = drawing.draw(planted(made), made, "digits")
    check_fits(figure, "identities")
    assert "Marks: one seed." in facts.caption(planted(made), made, "digits")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="identity"), "no column 'identity'"),
        (lambda t: t.drop(columns="residual"), "no column 'residual'"),
        (lambda t: t.assign(identity="other"), "no identity of digits"),
        (lambda t: t.query("model != 'HEBAE' or seed != 1"), "0 rows, expected 1"),
        (lambda t: pd.concat([t, t[:1]]), "2 rows, expected 1"),
    ],
)
def test_a_wrong_table_is_an_error_in_one_line(change, message):
    made = experiment()
    tables = planted(made)
    tables["identities"] = change(tables["identities"].query("latent_dim == 8"))
    with pytest.raises(UserError, match=message) as error:
        drawing.draw(tables, made, "digits")
    assert "\n" not in str(error.value)
