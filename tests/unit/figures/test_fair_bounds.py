"""The figures of what the paper’s bound leaves out, drawn from tables made up here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_rgba
from scipy.special import digamma
from tests.unit.figures.test_figures import arguments, command, note_of, stream, texts

from hebae.base import files
from hebae.base.errors import UserError
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.registry import FIGURES
from hebae.figures import batch_bias, common, fair_bounds
from hebae.figures.draw import draw

ROOT = Path(__file__).parents[3]
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
figures: {fair_bounds: digits, batch_bias: digits}
"""
N_TEST = 500
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
                "bound": -(reconstruction + nats + kl) + 1.6 * np.log10(k),
                "standard_error": 0.5,
                "n_images": bounds.images or N_TEST,
                "width": 0.25 if run.seed else 0.12,
                "widened": -0.3 * reconstruction - 90 + 8 * np.log10(k),
                "widened_error": 0.4,
            }


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


def drawn(made: Experiment, change=lambda tables: None):
    tables = tables_of(made)
    change(tables)
    return fair_bounds.draw(tables, made, "digits")


@pytest.fixture(scope="module")
def demo() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def tables(demo) -> dict[str, pd.DataFrame]:
    return tables_of(demo)


@pytest.fixture(scope="module")
def figure(demo):
    return drawn(demo)


def of_seeds(table: pd.DataFrame, model: str, column: str) -> np.ndarray:
    """The values of a model's seeds at the main latent dimension and the default weight."""
    weight = 10.0 if model == "InfoVAE" else 1.0
    part = table[(table.model == model) & (table.latent_dim == 8) & (table.weight == weight)]
    assert list(part.seed) == [0, 1, 2]
    return part[column].to_numpy(float)


# Fair bounds

SHOWN = ["VAE", "HEBAE", "HEBAE-diagonal", "InfoVAE"]
FIELDS = {
    "reconstruction": "elbo_by_weight",
    "regulariser": "elbo_by_weight",
    "nats": "index_code_information",
    "kl_aggregate": "index_code_information",
}


def bars(ax) -> dict[int, dict[str, list]]:
    """The bars at a row's place, by part, from above."""
    found: dict[int, dict[str, list]] = {}
    for container in ax.containers:
        if isinstance(container, matplotlib.container.BarContainer):
            (bar,) = container
            row = found.setdefault(round(bar.get_y() + bar.get_height() / 2), {})
            row.setdefault(container.get_label(), []).append(bar)
    return found


def test_bars_are_the_parts_end_to_end(figure, tables, demo):
    left = figure.axes[0]
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "VAE", "HEBAE", "HEBAE (diagonal)", "InfoVAE (MMD)",
    ]  # fmt: skip
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first model is on top
    found = bars(left)
    for place, model in enumerate(SHOWN):
        means = {part: of_seeds(tables[name], model, part).mean() for part, name in FIELDS.items()}
        row = found[place]
        paper = [] if model == "InfoVAE" else [("reconstruction", "regulariser")]
        for lane, parts in enumerate([*paper, ("reconstruction", "nats", "kl_aggregate")]):
            end = 0
            for part in parts:
                bar = row[part][lane if part == "reconstruction" else 0]
                assert bar.get_x() == pytest.approx(end)
                end += means[part]
                assert bar.get_x() + bar.get_width() == pytest.approx(end)
                assert bar.get_facecolor() == to_rgba(fair_bounds.PARTS[part])
        assert len(row["reconstruction"]) == 1 + len(paper)
        assert ("regulariser" in row) == bool(paper)
        # the upper bar is the paper's
        if paper:
            assert row["regulariser"][0].get_y() < row["nats"][0].get_y()


def whiskers(ax, at: float) -> list[np.ndarray]:
    """Ends of the horizontal whiskers at a height."""
    found = []
    for container in ax.containers:
        if isinstance(container, matplotlib.container.ErrorbarContainer) and container.lines[2]:
            for segment in container.lines[2][0].get_segments():
                if np.isclose(segment[0, 1], at):
                    found.append(segment[:, 0])
    return found


