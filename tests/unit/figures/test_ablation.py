"""Noise or divergence: the figure and its numbers, from planted tables."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.figures.planted import ROOT, check_fits

from hebae.base.errors import UserError
from hebae.base.files import write_csv
from hebae.base.text import number
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.registry import COMPARED, FIGURES, NOISES
from hebae.facts import ablation as facts
from hebae.figures import ablation
from hebae.figures.draw import caption, draw
from hebae.figures.looks import LOOKS
from hebae.measures.sampling_floor import covariance_distance

WIDTHS = (6.9, 3.3)
DOCUMENT = """
experiment: noises
seeds: [0, 1, 2]
models:
  fixed-KL: {objective: fixed_noise, divergence: {name: posterior_kl}, sigma: 0.2}
  fixed-MMD: {objective: fixed_noise, divergence: {name: mmd}}
  fixed-moments: {objective: fixed_noise, divergence: {name: moments}}
  VAE: {objective: vae}
  diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  HEBAE: {objective: hebae, mean_weight: 1}
  second: {objective: batch_noise, divergence: {name: moments}, title: HEBAE again}
  HEBAE-MMD: {objective: batch_noise, divergence: {name: mmd}}
  HEBAE-KL: {objective: batch_noise, divergence: {name: posterior_kl}}
  heavy: {objective: hebae, mean_weight: 2, title: HEBAE (mean)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
  noiseless: {objective: no_noise, divergence: {name: moments}}
  norm: {objective: no_noise, divergence: {name: squared_norm}, title: Autoencoder}
  mixed: {objective: infovae, alpha: 0.5, title: InfoVAE (half)}
  InfoVAE: {objective: infovae, alpha: 1}
  free-moments: {objective: free_noise, divergence: {name: moments}}
  loose: {objective: free_noise, divergence: {name: moments, mean_weight: 3}}
  Stein: {objective: free_noise, divergence: {name: stein}}
  annealed: {objective: annealed_vae}
  GAN: {objective: wae_gan}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    latent_dims: [2, 4]
    main_latent_dim: 4
    training: {epochs: 40}
    bounds: {samples: [1, 100]}
    fid: {features: classifier, n_generated: 500, n_reference: 400}
    models: {}
figures: {ablation: digits}
"""
GRID = {
    ("none", "moments"): "noiseless", ("none", "mmd"): "WAE", ("none", "posterior_kl"): "norm",
    ("free", "moments"): "free-moments", ("free", "mmd"): "InfoVAE",
    ("free", "posterior_kl"): "VAE", ("batch", "moments"): "HEBAE", ("batch", "mmd"): "HEBAE-MMD",
    ("batch", "posterior_kl"): "HEBAE-KL", ("fixed", "moments"): "fixed-moments",
    ("fixed", "mmd"): "fixed-MMD", ("fixed", "posterior_kl"): "fixed-KL",
}  # fmt: skip
CELLS = {model: cell for cell, model in GRID.items()}
OF_NOISE = {"none": 0.0, "free": 1.0, "batch": 2.0, "fixed": 3.0}
OF_WHICH = {"mean": 1.0, "sample": 0.7}
OF_DIVERGENCE = {"moments": 0.0, "mmd": 10.0, "posterior_kl": 20.0}


def made(only: tuple[str, ...] = (), **changes) -> Experiment:
    """Of all models, or only of some, with changes to the document."""
    document = yaml.safe_load(DOCUMENT)
    names = only or tuple(document["models"])
    models = {name: {"weight": 10 if "MMD" in name else 1} for name in names}
    document["models"] = {name: document["models"][name] for name in names}
    document["datasets"]["digits"] |= {"models": models} | changes
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    return parse(document, schema).experiment


def level(noise: str, divergence: str) -> float:
    """Divergences are further apart than noises."""
    return 30 + OF_NOISE[noise] + OF_DIVERGENCE[divergence]


def planted(experiment: Experiment, of=level, spread: float = 0.01) -> dict[str, pd.DataFrame]:
    """The tables; lower is better by `of`, whose value at another dimension is 1000 higher."""
    found: dict[str, list[dict]] = {name: [] for name in FIGURES["ablation"].tables}
    for run in experiment.default_runs():
        d = run.latent_dim
        value = of(*CELLS.get(run.model, ("none", "mmd"))) + spread * (run.seed - 1)
        value += 1000 * (d != 4)
        for samples in (1, 100):
            widened = -value - (samples == 1)
            found["bounds"].append(run.identity | {"samples": samples, "widened": widened})
        found["elbo_by_weight"].append(run.identity | {"reconstruction": value})
        for which, i, j in itertools.product(("mean", "sample"), range(d), range(d)):
            off = value * OF_WHICH[which] * (i == j == 0)
            row = {"which": which, "i": i, "j": j, "covariance": (i == j) + off, "n_codes": 400}
            found["covariance"].append(run.identity | row)
        for sampling, factor in (("prior", 1), ("mixture", 0.5), ("real", 0.1)):
            row = {"sampling": sampling, "features": "classifier of digits", "fid": value * factor}
            found["fid"].append(run.identity | row)
    return {name: pd.DataFrame(rows).astype({"weight": float}) for name, rows in found.items()}


def given(change=lambda tables: tables, experiment=None, **how):
    """What the figure's functions are given."""
    experiment = experiment or made()
    tables = planted(experiment, **how)
    return change(tables) or tables, experiment, "digits"


def said(*arguments) -> str:
    return " ".join(filter(None, facts.caption(*arguments)))


# The grid


def test_which_models_are_a_noise_with_a_divergence_and_nothing_else():
    """In the order of the registry, whatever the config's is."""
    found = made().noises_and_divergences("digits")
    assert found == GRID and list(found) == list(GRID)
    assert list(GRID) == list(itertools.product(NOISES, COMPARED))


@pytest.mark.parametrize("models", [("VAE", "HEBAE", "WAE"), ("HEBAE", "HEBAE-KL"),
                                    ("HEBAE", "noiseless"), ("VAE",)])  # fmt: skip
def test_a_figure_needs_models_that_differ_in_one_alone(models):
    with pytest.raises(
        UserError, match=r"figures\.ablation: no models of 'digits' differ in their"
    ):
        made(models)


def test_three_models_are_enough():
    """InfoVAE shares its noise with the VAE, and its divergence with the WAE."""
    experiment = made(("VAE", "InfoVAE", "WAE"))
    text = said(*given(experiment=experiment))
    assert "differ in the noise alone, in the divergence alone and in their seeds" in text
    assert "Not compared" not in text
    for width in WIDTHS:
        check_fits(ablation.draw(*given(experiment=experiment), width), "three")


# The numbers


def test_the_values_are_those_of_the_tables():
    found = facts.measured(*given())
    assert len(found.runs) == 36 and set(found.runs["model"]) == set(CELLS)
    assert found.samples == 100 and found.floor == covariance_distance(400, 4)
    for row in found.runs.itertuples():
        assert (row.noise, row.divergence) == CELLS[row.model]
        value = level(row.noise, row.divergence) + 0.01 * (row.seed - 1)
        expected = (-value, value, value, 0.7 * value, value, value / 2)
        got = (row.bound, row.reconstruction, row.distance, row.codes, row.prior, row.mixture)
        assert got == pytest.approx(expected)


def test_effects_are_means_over_pairs():
    """By brute force, of numbers that are not additive."""
    random = np.random.default_rng(0)
    levels = {cell: 40 + 10 * random.uniform() for cell in GRID}
    table = facts.effects(facts.measured(*given(of=lambda *cell: levels[cell])))
    expected = {"divergence": [], "noise": []}
    for one, other in itertools.combinations(GRID, 2):
        if (one[0] == other[0]) != (one[1] == other[1]):
            changed = "divergence" if one[0] == other[0] else "noise"
            expected[changed].append(abs(levels[one] - levels[other]))
    assert [len(of) for of in expected.values()] == [12, 18]
    for changed, of in expected.items():
        assert table.loc["reconstruction", changed] == pytest.approx(np.mean(of))
        assert table.loc["mixture", changed] == pytest.approx(np.mean(of) / 2)
    assert table.loc["reconstruction", "chance"] == pytest.approx(2 * 0.01 / math.sqrt(3 * math.pi))


def test_by_chance_is_what_models_that_are_alike_are_apart():
    random = np.random.default_rng(1)
    runs = pd.DataFrame(
        {"model": np.repeat(np.arange(4000), 5), "bound": 3 * random.standard_normal(20_000)}
    )
    found = facts.Ablation(runs, [], [], None, None, None)
    means = runs.groupby("model")["bound"].mean().to_numpy().reshape(2, -1)
    apart = np.abs(means[0] - means[1])
    error = apart.std() / math.sqrt(len(apart))
    assert facts.by_chance(found, "bound") == pytest.approx(apart.mean(), abs=4 * error)
    one = found._replace(runs=runs.drop_duplicates("model"))
    assert math.isnan(facts.by_chance(one, "bound"))


# The caption


@pytest.mark.parametrize(
    "of, answer",
    [
        (level, "On average the divergence moves these models further than the noise does, by all"),
        (
            lambda noise, divergence: 30 + 10 * OF_NOISE[noise] + OF_DIVERGENCE[divergence] / 10,
            "On average the noise moves these models further than the divergence does, by all 6",
        ),
        (
            lambda noise, divergence: 30.0,
            "On average the divergence and the noise move them as far",
        ),
    ],
)
def test_the_answer_is_that_of_the_data(of, answer):
    text = said(*given(of=of))
    assert text.startswith(answer)
    answers = ("divergence moves these", "noise moves these", "move them as far")
    assert sum(one in text for one in answers) == 1


def test_what_seeds_explain_is_no_answer():
    """The divergence does 11.7 more than the noise; seeds alone, 0.65 times their deviation."""
    assert said(*given(spread=15.0)).startswith("On average the divergence moves")
    assert said(*given(spread=20.0)).startswith("On average the divergence and the noise move")


def test_an_answer_for_each_measure():
    """The noise alone moves the bound, the divergence alone all else."""

    def change(tables):
        table = tables["bounds"]
        noise = table["model"].map(lambda model: OF_NOISE[CELLS.get(model, ("none",))[0]])
        tables["bounds"] = table.assign(widened=-30 - noise - 0.01 * table["seed"])

    text = said(*given(change))
    assert (
        "On average the divergence moves these models further than the noise does, by the "
        "reconstruction error, ‖Cov(μ) − I‖, ‖Cov(z) − I‖, the distance of the prior’s samples and "
        "the distance of the mixture’s samples. On average the noise moves these models further "
        "than the divergence does, by the bound."
    ) in text


def test_the_caption_has_the_numbers():
    def interacting(noise, divergence):
        """With moments the noise does nothing, with the KL much."""
        return 30 + OF_DIVERGENCE[divergence] * (1 + OF_NOISE[noise] / 10)

    text = said(*given(of=interacting))
    noises = np.mean([abs(interacting(a, name) - interacting(b, name)) for name in COMPARED
                      for a, b in itertools.combinations(NOISES, 2)])  # fmt: skip
    others = np.mean([abs(interacting(name, a) - interacting(name, b)) for name in NOISES
                      for a, b in itertools.combinations(COMPARED, 2)])  # fmt: skip
    for part in (
        "The noise does least with moments (all 6 measures). The noise does most with the "
        "per-sample KL (all 6 measures).",
        "How far two models are apart that differ in the noise alone, in the divergence alone and "
        f"in their seeds: the bound {number(noises)}, {number(others)} and "
        f"{number(2 * 0.01 / math.sqrt(3 * math.pi))} nats; the reconstruction error ",
        "do better than the per-sample KL in 8 of 8 by the bound, 8 of 8 by the reconstruction",
        "‖Cov − I‖: filled marks and numbers are of the means μ, open ones of the codes z.",
        "From above: no noise: noiseless, WAE-MMD and Autoencoder; σ free: free-moments, ",
        "Not compared: HEBAE (diagonal), HEBAE again, HEBAE (mean), InfoVAE (half), loose, Stein, ",
        "of 100 codes an image",
        f"Grey line: as many draws of N(0, I), {number(covariance_distance(400, 4))}.",
        "Digits 8×8, latent dimension 4, after 40 epochs.",
        "mean over 3 seeds",
    ):
        assert part in text
    assert "No mean" not in text


def test_pairs_in_which_the_per_sample_kl_is_better():
    def worse(noise, divergence):
        return 30 - OF_DIVERGENCE[divergence] if noise == "none" else level(noise, divergence)

    assert "KL in 6 of 8 by the bound, 6 of 8 by the recon" in said(*given(of=worse))
    equal = said(*given(of=lambda *_: 30.0))
    assert "KL in 0 of 8 by the bound" in equal


# The figure


def marks(ax) -> dict[int, list[tuple[float, str, str, bool]]]:
    """By row from above, the means: value, colour, mark, whether it is open."""
    found: dict[int, list] = {}
    for line in ax.lines:
        if line.get_marker() not in ("None", None, "") and len(line.get_xdata()):
            opened = str(line.get_markerfacecolor()) == "white"
            for x, y in line.get_xydata():
                if np.isfinite([x, y]).all():
                    mark = (x, line.get_color(), line.get_marker(), opened)
                    found.setdefault(int(y), []).append(mark)
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_what_the_tables_hold(width):
    figure = ablation.draw(*given(), width)
    assert len(figure.axes) == 4
    like = {"moments": "HEBAE", "mmd": "WAE", "posterior_kl": "VAE"}
    for ax, sign in zip(figure.axes, (-1, 1, 1, 1), strict=True):
        assert [text.get_text() for text in ax.get_yticklabels()] == list(NOISES.values())
        shown = marks(ax)
        for place, cell in enumerate(GRID):
            look, value = LOOKS[like[cell[1]]], sign * level(*cell)
            filled = (pytest.approx(value), look.color, look.marker, False)
            expected = [filled]
            if ax in figure.axes[2:]:
                second = value * (0.5 if ax is figure.axes[3] else 0.7)
                expected = [(pytest.approx(second), look.color, look.marker, True), filled]
            assert shown[place] == expected
        printed = {int(text.get_position()[1]): text.get_text() for text in ax.texts}
        assert printed == {row: number(sign * level(*cell)) for row, cell in enumerate(GRID)}
    floor = covariance_distance(400, 4)
    lines = [line for line in figure.axes[2].lines if set(line.get_xdata()) == {floor}]
    assert len(lines) == 1
    assert len({round(ax.get_position().x0, 3) for ax in figure.axes}) == (2 if width > 5 else 1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *COMPARED.values(), "codes from N(0, I)", "codes z, samples of a mixture"
    ]  # fmt: skip


def test_a_seed_without_a_value_is_not_averaged():
    def diverge(tables):
        for table, column in (
            ("bounds", "widened"), ("elbo_by_weight", "reconstruction"),
            ("covariance", "covariance"), ("fid", "fid"),
        ):  # fmt: skip
            rows = tables[table]
            lost = (rows["model"] == "HEBAE") & (rows["seed"] == 1)
            if table == "covariance":  # one entry of the matrix is enough
                lost &= (rows["i"] == 0) & (rows["j"] == 0)
            rows.loc[lost, column] = np.nan

    figure = ablation.draw(*given(diverge))
    row = list(GRID.values()).index("HEBAE")
    for ax in figure.axes:
        assert row not in marks(ax) and "not finite" in [text.get_text() for text in ax.texts]
    text = said(*given(diverge))
    assert "No mean is shown of HEBAE: a seed has no finite value." in text
    assert "nan" not in text and "undefined" not in text


def test_nothing_finite_at_all():
    def diverge(tables):
        for table, column in (("covariance", "covariance"), ("fid", "fid")):
            tables[table][column] = np.nan

    check_fits(ablation.draw(*given(diverge)), "diverged")
    assert "nan" not in said(*given(diverge)) and "undefined" not in said(*given(diverge))


LACKS = {
    "no fid": (lambda t: {k: v for k, v in t.items() if k != "fid"}, 3),
    "no bounds": (lambda t: {k: v for k, v in t.items() if k != "bounds"}, 3),
    "neither": (lambda t: {k: t[k] for k in ("elbo_by_weight", "covariance")}, 2),
    "one": (lambda t: {"covariance": t["covariance"]}, 1),
    "another dataset": (lambda t: t | {"fid": t["fid"].assign(dataset="mnist")}, 3),
    "no samplings": (
        lambda t: t | {"fid": t["fid"].query("sampling == 'prior'").drop(columns="sampling")},
        4,
    ),
    "no counts": (lambda t: t | {"covariance": t["covariance"].drop(columns="n_codes")}, 4),
    "no deterministic": (lambda t: t | {"bounds": t["bounds"].query("model != 'WAE'")}, 4),
    "not widened": (lambda t: t | {"bounds": t["bounds"].drop(columns="widened")}, 3),
}


@pytest.mark.parametrize("name", LACKS)
def test_tables_that_lack_something_draw_the_rest(name):
    change, panels = LACKS[name]
    figure = ablation.draw(*given(change))
    assert len(figure.axes) == panels
    check_fits(figure, name)
    text = said(*given(change))
    assert ("mixture" in text) == (name in ("no bounds", "no counts", "no deterministic",
                                            "not widened"))  # fmt: skip
    assert ("Grey line" in text) == (name != "no counts")
    assert ("the bound" in text.lower()) == (
        name not in ("no bounds", "neither", "one", "not widened")
    )
    if name == "no deterministic":
        assert "No mean is shown of WAE-MMD" in text


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: {}, "no values of 'digits'"),
        (lambda t: t | {"fid": t["fid"].query("model != 'VAE' or seed == 0")}, "0 rows, expected"),
        (
            lambda t: t | {"fid": t["fid"].assign(features=["a", "b"] * (len(t["fid"]) // 2))},
            "rows with different features",
        ),
        (
            lambda t: t | {"elbo_by_weight": t["elbo_by_weight"].drop(columns="reconstruction")},
            "no column 'reconstruction'",
        ),
    ],
)
def test_wrong_tables(change, message):
    arguments = given()
    with pytest.raises(UserError, match=message) as caught:
        ablation.draw(change(arguments[0]), *arguments[1:])
    assert "\n" not in str(caught.value)


def test_one_seed(tmp_path):
    experiment = made(seeds=[0])
    for name, table in planted(experiment).items():
        write_csv(tmp_path / "tables" / f"{name}.csv", table.to_dict("records"))
    for width in WIDTHS:
        check_fits(draw("ablation", experiment, tmp_path, width), "one seed")
    text = caption("ablation", experiment, tmp_path)
    assert "one seed" in text and "their seeds" not in text and "nan" not in text
    # nothing tells an effect from chance
    assert (
        "moves these" not in text
        and "move them" not in text
        and "in the divergence alone: " in text
    )


LONG = {"title": "A dataset of a rather long title, black and white, of small digits"}
WORLDS = {
    "planted": {},
    "long": {"experiment": lambda: made(**LONG)},
    "small": {"of": lambda *cell: level(*cell) / 1e4, "spread": 1e-9},
    "large": {"of": lambda *cell: level(*cell) * 1e4},
    "equal": {"of": lambda *_: 30.0, "spread": 0.0},
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", WORLDS)
def test_every_text_fits(name, width):
    how = dict(WORLDS[name])
    experiment = how.pop("experiment", made)()
    figure = ablation.draw(*given(experiment=experiment, **how), width)
    assert figure.get_figwidth() == width
    check_fits(figure, name)
