"""Fig. 2a and 2b, drawn from planted tables."""

import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.planted import check_fits, draw, experiment, stream, texts

from hebae.config.registry import FIGURES
from hebae.facts import covariance_heatmaps as facts
from hebae.figures import common, covariance_heatmaps
from hebae.measures.sampling_floor import floors

WIDTHS = (6.9, 3.3)


def meshes(figure) -> list:
    return [ax.collections[0] for ax in figure.axes[:-1]]


def with_matrices(results, demo, off: float, factor: float) -> dict[str, pd.DataFrame]:
    """Matrices with `off` off the diagonal of the correlation, `factor` times the covariance."""
    read = common.read_tables(results, FIGURES["fig2a"].tables)
    table = read["covariance"]
    table["correlation"] = np.where(table.i == table.j, 1, off)
    table["covariance"] = factor * (table.i == table.j)
    return read


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["fig2a", "fig2b"])
def test_the_matrices(name, width, drawn):
    """Of the means of the first seed; one column is too narrow for a column a model."""
    folder, made = drawn[name]
    data = made.datasets[made.figures[name]]
    d, seed, models = data.main_latent_dim, data.seeds[0], list(data.models)
    figure = draw(name, folder, made, width)
    shown = np.array([mesh.get_array() for mesh in meshes(figure)])
    table = pd.read_csv(folder / "tables/covariance.csv")
    table = table[(table.which == "mean") & (table.latent_dim == d) & (table.seed == seed)]
    for place, (quantity, model) in enumerate(
        (quantity, model) for quantity in ("covariance", "correlation") for model in models
    ):
        expected = np.full((d, d), np.nan)
        for row in table[table.model == model].itertuples():
            expected[row.i, row.j] = getattr(row, quantity)
        if width < 4:
            place = 2 * (place % len(models)) + place // len(models)
        np.testing.assert_allclose(shown[place], expected)
    axes = figure.axes[:-1]
    across = [ax.get_title().replace("\n", " ") for ax in axes if ax.get_title()]
    down = [ax.get_ylabel().replace("\n", " ") for ax in axes if ax.get_ylabel()]
    titles = ["VAE", "HEBAE", "HEBAE (diagonal)", "WAE-MMD"]
    expected = (titles, ["covariance", "correlation"])
    assert (across, down) == (expected if width > 4 else expected[::-1])
    assert axes[0].yaxis_inverted()  # as a matrix is written
    found = " ".join(text.get_text() for text in texts(figure))
    for said_once in ("covariance", "correlation", "latent variable", data.title):
        assert found.count(said_once) == 1