def test_whiskers_reach_from_the_lowest_to_the_highest_sum(figure, tables):
    for place, model in enumerate(SHOWN[:3]):
        values = {part: of_seeds(tables[name], model, part) for part, name in FIELDS.items()}
        for lane, parts in enumerate(fair_bounds.BARS.values()):
            total = sum(values[part] for part in parts)
            (ends,) = whiskers(figure.axes[0], place + fair_bounds.LANES[lane])
            np.testing.assert_allclose(ends, [total.min(), total.max()])
            word = list(fair_bounds.BARS)[lane]
            assert f"{total.mean():.1f} {word}" in [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize("lane, column, words", [(2, "bound", ""), (3, "widened", ", q widened")])
def test_marks_are_the_bounds_of_each_k(figure, tables, demo, lane, column, words):
    left = figure.axes[0]
    table = tables["bounds"]
    for place, model in enumerate(SHOWN):
        height = place + fair_bounds.LANES[lane]
        style = common.look(demo, model)
        marks = [
            container.lines[0]
            for container in left.containers
            if isinstance(container, matplotlib.container.ErrorbarContainer)
            and np.isclose(container.lines[0].get_ydata()[0], height)
        ]
        ends = whiskers(left, height)
        assert len(marks) == len(ends) == 4
        for mark, end, k in zip(marks, ends, (1, 10, 100, 1000), strict=True):
            values = -of_seeds(table[table.samples == k], model, column)
            assert mark.get_xdata()[0] == pytest.approx(values.mean())
            np.testing.assert_allclose(sorted(end), [values.min(), values.max()])
            assert (mark.get_color(), mark.get_marker()) == (style.color, style.marker)
        fills = [np.mean(to_rgba(mark.get_markerfacecolor())[:3]) for mark in marks]
        assert fills == sorted(fills, reverse=True) and fills[0] == 1  # hollow to filled
        assert to_rgba(marks[-1].get_markerfacecolor()) == pytest.approx(to_rgba(style.color))
        best = -of_seeds(table[table.samples == 1000], model, column).mean()
        assert f"{best:.1f} (k = 1,000{words})" in [text.get_text() for text in texts(figure)]


def test_gains(figure, tables, demo):
    right = figure.axes[1]
    lines = {line.get_label(): line for line in right.lines}
    assert list(lines) == [fair_bounds.NOISE, *SHOWN]
    table = tables["bounds"]
    for model in SHOWN:
        first = of_seeds(table[table.samples == 1], model, "bound")
        gains = [
            (of_seeds(table[table.samples == k], model, "bound") - first).mean()
            for k in (1, 10, 100, 1000)
        ]
        assert list(lines[model].get_xdata()) == [1, 10, 100, 1000]
        np.testing.assert_allclose(lines[model].get_ydata(), gains, atol=1e-9)
        assert lines[model].get_color() == common.look(demo, model).color
    noise = fair_bounds.gain_of_noise(8, [1, 10, 100, 1000])
    np.testing.assert_allclose(lines[fair_bounds.NOISE].get_ydata(), noise - noise[0])
    assert right.get_xscale() == "log"
    figure.draw_without_rendering()
    labels = [label.get_text() for label in right.get_xticklabels()]
    assert labels == ["1", "10", "100", "1,000"]


def test_note(figure):
    text = note_of(figure).replace("\u00a0", " ")
    for part in (
        "Digits 8×8, latent dimension 8, 500 test images.",
        "for HEBAE and HEBAE (diagonal) the KL divergence of the aggregate’s Gaussian, for VAE the "
        "mean KL(q(z|x)‖p(z))",
        "I(n; z) + KL(q(z)‖p(z))",
        "Lower bar: the per-sample bound",
        "k = 1, 10, 100, 1,000 codes on all images",
        "widened by a covariance s²I, s = 0.12 to 0.25, chosen for each run",
        "Right: what the upper marks gain over k = 1; wide line",
        "Mean over 3 seeds; whiskers and bands: minimum to maximum.",
        "Grey values count as probabilities",
        "No bound: WAE-MMD (deterministic encoder).",
    ):
        assert part in text
    some = experiment(bounds=dataclasses.replace(experiment().datasets["digits"].bounds, images=60))
    text = note_of(drawn(some))
    assert "codes on the first 60 images" in text and "500 test images" in text


def test_without_a_bound_of_the_paper():
    figure = drawn(variants()["no_paper"])
    (found,) = figure.legends
    labels = [text.get_text() for text in found.get_texts()]
    assert labels[:3] == ["reconstruction", "I(n; z)", "KL(q(z) ‖ p(z))"]
    text = note_of(figure)
    assert "Bar: the per-sample bound" in text and "aper’s" not in text


def test_one_seed_has_no_whiskers():
    figure = drawn(experiment(seeds=(0,), weight_seeds=(0,)))
    containers = figure.axes[0].containers
    assert not any(
        container.lines[2]
        for container in containers
        if isinstance(container, matplotlib.container.ErrorbarContainer)
    )
    assert "One seed." in note_of(figure)


def test_one_k_has_no_gains():
    bounds = dataclasses.replace(experiment().datasets["digits"].bounds, samples=(50,))
    figure = drawn(experiment(bounds=bounds))
    assert len(figure.axes) == 1
    assert "k = 50 codes" in note_of(figure) and "wide line" not in note_of(figure)


def test_a_diverged_seed_is_said_and_not_averaged(demo):
    def diverge(tables):
        for name, columns in {
            "elbo_by_weight": ["reconstruction"],
            "bounds": ["bound"],
            "index_code_information": ["nats", "kl_aggregate"],
        }.items():
            table = tables[name]
            gone = (table.model == "HEBAE") & (table.seed == 1)
            table.loc[gone, columns] = np.nan

    figure = drawn(demo, diverge)
    found = [text.get_text() for text in texts(figure)]
    assert found.count("not finite") == 3  # q widened is of the table alone, and is there
    assert sorted(bars(figure.axes[0])) == [0, 2, 3]
    assert np.isfinite(figure.axes[0].get_xlim()).all()
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert not np.isfinite(lines["HEBAE"].get_ydata()).any()


def test_all_seeds_diverged(demo):
    def diverge(tables):
        for table in tables.values():
            for column in table.columns.intersection(
                ["reconstruction", "nats", "bound", "widened"]
            ):
                table[column] = np.nan

    found = [text.get_text() for text in texts(drawn(demo, diverge))]
    assert found.count("not finite") == 4 * 3 + 3


def test_densities_may_be_negative(demo):
    """Bars begin left of all ends, so none lies over another."""

    def densities(tables):
        tables["elbo_by_weight"]["reconstruction"] -= 400
        tables["bounds"][["bound", "widened"]] += 400

    figure = drawn(demo, densities)
    left = figure.axes[0]
    start = left.get_xlim()[0]
    for row in bars(left).values():
        lanes: dict[float, list] = {}
        for bar in (bar for part in row.values() for bar in part):
            lanes.setdefault(round(bar.get_y(), 6), []).append(bar)
        for lane in lanes.values():
            ends = [start]
            for bar in sorted(lane, key=lambda bar: bar.get_x()):
                assert bar.get_x() == pytest.approx(ends[-1]) and bar.get_width() > 0
                ends.append(bar.get_x() + bar.get_width())


def test_all_marks_are_within_the_axes(demo):
    def worst(tables):
        tables["bounds"]["widened"] *= 3

    left = drawn(demo, worst).axes[0]
    marks = [c.lines[0] for c in left.containers if len(c) == 3 and c.has_xerr]
    assert len(marks) == 4 * 4 * 2 + 3 + 4  # of two lanes, and the bars' ends
    assert max(mark.get_xdata()[0] for mark in marks if mark) < left.get_xlim()[1]


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
    title = "InfoVAE (MMD, autoregressive, of a title that takes lines)"
    long.models["B"] = dataclasses.replace(long.models["B"], title=title)
    title = "A dataset of a rather long title, black and white, of so many small digits"
    data = dataclasses.replace(long.datasets["digits"], title=title)
    return {
        "demo": made,
        "nine": models_like(made, **nine),
        "one": models_like(made, HEBAE="HEBAE"),
        "no_paper": models_like(made, InfoVAE="InfoVAE"),
        "long": dataclasses.replace(long, datasets={"digits": data}),
        "one_seed": experiment(seeds=(0,), weight_seeds=(0,)),
    }


@pytest.mark.parametrize("name", variants())
def test_every_text_fits(name):
    """Inside the figure, at least 7 pt, and no two texts over each other."""
    made = variants()[name]
    figures = [drawn(made)]
    figures[0].draw_without_rendering()
    if name in ("demo", "one", "long"):
        figures.append(batch_bias.draw(made, "digits"))
    for number in figures[0].axes[0].texts:  # beside their bars, not over the next panel
        assert number.get_window_extent().x1 <= figures[0].axes[0].bbox.x1 + 0.5
    for figure in figures:
        assert figure.get_figwidth() <= 6.9 + 1e-9
        box, boxes = figure.bbox, []
        for text in texts(figure):
            extent = text.get_window_extent()
            assert text.get_fontsize() >= 7, text
            assert box.x0 - 0.5 <= extent.x0 and extent.x1 <= box.x1 + 0.5, (text, extent)
            assert box.y0 - 0.5 <= extent.y0 and extent.y1 <= box.y1 + 0.5, (text, extent)
            boxes.append((extent.padded(-0.5), text))
        for place, (extent, text) in enumerate(boxes):
            for other, text2 in boxes[:place]:
                assert not extent.overlaps(other), (text.get_text(), text2.get_text())


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("bounds", lambda t: t.replace("bound,", "x,"), "no column 'bound'"),
        ("bounds", lambda t: t.replace("widened,", "x,"), "no column 'widened'"),
        ("bounds", lambda t: t.replace("VAE,8,1,2,1000,", "VAE,8,1,2,10,"), "two rows with"),
        ("bounds", lambda t: t[: t.rindex("digits")], "3 rows, expected 4"),
        ("bounds", lambda t: t[::-1].replace(",005,", ",006,", 1)[::-1], "images: 500, 600"),
        ("index_code_information", lambda t: t.replace("nats", "x"), "no column 'nats'"),
        ("elbo_by_weight", lambda t: t.replace("regul", "x"), "no column 'regulariser'"),
    ],
)  # fmt: skip
def test_wrong_tables(tmp_path, demo, name, change, message):
    write_results(tmp_path, demo)
    path = tmp_path / "tables" / f"{name}.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError) as caught:
        read = common.read_tables(tmp_path, FIGURES["fair_bounds"].tables)
        fair_bounds.draw(read, demo, "digits")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_model_to_show(demo):
    with pytest.raises(UserError, match="fair_bounds: no model of digits has a bound"):
        fair_bounds.draw(tables_of(demo), models_like(demo, WAE="WAE"), "digits")
    with pytest.raises(UserError, match="batch_bias: no model of digits takes a covariance"):
        batch_bias.draw(models_like(demo, VAE="VAE"), "digits")


