"""Fig. 2c and 2d, drawn from planted tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import check_fits, draw, experiment, write_results

from hebae.config.registry import FIGURES
from hebae.facts import information as facts
from hebae.figures import common, information
from hebae.figures.draw import caption
from hebae.figures.looks import LOOKS

MEASURES = ("mic", "tic")


def rows_of(ax) -> dict[str, dict]:
    """What each row shows: the mean and its mark, the ends of the bar, the seeds, the number."""
    labels = ax.figure.axes[ax.figure.axes.index(ax) // 2 * 2].get_yticklabels()
    found = {}
    for place, label in enumerate(labels):
        points = [
            (x, line)
            for line in ax.lines
            for x, y in line.get_xydata()
            if np.isfinite(x) and y == place
        ]
        marks = [(x, line) for x, line in points if line.get_marker() not in ("None", None, "")]
        offsets = np.concatenate([np.empty((0, 2)), *(c.get_offsets() for c in ax.collections)])
        seeds = [x for x, y in offsets if y == place and np.isfinite(x)]
        found[label.get_text().replace("\n", " ")] = {
            "mean": marks[0][0] if marks else None,
            "look": (marks[0][1].get_color(), marks[0][1].get_marker()) if marks else None,
            "bar": sorted({x for x, line in points if (x, line) not in marks}),
            "seeds": sorted(seeds),
            "text": [text.get_text() for text in ax.texts if text.get_position()[1] == place],
        }
    return found


def of_runs(table: pd.DataFrame, measure: str) -> pd.Series:
    return table.groupby(["latent_dim", "model", "seed"])[measure].mean()


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize("name", ["fig2c", "fig2d"])
def test_what_the_table_holds(name, width, drawn):
    folder, made = drawn[name]
    figure = draw(name, folder, made, width)
    data = made.datasets[made.figures[name]]
    table = pd.read_csv(folder / "tables/mutual_information.csv")
    titles = {made.models[model].title: model for model in data.models}
    assert len(figure.axes) == 2 * len(data.latent_dims)
    for place, latent_dim in enumerate(data.latent_dims):
        pair = figure.axes[2 * place :][:2]
        assert pair[0].get_title(loc="left") == f"latent dimension {latent_dim}"
        for ax, measure in zip(pair, MEASURES, strict=True):
            shown = rows_of(ax)
            assert list(shown) == list(titles)
            for title, row in shown.items():
                seeds = of_runs(table, measure)[latent_dim, titles[title]]
                assert row["mean"] == pytest.approx(seeds.mean())
                assert row["look"] == (LOOKS[titles[title]].color, LOOKS[titles[title]].marker)
                assert row["bar"] == pytest.approx([seeds.min(), seeds.max()])
                assert row["seeds"] == pytest.approx(sorted(seeds))
                assert row["text"] == [f"{seeds.mean():.3f}"]
    labels = [ax.get_xlabel().replace("\n", " ") for ax in figure.axes[-2:]]
    assert labels == ["average MIC", "average normalised TIC"]
    assert not figure.legends  # the rows have the models' names


@pytest.mark.parametrize(
    "low, high", [(0.2, 1), (0.99, 1), (1, 1), (0.9998, 1), (0, 0.05), (0.4, 0.4)]
)
def test_the_limits_leave_room_and_begin_where_the_values_do(low, high):
    left, right = information.limits(pd.Series([low, np.nan, high, np.inf]))
    span = right - left
    assert 0.0199 < span <= max(0.0201, 1.13 * (high - low) + 1e-9)
    assert min(low - left, right - high) >= 0.05 * span
    assert left + right == pytest.approx(low + high)


def test_nothing_is_clipped(drawn):
    figure = draw("fig2c", *drawn["fig2c"])
    for ax in figure.axes:
        low, high = ax.get_xlim()
        for row in rows_of(ax).values():
            assert low < min(row["seeds"]) and max(row["seeds"]) < high
        assert ax.get_ylim() == (3.5, -0.5)
    assert len({ax.get_xlim() for ax in figure.axes[::2]}) == 1  # rows compare over dimensions


def test_a_model_has_rows_where_it_is_trained(tmp_path):
    made = experiment("mnist")
    models = dict(made.datasets["mnist"].models)
    models["HEBAE-diagonal"] = dataclasses.replace(models["HEBAE-diagonal"], latent_dims=(10,))
    made = experiment("mnist", models=models)
    figure = draw("fig2c", write_results(tmp_path, made), made, 3.3)
    check_fits(figure, "fig2c")
    three, four = ["VAE", "HEBAE", "WAE-MMD"], ["VAE", "HEBAE", "HEBAE (diagonal)", "WAE-MMD"]
    assert [list(rows_of(ax)) for ax in figure.axes[::2]] == [three, four, three]


def test_a_diverged_run_leaves_no_mean(results, demo):
    """Neither over the other seeds, nor over the latent variables that are left."""
    read = common.read_tables(results, FIGURES["fig2c"].tables)
    table = read["mutual_information"]
    of_run = (table.model == "HEBAE") & (table.latent_dim == 4) & (table.seed == 1)
    table.loc[of_run & (table.dimension == 2), "mic"] = np.nan
    figure = information.draw(read, demo, "digits")
    check_fits(figure, "fig2c")
    row = rows_of(figure.axes[2])["HEBAE"]
    assert row["mean"] is None and row["bar"] == [] and row["text"] == ["not finite"]
    assert row["seeds"] == pytest.approx(sorted(of_runs(table, "mic")[4, "HEBAE"][[0, 2]]))
    assert rows_of(figure.axes[3])["HEBAE"]["mean"] is not None
    said = facts.caption(read, demo, "digits")
    assert "A model has no mean where a run diverged." in said


def test_one_seed_is_one_mark(tmp_path):
    made = experiment(seeds=(0,), weight_seeds=(0,))
    results = write_results(tmp_path, made)
    row = rows_of(draw("fig2c", results, made).axes[0])["VAE"]
    assert row["mean"] is not None and row["seeds"] == []
    said = caption("fig2c", made, results)
    assert "Marks and numbers: one seed." in said and "Small points" not in said


def test_the_caption(drawn):
    results, demo = drawn["fig2c"]
    said = caption("fig2c", demo, results)
    for part in (
        "20 indices × 50 draws, averaged over 20 random sets of indices.",
        "Weight λ in training: 1 for VAE, HEBAE and HEBAE (diagonal); 10 for WAE-MMD.",
        "Marks and numbers: mean over 3 seeds; bars: from the lowest to the highest seed. "
        "Small points: single seeds.",
        "Digits 8×8, after 60 epochs.",
        "far lowest for the VAE",
    ):
        assert part in said
    assert "diverged" not in said


@pytest.mark.parametrize(
    "models, protocol, tied",
    [
        (["VAE", "HEBAE", "WAE"], "indices_draws", True),
        (["VAE", "HEBAE"], "indices_draws", False),
        (["WAE"], "indices_draws", False),
        (["VAE", "HEBAE", "WAE"], "mean_vs_sample", False),
    ],
)
def test_a_table_from_before_ties_were_broken_does_not_rank_by_tic(
    tmp_path, models, protocol, tied
):
    """Draws of an image tie where a code is deterministic; one draw an image cannot."""
    data = experiment().datasets["digits"]
    made = experiment(
        models={model: data.models[model] for model in models},
        mutual_information=dataclasses.replace(data.mutual_information, protocol=protocol),
    )
    results = write_results(tmp_path, made)
    said = caption("fig2c", made, results)
    assert "TIC cannot rank" not in said and "minepy" not in said
    assert ("with one an image" in said) == (protocol == "indices_draws")
    label = "average normalised TIC (no order: ties raise WAE-MMD’s)"
    table = pd.read_csv(results / "tables/mutual_information.csv")
    # as published: without the column, or with rows from before and after
    for ties in (None, table["ties"].where(table["model"] != "WAE")):
        old = table.drop(columns="ties") if ties is None else table.assign(ties=ties)
        old.to_csv(results / "tables/mutual_information.csv", index=False)
        said = caption("fig2c", made, results)
        text = "TIC cannot rank WAE-MMD against the other models, so verdicts on that order are"
        assert (text in said) == tied == ("minepy" in said)
        figure = draw("fig2c", results, made, 3.3)
        check_fits(figure, "fig2c")
        assert (figure.axes[-1].get_xlabel().replace("\n", " ") == label) == tied
    others = table.assign(ties=table["ties"].where(table["model"] == "WAE"))
    others.to_csv(results / "tables/mutual_information.csv", index=False)
    assert "minepy" not in caption("fig2c", made, results)