@pytest.mark.parametrize(
    "factor, off, extend",
    [(0.1, 0, "neither"), (2, 0.6, "neither"), (3, 0, "max"), (-3, 0, "min"), (3, -2.5, "both")],
)
def test_one_scale_for_all_panels_of_all_experiments(results, demo, factor, off, extend):
    figure = covariance_heatmaps.draw(with_matrices(results, demo, off, factor), demo, "digits")
    assert {(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes(figure)} == {(-2, 2)}
    assert len({id(mesh.norm) for mesh in meshes(figure)}) == 1
    bar = meshes(figure)[0].colorbar
    assert bar.extend == extend
    assert {-1, 0, 1} < set(bar.get_ticks())
    # the line at the target is where the tick is
    (lines,) = [c for c in bar.ax.collections if len(c.get_paths()) == 2]
    assert [path.vertices[0, 1] for path in lines.get_paths()] == [0, 1]


def test_the_colours_tell_values_apart(results, demo):
    """Small ones from 0, and 1.5 from the target 1; as far on both sides of 0."""
    figure = covariance_heatmaps.draw(with_matrices(results, demo, 0, 1), demo, "digits")
    mesh = meshes(figure)[0]

    def apart(one: float, other: float) -> float:
        return np.abs(mesh.to_rgba(one)[:3] - np.array(mesh.to_rgba(other)[:3])).max()

    assert apart(0, 0.05) > 0.08 and apart(0, -0.05) > 0.08
    assert apart(1, 1.5) > 0.08 and apart(1, 0.5) > 0.08
    norm = mesh.norm
    np.testing.assert_allclose(norm([-2, -0.5, 0, 0.5, 2]), [0, 0.25, 0.5, 0.75, 1], atol=1e-12)
    np.testing.assert_allclose(norm.inverse(norm([-1.3, 0, 0.07])), [-1.3, 0, 0.07], atol=1e-12)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_cell_of_64_dimensions_is_seen(tmp_path, width):
    """Each row and column of the matrix has its own rows and columns of pixels."""
    made = experiment("toyfaces", latent_dims=(64,), main_latent_dim=64)
    random = stream("cells")
    table = pd.DataFrame(
        run.identity | {"which": "mean", "i": i, "j": j, "covariance": value, "correlation": value}
        for run in made.main_runs("toyfaces")
        for (i, j), value in np.ndenumerate(np.where(random.random((64, 64)) < 0.5, -1.0, 1.0))
    ).astype({"weight": float})
    figure = covariance_heatmaps.draw({"covariance": table}, made, "toyfaces", width)
    common.save(figure, [tmp_path / "fig2b.png"])
    pixels = matplotlib.image.imread(tmp_path / "fig2b.png")[..., :3]
    for ax, mesh in zip(figure.axes[:-1], meshes(figure), strict=True):
        (x0, y0), (x1, y1) = ax.get_window_extent().get_points() * 300 / figure.dpi
        centres = (np.arange(64) + 0.5) / 64
        columns = (x0 + (x1 - x0) * centres).astype(int)
        lines = (len(pixels) - y1 + (y1 - y0) * centres).astype(int)
        cells = pixels[np.ix_(lines, columns)]
        assert np.array_equal(cells[..., 0] > cells[..., 2], mesh.get_array() > 0)


def test_what_is_not_finite_is_grey(results, demo):
    """A correlation with a constant variable, and all of a run that diverged."""
    read = common.read_tables(results, FIGURES["fig2a"].tables)
    table = read["covariance"]
    assert "Grey" not in " ".join(facts.caption(read, demo, "digits"))
    constant = (table.model == "VAE") & ((table.i == 0) | (table.j == 0))
    table.loc[constant, ["covariance", "correlation"]] = [0.0, np.nan]
    table.loc[table.model == "HEBAE", ["covariance", "correlation"]] = [np.inf, np.nan]
    figure = covariance_heatmaps.draw(read, demo, "digits")
    check_fits(figure, "fig2a")
    masks = [np.ma.getmaskarray(mesh.get_array()) for mesh in meshes(figure)]
    assert not masks[0].any() and masks[1].all() and masks[5].all()
    assert masks[4][0].all() and masks[4][:, 0].all() and not masks[4][1:, 1:].any()
    red, green, blue, _ = meshes(figure)[0].cmap.get_bad()
    assert red == green == blue and 0.4 < red < 0.8
    said = " ".join(facts.caption(read, demo, "digits"))
    assert "Grey cells are not finite: a latent variable is constant or the run diverged." in said
    assert re.search(r"Variances: VAE 0 to [\d.]+; HEBAE \(diagonal\)", said)
    shown = (table.which == "mean") & (table.seed == 0) & (table.latent_dim == 8)
    beyond = (table[shown].covariance.abs() > 2).sum() - 64
    assert f"({beyond} value beyond)" in said and "nan" not in said


def test_the_caption_has_the_numbers(results, demo):
    read = with_matrices(results, demo, 0.02, 1.5)
    table = read["covariance"]
    vae = (table.model == "VAE") & (table.which == "mean")
    table.loc[vae & (table.i == 1) & (table.j == 1), "covariance"] = 0.25
    table.loc[vae & (table.i == 0) & (table.j == 1), "correlation"] = -0.7
    root = np.sqrt((55 * 0.02**2 + 0.7**2) / 56)
    said = " ".join(facts.caption(read, demo, "digits"))
    assert "Variances: VAE 0.250 to 1.50; HEBAE 1.50 to 1.50; HEBAE (diagonal) 1.50 to" in said
    assert f"(largest magnitude): VAE {root:.3g} (0.700); HEBAE 0.0200 (0.0200); HEBAE (d" in said
    assert "latent dimension 8, after 60 epochs. One run a model, of seed 0." in said
    assert "end at ±2 in every experiment." in said
    table.loc[vae & (table.i == 2), "covariance"] = -2.5
    said = " ".join(facts.caption(read, demo, "digits"))
    assert "end at ±2 in every experiment (8 values beyond)." in said


def test_the_caption_has_distances_beside_their_floor(results, demo):
    """√(2d/n)-like sizes: with 500 images, N(0, I) in 8 dimensions is .38 from I itself."""
    read = with_matrices(results, demo, 0.02, 1.5)
    said = " ".join(facts.caption(read, demo, "digits"))
    distance = 0.5 * np.sqrt(8)
    own = "N(0, I) itself {} ({} to {} in 95 %) with as many images."
    floor, of_correlation = floors(500, 8)
    assert floor.expected == pytest.approx(np.sqrt(499 * 8 * 9 + 8) / 500)
    expected = f"‖Cov(μ) − I‖: VAE {distance:.3g}; HEBAE {distance:.3g}; HEBAE (diagonal) "
    assert expected in said
    assert own.format(*(f"{end:.3f}" for end in floor)) in said
    assert own.format(*(f"{end:.4f}" for end in of_correlation)) in said
    old = {"covariance": read["covariance"].drop(columns="n_codes")}
    mixed = read["covariance"].assign(n_codes=np.where(read["covariance"].seed == 0, np.nan, 500))
    for tables in (old, {"covariance": mixed}):
        said = " ".join(facts.caption(tables, demo, "digits"))
        assert expected in said and "itself" not in said


def test_the_caption_counts_inactive_variables_in_every_seed(results, demo):
    read = with_matrices(results, demo, 0, 1.0)
    table = read["covariance"]
    none = "No latent variable of any run is inactive (variance of μ below 0.01)."
    assert none in facts.caption(read, demo, "digits")
    for model, latent_dim, seed, count in (
        ("VAE", 8, 0, 2), ("VAE", 8, 2, 3), ("VAE", 4, 1, 1), ("WAE", 8, 1, 8)
    ):  # fmt: skip
        run = (table.model == model) & (table.latent_dim == latent_dim) & (table.seed == seed)
        table.loc[run & (table.i == table.j) & (table.i < count), "covariance"] = 0.0099
    found = facts.inactive(read, demo, "digits")
    assert found[found.model == "VAE"]["inactive"].tolist() == [0, 0, 0, 0, 1, 0, 2, 0, 3]
    said = " ".join(facts.caption(read, demo, "digits"))
    assert (
        "Of 4 latent variables, so many are inactive (variance of μ below 0.01) in each of 3 "
        "seeds: VAE 0, 1 and 0; HEBAE, HEBAE (diagonal) and WAE-MMD none. Of 8: VAE 2, 0 and 3; "
        "WAE-MMD 0, 8 and 0; HEBAE and HEBAE (diagonal) none. Of 2: none." in said
    )
    table.loc[(table.model == "VAE") & (table.seed == 2), "covariance"] = np.inf
    said = " ".join(facts.caption(read, demo, "digits"))
    assert "Of 8: VAE 2, 0 and –;" in said


def test_one_latent_variable_has_no_correlation(tmp_path):
    made = experiment(latent_dims=(1,), weight_latent_dims=(1,), main_latent_dim=1)
    one = {"which": "mean", "i": 0, "j": 0, "covariance": 0.9, "correlation": 1.0, "n_codes": 9}
    table = pd.DataFrame(run.identity | one for run in made.default_runs())
    read = {"covariance": table.astype({"weight": float})}
    check_fits(covariance_heatmaps.draw(read, made, "digits", 3.3), "fig2a")
    said = " ".join(facts.caption(read, made, "digits"))
    assert "Variances: VAE 0.900 to 0.900;" in said and "off the diagonal," not in said