# Batch bias


def test_digamma_of_halves():
    found = batch_bias.half_digamma(20_001)
    assert len(found) == 20_002 and np.isnan(found[0])
    np.testing.assert_allclose(found[1:], digamma(np.arange(1, 20_002) / 2), rtol=0, atol=1e-11)
    np.testing.assert_allclose(batch_bias.half_digamma(1)[1], digamma(0.5))


@pytest.mark.parametrize("n, d", [(9, 8), (20, 8), (128, 8), (128, 16), (100, 64)])
def test_the_bias_is_what_drawn_codes_score(n, d):
    """R of drawn codes by NumPy's own covariance, against the formula."""
    random = np.random.default_rng(n)
    scores = []
    for _ in range(600):
        codes = random.standard_normal((n, d))
        covariance, mean = np.cov(codes.T, ddof=0), codes.mean(0)
        kl = np.trace(covariance) + mean @ mean - d - np.linalg.slogdet(covariance)[1]
        scores.append(kl / 2)
    found = batch_bias.expected_regulariser(np.array([n]), d)[0]
    error = np.std(scores) / np.sqrt(len(scores))
    assert found == pytest.approx(np.mean(scores), abs=4 * error)
    again = batch_bias.drawn_regularisers(n, d, 600, np.random.default_rng(0))
    assert again.shape == (600,)
    assert again.mean() == pytest.approx(found, abs=4 * error)


