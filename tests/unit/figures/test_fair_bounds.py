"""The figure of what the paper’s bound leaves out, drawn from tables made up here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.unit.figures.planted import ROOT, arguments, check_fits, command, stream, texts

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.registry import FIGURES
from hebae.facts import fair_bounds as facts
from hebae.figures import common, fair_bounds
from hebae.figures.draw import draw

DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  VAE: {objective: vae}
  HEBAE: {objective: hebae}
  HEBAE-diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
  InfoVAE: {objective: infovae, title: InfoVAE (MMD)}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    latent_dims: [2, 8]
    main_latent_dim: 8
    training: {epochs: 40}
    bounds: {samples: [10, 1, 1000, 100]}
    models:
      VAE: {weight: 1}
      HEBAE: {weight: 1, weights: [0.5, 1]}
      HEBAE-diagonal: {weight: 1}
      WAE: {weight: 10}
      InfoVAE: {weight: 10}
figures: {fair_bounds: digits}
"""
N_TEST = 500
SHOWN = ["VAE", "HEBAE", "HEBAE-diagonal", "WAE", "InfoVAE"]
OF_ENCODERS = [0, 1, 2, 4]  # the rows of those whose q(z|x) has a density
# reconstruction, R, I(n; z), KL(q(z) ‖ p) of MNIST’s runs
NUMBERS = {
    "vae": (81, 18.7, 9.1, 9.6),
    "hebae": (75, 0.05, 9.2, 95.9),
    "infovae": (74, 0.02, 9.2, 150),
    "wae_mmd": (74, 0.04, 6.2, None),
}