def test_drawn_scores_are_of_moments_that_divide_by_n():
    (found,) = batch_bias.drawn_regularisers(7, 3, 1, np.random.default_rng(0))
    codes = np.random.default_rng(0).standard_normal((1, 7, 3))[0]
    covariance, mean = np.cov(codes.T, ddof=0), codes.mean(0)
    kl = np.trace(covariance) + mean @ mean - 3 - np.linalg.slogdet(covariance)[1]
    assert found == pytest.approx(kl / 2, rel=1e-12)


def test_the_bias_that_docs_print():
    """docs/paper.md's numbers; those without the share of the mean would be d/2n lower."""
    values = [(128, 8, 0.176), (128, 16, 0.623), (100, 64, 14.385), (10_000, 16, 0.008)]
    for n, d, expected in values:
        assert round(float(batch_bias.expected_regulariser(np.array([n]), d)[0]), 3) == expected


def test_batch_bias_is_drawn(demo):
    figure = batch_bias.draw(demo, "digits")
    (ax,) = figure.axes
    assert ax.get_xscale() == ax.get_yscale() == "log"
    curves = [line for line in ax.lines if len(line.get_xdata()) > 50]
    marks = [container.lines[0] for container in ax.containers]
    for curve, mark, d in zip(curves, marks, (64, 16, 10, 8), strict=True):
        sizes = curve.get_xdata()
        assert sizes[0] == d + 1 and sizes[-1] == batch_bias.LARGEST
        np.testing.assert_allclose(curve.get_ydata(), batch_bias.expected_regulariser(sizes, d))
        assert len(mark.get_xdata()) >= 3
        expected = batch_bias.expected_regulariser(mark.get_xdata(orig=False).astype(int), d)
        np.testing.assert_allclose(mark.get_ydata(orig=False), expected, rtol=0.15)
        assert to_rgba(curve.get_color()) == to_rgba(mark.get_color())
    found = {text.get_text(): text.xy[0] for text in ax.texts}
    assert found == {"batch, 128": 128, "test split, 500": 500}
    verticals = sorted(line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2)
    assert verticals == [128, 500]
    text = note_of(figure).replace("\u00a0", " ")
    assert "In a batch of 128: 0.176 (d = 8), 0.262 (d = 10), 0.623 (d = 16)" in text
    assert "Over the 500 images of the test split: 0.0443 (d = 8)" in text