def experiment(document: str = DOCUMENT, **changes) -> Experiment:
    """The document's, with fields of the dataset changed."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    made = parse(yaml.safe_load(document), schema).experiment
    data = dataclasses.replace(made.datasets["digits"], **changes)
    return dataclasses.replace(made, datasets={"digits": data})


def numbers(run) -> np.ndarray:
    noise = 1 + 0.01 * stream(run.path).normal(size=4)
    return np.array(NUMBERS[run.objective], float) * noise


def elbo_rows(made: Experiment):
    for run in made.runs():
        reconstruction, regulariser, nats, kl = numbers(run)
        if run.objective == "vae":
            regulariser = nats + kl
        yield run.identity | {
            "elbo_paper": -(reconstruction + regulariser) if run.bound else None,
            "elbo": -(reconstruction + nats + kl) if np.isfinite(kl) else None,
            "reconstruction": reconstruction,
            "regulariser": regulariser,
        }


def information_rows(made: Experiment):
    for run in made.default_runs():
        _, _, nats, kl = numbers(run)
        row = {"nats": nats, "log_n": float(np.log(N_TEST)), "kl_aggregate": kl}
        yield run.identity | row | {"kl_gaussian": 0.02}


def bounds_rows(made: Experiment):
    for run in made.bounds_runs():
        reconstruction, _, nats, kl = numbers(run)
        bounds = made.datasets[run.dataset].bounds
        for k in sorted(bounds.samples):
            yield run.identity | {
                "samples": k,
                "bound": -(reconstruction + nats + kl) + 1.6 * np.log10(k)
                if np.isfinite(kl)
                else None,
                "standard_error": 0.5 if np.isfinite(kl) else None,
                "n_images": bounds.images or N_TEST - 50,
                "width": 0.25 if run.seed else 0.125,
                "widened": -0.3 * reconstruction - 90 + 8 * np.log10(k),
                "widened_error": 0.4,
                "n_pilot": 50,
            }


def old(tables: dict[str, pd.DataFrame]) -> None:
    """Tables from before a pilot had images of its own, and deterministic encoders a bound."""
    bounds = tables["bounds"]
    bounds = bounds[bounds.model != "WAE"].drop(columns="n_pilot")
    tables["bounds"] = bounds.assign(n_images=N_TEST).reset_index(drop=True)


ROWS = {
    "elbo_by_weight": elbo_rows,
    "index_code_information": information_rows,
    "bounds": bounds_rows,
}


def write_results(folder: Path, made: Experiment) -> Path:
    for name, rows in ROWS.items():
        files.write_csv(folder / "tables" / f"{name}.csv", rows(made))
    return folder


def tables_of(made: Experiment) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(rows(made)).astype({"weight": float}) for name, rows in ROWS.items()}


def drawn(
    made: Experiment, change: Callable[[dict], None] = lambda tables: None, width: float = 6.9
) -> Figure:
    tables = tables_of(made)
    change(tables)
    return fair_bounds.draw(tables, made, "digits", width)


def said(made: Experiment, change: Callable[[dict], None] = lambda tables: None) -> str:
    tables = tables_of(made)
    change(tables)
    return " ".join(filter(None, facts.caption(tables, made, "digits")))


@pytest.fixture(scope="module")
def demo() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def tables(demo) -> dict[str, pd.DataFrame]:
    return tables_of(demo)


@pytest.fixture(scope="module")
def figure(demo) -> Figure:
    return drawn(demo)


def of_seeds(tables: dict[str, pd.DataFrame], model: str) -> dict[str, np.ndarray]:
    """What the figure shows of a model, by seed, at the main latent dimension and default weight.

    The tightest bound is that with q widened, by a width that may be 0.
    """
    weight = 10.0 if model in ("InfoVAE", "WAE") else 1.0
    rows = {
        name: table[(table.model == model) & (table.latent_dim == 8) & (table.weight == weight)]
        for name, table in tables.items()
    }
    rows["bounds"] = rows["bounds"][rows["bounds"].samples == 1000]
    assert all(list(table.seed) == [0, 1, 2] for table in rows.values())
    paper, elbo = rows["elbo_by_weight"][["elbo_paper", "elbo"]].to_numpy(float).T
    return {
        "paper": paper,
        "per_sample": elbo,
        "left_out": paper - elbo,
        "tightest": rows["bounds"]["widened"].to_numpy(float),
        "information": rows["index_code_information"].nats.to_numpy(float),
    }


def marks(ax: Axes, column: int = -1) -> dict[int, tuple[float, object]]:
    """By row, the mean and the line of its mark; of the last column drawn, or of an earlier one."""
    lines = [line for line in ax.lines if line.get_marker() not in ("None", "", None)]
    found: list[dict] = [{}]
    for line in lines:
        x, y = (np.ravel(values) for values in line.get_data())
        for value, row in zip(x[np.isfinite(x)], y[np.isfinite(x)], strict=True):
            if round(row) in found[-1]:
                found.append({})
            found[-1][round(row)] = (value, line)
    return found[column]


def bars(ax: Axes) -> dict[int, list[tuple[float, float]]]:
    """By row, ends of the bars, from the first part on."""
    found: dict[int, list] = {}
    for container in ax.containers:
        for bar in container:
            row = round(bar.get_y() + bar.get_height() / 2)
            found.setdefault(row, []).append((bar.get_x(), bar.get_x() + bar.get_width()))
    return found


def printed(ax: Axes, small: bool = False) -> dict[int, str]:
    """Numbers beside filled marks, and what stands in rows without one; or above open marks."""
    found = {}
    for text in ax.texts:
        above = hasattr(text, "xy") and text.get_fontsize() == common.SMALL
        if text.get_text() and above == small:
            row = text.xy[1] if hasattr(text, "xy") else text.get_position()[1]
            assert row not in found
            found[round(row)] = text.get_text()
    return found


# What is drawn


def test_panels_have_a_row_a_model(figure):
    assert [ax.get_title() for ax in figure.axes] == [
        "What the paper plots", "What it leaves out", "What can be compared",
    ]  # fmt: skip
    figure.draw_without_rendering()
    names = [
        [label.get_text() for label in ax.get_yticklabels() if label.get_visible()]
        for ax in figure.axes
    ]
    expected = ["VAE", "HEBAE", "HEBAE (diagonal)", "WAE-MMD", "InfoVAE (MMD)"]
    assert names == [expected, [], []]
    paper, _, compared = figure.axes
    assert compared.get_ylim() == (4.5, -0.5)  # the first model is on top
    assert paper.get_xlim() == compared.get_xlim()
    assert "(nats)" in paper.get_xlabel() and "(nats)" in compared.get_xlabel()


@pytest.mark.parametrize(
    "panel, column, place",
    [(0, "paper", -1), (1, "left_out", -1), (2, "per_sample", 0), (2, "tightest", 1)],
)
def test_marks_are_the_means(figure, tables, demo, panel, column, place):
    ax = figure.axes[panel]
    found = marks(ax, place)
    shown = range(5) if column == "tightest" else OF_ENCODERS[: 4 if panel == 2 else 3]
    assert sorted(found) == list(shown)
    for row in shown:
        model = SHOWN[row]
        value, line = found[row]
        seeds = of_seeds(tables, model)[column]
        assert value == pytest.approx(seeds.mean(), abs=1e-9)
        look = common.looks_of(demo)[model]
        assert (line.get_color(), line.get_marker()) == (look.color, look.marker)
        assert (line.get_markerfacecolor() == "white") == (column == "per_sample")
        if panel != 1 or place:
            assert printed(ax, column == "per_sample")[row] == common_number(seeds.mean())
        # bars from the lowest to the highest seed, and the seeds themselves
        assert any(np.allclose(ends, [seeds.min(), seeds.max()]) for ends in reaches(ax, row))
        points = np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets())])
        assert all(np.isclose(points, [seed, row]).all(1).any() for seed in seeds)


def reaches(ax: Axes, row: int) -> list[tuple[float, float]]:
    """The ends of the bars of spread in a row."""
    lines = [line for line in ax.lines if line.get_marker() in ("None", "", None)]
    data = [np.array(line.get_data(), float) for line in lines if line.get_linestyle() == "-"]
    data = [xy[:, np.isfinite(xy).all(0)] for xy in data]
    return [(x.min(), x.max()) for x, y in data if len(y) and (np.abs(y - row) < 0.2).all()]


def common_number(value: float) -> str:
    """With three digits, as figures print it."""
    if abs(value) < 1e-9:
        return "0"
    decimals = 2 - int(np.floor(np.log10(abs(value))))
    return f"{value:.{max(decimals, 0)}f}".replace("-", "−")


def test_what_the_paper_leaves_out(figure, tables):
    """Nothing by the VAE; by HEBAE I(n; z) and then the rest."""
    found = bars(figure.axes[1])
    assert printed(figure.axes[1])[0] == "0"
    assert found[0] == [(0, 0), (0, 0)]
    for row, model in enumerate(SHOWN[1:3], 1):
        of = of_seeds(tables, model)
        information, total = of["information"].mean(), of["left_out"].mean()
        assert 0 < information < total
        np.testing.assert_allclose(found[row], [(0, information), (information, total)])
    assert sorted(found) == [0, 1, 2]


def test_of_an_old_table_the_tightest_is_the_higher_in_each_run(demo, tables):
    """Of HEBAE the widened one, of the VAE here q’s own in one run; of the WAE there is none."""

    def own_is_higher(tables):
        old(tables)
        bounds = tables["bounds"]
        bounds.loc[(bounds.model == "VAE") & (bounds.seed == 1), "widened"] -= 500

    changed = tables_of(demo)
    own_is_higher(changed)
    bounds = changed["bounds"]
    last = bounds[(bounds.model == "VAE") & (bounds.latent_dim == 8) & (bounds.samples == 1000)]
    assert (last.bound > last.widened).tolist() == [False, True, False]
    figure = drawn(demo, own_is_higher)
    value, _ = marks(figure.axes[2])[0]
    assert value == pytest.approx(last[["bound", "widened"]].max(axis=1).mean())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["VAE", "HEBAE", "HEBAE (diagonal)", "InfoVAE (MMD)"]
    text = said(demo, old)
    for part in (
        "of 1,000 codes an image on all test images; the codes are drawn from q(z|x), or from q(z|x"
        ") widened by the covariance s²I (s = 0.125 to 0.25), whichever gives the higher bound.",
        "No bound: WAE-MMD (deterministic encoder).",
    ):
        assert part in text
    assert "other test image" not in text and "By the tightest bound WAE" not in text


def test_a_deterministic_encoder_has_the_tightest_bound_alone(figure, demo, tables):
    """No mark of a per-sample bound, no line to it, and no word of a diverged run."""
    compared = figure.axes[2]
    assert 3 in marks(compared) and 3 not in marks(compared, 0) and 3 not in printed(compared, True)
    text, hebae, wae = said(demo), *(of_seeds(tables, model) for model in ("HEBAE", "WAE"))
    apart = wae["tightest"].mean() - hebae["tightest"].mean()
    where = "above" if apart > 0 else "below"
    for part in (
        f" By the tightest bound WAE-MMD is {common_number(abs(apart))} nats {where} HEBAE. ",
        "The encoder of WAE-MMD is deterministic: there is no per-sample bound, and q(z|x) widened "
        "is N(μ, s²I).",
    ):
        assert part in text
    assert "No bound" not in text and "no finite value" not in text

    def diverge(tables):
        table = tables["bounds"]
        table.loc[(table.model == "WAE") & (table.seed == 1), "widened"] = np.nan

    assert printed(drawn(demo, diverge).axes[2])[3] == "not finite"
    assert "a seed of WAE-MMD has no finite value" in said(demo, diverge)


def test_a_line_joins_the_two_bounds(figure, tables):
    dotted = [line for line in figure.axes[2].lines if line.get_linestyle() == ":"
              or line.is_dashed()]  # fmt: skip
    assert len(dotted) == 4
    for line, row in zip(dotted, OF_ENCODERS, strict=True):
        of = of_seeds(tables, SHOWN[row])
        ends = [of["per_sample"].mean(), of["tightest"].mean()]
        np.testing.assert_allclose(line.get_xdata(), ends)


def test_models_that_the_paper_has_no_bound_of(figure):
    paper, left_out, compared = map(printed, figure.axes)
    for row in (3, 4):
        assert (paper[row], left_out[row]) == ("not in the paper", "not in the paper")
        assert np.isfinite(float(compared[row].replace("−", "-")))


@pytest.mark.parametrize("models", [{"InfoVAE": "InfoVAE"}, {"VAE": "VAE", "InfoVAE": "InfoVAE"}])
def test_where_nothing_is_left_out_the_bounds_stand_alone(demo, models):
    """The paper’s bound of a VAE is the per-sample one."""
    made = models_like(demo, **models)
    figure = drawn(made)
    assert [ax.get_title() for ax in figure.axes] == ["What can be compared"]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["per-sample bound", "tightest bound"]
    text = said(made)
    assert text.startswith("By the tightest bound, log p(x) is at least −")
    assert "paper" not in text.replace("paper plots", "paper")


def test_narrow_panels_are_stacked(demo):
    figure = drawn(demo, width=3.3)
    boxes = [ax.get_position() for ax in figure.axes]
    assert len({round(box.x0, 3) for box in boxes}) == 1
    assert boxes[0].y0 > boxes[1].y1 and boxes[1].y0 > boxes[2].y1
    figure.draw_without_rendering()
    assert all(label.get_visible() for ax in figure.axes for label in ax.get_yticklabels())


# Extremes


def test_one_seed_has_no_spread(demo):
    figure = drawn(experiment(seeds=(0,), weight_seeds=(0,)))
    for ax in figure.axes:
        assert not any(len(c.get_offsets()) for c in ax.collections)
        assert not any(high > low for row in range(5) for low, high in reaches(ax, row))
    assert "numbers: one seed." in said(experiment(seeds=(0,), weight_seeds=(0,)))


def test_one_k():
    bounds = dataclasses.replace(experiment().datasets["digits"].bounds, samples=(50,))
    made = experiment(bounds=bounds)
    value, _ = marks(drawn(made).axes[2])[1]
    table = tables_of(made)["bounds"]
    table = table[(table.model == "HEBAE") & (table.latent_dim == 8) & (table.samples == 50)]
    assert value == pytest.approx(table["widened"].mean())
    assert "of 50 codes an image" in said(made)


def diverge(tables):
    """HEBAE’s seed 1, in all that a table has of it."""
    columns = ["elbo", "elbo_paper", "bound", "widened", "nats"]
    for table in tables.values():
        gone = (table.model == "HEBAE") & (table.seed == 1)
        table.loc[gone, table.columns.intersection(columns)] = np.nan


def test_a_diverged_seed_is_said_and_not_averaged(demo):
    figure = drawn(demo, diverge)
    for ax in figure.axes:
        assert printed(ax)[1] == "not finite" or ax.get_title() == "What it leaves out"
        assert 1 not in marks(ax) and np.isfinite(ax.get_xlim()).all()
    assert sorted(bars(figure.axes[1])) == [0, 2]
    text = said(demo, diverge)
    assert "“Not finite”, or no mark: a seed of HEBAE has no finite value." in text
    assert "nats for HEBAE and" not in text and "above the VAE" not in text


def test_a_bound_without_floor(demo):
    """σ of 0 makes the per-sample bound −∞; the paper’s and the tightest remain."""

    def collapse(tables):
        table = tables["elbo_by_weight"]
        table.loc[(table.model == "HEBAE") & (table.seed == 1), "elbo"] = -np.inf

    figure = drawn(demo, collapse)
    paper, left_out, compared = figure.axes
    assert 1 in marks(paper) and 1 in marks(compared) and printed(left_out)[1] == "not finite"
    assert sorted(marks(compared, 0)) == [0, 2, 4]
    assert np.isfinite(compared.get_xlim()).all()
    text = said(demo, collapse)
    assert "a seed of HEBAE has no finite value" in text
    assert "by what the paper plots and" in text and "by the per-sample bound" not in text


def test_all_seeds_diverged(demo):
    def all_diverge(tables):
        for table in tables.values():
            columns = ["elbo", "elbo_paper", "bound", "widened", "nats"]
            table[table.columns.intersection(columns)] = np.nan

    figure = drawn(demo, all_diverge)
    found = [text.get_text() for text in texts(figure)]
    assert found.count("not finite") == 3 + 3 + 5
    check_fits(figure, "diverged")
    assert said(demo, all_diverge).startswith("“What the paper plots”")


def test_without_a_pair_the_tightest_bounds_come_first(demo):
    def alone(tables):
        diverge(tables)
        tables["elbo_by_weight"]["elbo"] = np.nan

    assert said(demo, alone).startswith("By the tightest bound, log p(x) is at least −")
    made = models_like(demo, HEBAE="HEBAE")
    value = common_number(of_seeds(tables_of(demo), "HEBAE")["tightest"].mean())
    expected = f"By the tightest bound, log p(x) is at least {value} nats for HEBAE. "
    assert said(made).startswith(expected)


def test_densities_may_be_positive(demo, tables):
    def densities(tables):
        tables["elbo_by_weight"][["elbo", "elbo_paper"]] += 400
        tables["bounds"][["bound", "widened"]] += 400

    figure = drawn(demo, densities)
    for model, row in (("VAE", 0), ("HEBAE", 1)):
        value, _ = marks(figure.axes[0])[row]
        assert value == pytest.approx(of_seeds(tables, model)["paper"].mean() + 400)
    np.testing.assert_allclose(
        [marks(figure.axes[1])[1][0]], [of_seeds(tables, "HEBAE")["left_out"].mean()]
    )
    assert said(demo, densities) == said(demo)  # differences alone


@pytest.mark.parametrize(
    "more, ends, shorter",
    [(0.5, ((0, 4.6), (4.6, 4.6)), True), (-0.3, ((0, 0), (0, -2.76)), True),
     (2, ((0, 9.2), (9.2, 18.4)), False)],
)  # fmt: skip
def test_r_may_be_larger_than_what_it_stands_for(demo, more, ends, shorter):
    """The bar’s end is what is left out, whatever its sign."""

    def change(tables):
        tables["index_code_information"]["nats"] = 9.2
        tables["elbo_by_weight"]["elbo"] = tables["elbo_by_weight"]["elbo_paper"] - 9.2 * more

    figure = drawn(demo, change)
    np.testing.assert_allclose(bars(figure.axes[1])[1], ends, atol=1e-9)
    low, high = figure.axes[1].get_xlim()
    assert low < min(map(min, ends)) and max(map(max, ends)) < high
    assert ("the bar is shorter than I(n; z)" in said(demo, change)) == shorter


# The caption


def test_the_conclusion_comes_first(demo, tables):
    means = {
        model: {column: seeds.mean() for column, seeds in of_seeds(tables, model).items()}
        for model in ("VAE", "HEBAE")
    }
    apart = {column: means["HEBAE"][column] - means["VAE"][column] for column in means["VAE"]}
    assert apart["paper"] > 0 > apart["per_sample"] and apart["tightest"] > 0
    paper, sample, tightest = (
        common_number(abs(apart[column])) for column in ("paper", "per_sample", "tightest")
    )
    assert said(demo).startswith(
        f"HEBAE is {paper} nats above the VAE by what the paper plots, {sample} nats below it by "
        f"the per-sample bound and {tightest} nats above it by the tightest bound. "
    )


@pytest.mark.parametrize("by, where", [(3.0, "3.00 nats above"), (-3.0, "3.00 nats below"),
                                       (0.0, "0 nats from")])  # fmt: skip
def test_the_conclusion_has_any_sign(demo, by, where):
    def change(tables):
        for table in tables.values():
            for column in table.columns.intersection(["elbo", "elbo_paper", "bound", "widened"]):
                table[column] = np.where(table.model == "HEBAE", -50 + by, -50)

    assert said(demo, change).startswith(
        f"HEBAE is {where} the VAE by what the paper plots, {where} it by the per-sample bound and "
        f"{where} it by the tightest bound. "
    )


def test_caption(demo, tables):
    text = said(demo)
    left_out = [common_number(of_seeds(tables, m)["left_out"].mean()) for m in SHOWN[1:3]]
    for part in (
        "The regulariser R is the mean KL(q(z|x) ‖ p) for VAE, and the KL divergence of the "
        "Gaussian that is fitted to all images’ mean codes for HEBAE and HEBAE (diagonal).",
        f"0 nats for VAE, {left_out[0]} nats for HEBAE and {left_out[1]} nats for HEBAE (diag",
        "so −(reconstruction + R) of HEBAE and HEBAE (diagonal) is no bound.",
        "of 1,000 codes an image on the first 450 test images; the codes are drawn from q(z|x) "
        "widened by the covariance s²I (s = 0.125 to 0.25). For each run s is the smallest that is "
        "at most one standard error below the best on 50 other test images; s = 0 leaves q(z|x) as "
        "it is.",
        "Digits 8×8, latent dimension 8, after 40 epochs.",
        "Weight λ in training: 1 for VAE, HEBAE and HEBAE (diagonal); 10 for WAE-MMD and InfoVAE",
        "mean over 3 seeds; bars: from the lowest to the highest seed.",
        "Grey values count as probabilities",
        "The paper has no such figure",
    ):
        assert part in text
    assert "ot finite" not in text and "shorter" not in text
    bounds = dataclasses.replace(experiment().datasets["digits"].bounds, images=60)
    assert "an image on the first 60 test images" in said(experiment(bounds=bounds))


def test_one_width_and_no_grey_values(demo):
    def one_width(tables):
        tables["bounds"]["width"] = 0.25

    assert "(s = 0.25)" in said(demo, one_width)
    models = {
        name: dataclasses.replace(recipe, reconstruction="binary")
        for name, recipe in demo.datasets["digits"].models.items()
    }
    assert "Grey" not in said(experiment(models=models))


def models_like(made: Experiment, **copies: str) -> Experiment:
    """With copies of models under other names: name=model."""
    data = made.datasets["digits"]
    models = {
        name: dataclasses.replace(made.models[model], name=name, title=made.models[model].title)
        for name, model in copies.items()
    }
    used = {name: data.models[model] for name, model in copies.items()}
    data = dataclasses.replace(data, models=used)
    return dataclasses.replace(made, models=models, datasets={"digits": data})


def variants() -> dict[str, Experiment]:
    made = experiment()
    nine = {f"M{place}": SHOWN[place % 4] for place in range(9)}
    long = models_like(made, A="HEBAE", B="InfoVAE")
    title = "InfoVAE (MMD, autoregressive)"
    long.models["B"] = dataclasses.replace(long.models["B"], title=title)
    title = "A dataset of a rather long title, black and white, of so many small digits"
    data = dataclasses.replace(long.datasets["digits"], title=title)
    return {
        "demo": made,
        "nine": models_like(made, **nine),
        "wae": models_like(made, WAE="WAE"),
        "one": models_like(made, HEBAE="HEBAE"),
        "no_paper": models_like(made, InfoVAE="InfoVAE"),
        "long": dataclasses.replace(long, datasets={"digits": data}),
        "one_seed": experiment(seeds=(0,), weight_seeds=(0,)),
    }


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize("name", variants())
def test_every_text_fits(name, width):
    figure = drawn(variants()[name], width=width)
    check_fits(figure, name)
    for ax in figure.axes:  # numbers stand beside their marks, not in the next panel
        for text in ax.texts:
            assert text.get_window_extent().x1 <= ax.bbox.x1 + 0.5


@pytest.mark.parametrize("width", [6.9, 3.3])
def test_large_numbers_and_gaps_fit(demo, width):
    def change(tables):
        diverge(tables)
        tables["elbo_by_weight"][["elbo", "elbo_paper"]] *= 100
        tables["bounds"][["bound", "widened"]] *= 100

    check_fits(drawn(demo, change, width), "large")


# Errors and files


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("bounds", lambda t: t.replace("bound,", "x,"), "no column 'bound'"),
        ("bounds", lambda t: t.replace("widened,", "x,"), "no column 'widened'"),
        ("bounds", lambda t: t.replace("VAE,8,1,2,1000,", "VAE,8,1,2,10,"), "two rows with"),
        ("bounds", lambda t: t[: t.rindex("digits")], "3 rows, expected 4"),
        ("bounds", lambda t: t[::-1].replace(",054,", ",006,", 1)[::-1], "images: 450, 600"),
        ("bounds", lambda t: t[: t.rindex(",50")] + ",40\n", "images: 40, 50"),
        ("index_code_information", lambda t: t.replace("nats", "x"), "no column 'nats'"),
        ("elbo_by_weight", lambda t: t.replace("elbo_paper", "x"), "no column 'elbo_paper'"),
        ("elbo_by_weight", lambda t: t.replace(",elbo,", ",x,"), "no column 'elbo'"),
    ],
)  # fmt: skip
def test_wrong_tables(tmp_path, demo, name, change, message):
    write_results(tmp_path, demo)
    path = tmp_path / "tables" / f"{name}.csv"
    assert change(path.read_text()) != path.read_text()
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError) as caught:
        read = common.read_tables(tmp_path, FIGURES["fair_bounds"].tables)
        fair_bounds.draw(read, demo, "digits")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_model_to_show(demo):
    with pytest.raises(UserError, match="fair_bounds: no model of digits has a bound"):
        drawn(models_like(demo, WAE="WAE"), old)
    assert "By the tightest bound, log p(x) is at least" in said(models_like(demo, WAE="WAE"))


def test_files(tmp_path, demo):
    """The bytes are those that another process writes, which imports no torch."""
    write_results(tmp_path, demo)
    outputs = [tmp_path / f"fair_bounds.{kind}" for kind in ("pdf", "png")]
    done = command(arguments("fair_bounds", demo, tmp_path, *outputs))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again = [tmp_path / "again" / path.name for path in outputs]
    common.save(draw("fair_bounds", demo, tmp_path), again)
    for path, expected in zip(again, outputs, strict=True):
        assert path.read_bytes() == expected.read_bytes()
    assert len(np.unique(matplotlib.image.imread(again[1])[..., :3])) > 20