def test_batch_bias_of_several_batches():
    made = experiment()
    models = dict(made.datasets["digits"].models)
    training = dataclasses.replace(models["HEBAE"].training, batch_size=50)
    models["HEBAE"] = dataclasses.replace(models["HEBAE"], training=training)
    figure = batch_bias.draw(experiment(models=models), "digits")
    places = {text.get_text(): text.xyann[1] for text in figure.axes[0].texts}
    assert places == {"batch, 50": 2, "batch, 128": 11, "test split, 500": 20}
    assert "In a batch of 50" in note_of(figure) and "In a batch of 128" in note_of(figure)


# Files


def test_files(tmp_path, demo):
    """The bytes are those that another process writes, which imports no torch."""
    write_results(tmp_path, demo)
    names = ("fair_bounds", "batch_bias")
    outputs = {name: [tmp_path / f"{name}.{kind}" for kind in ("pdf", "png")] for name in names}
    done = command(*(arguments(name, demo, tmp_path, *outputs[name]) for name in names))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in names:
        again = [tmp_path / "again" / path.name for path in outputs[name]]
        common.save(draw(name, demo, tmp_path), again)
        for path, expected in zip(again, outputs[name], strict=True):
            assert path.read_bytes() == expected.read_bytes()
        assert len(np.unique(matplotlib.image.imread(again[1])[..., :3])) > 20
