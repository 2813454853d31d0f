"""Fig. 3 and Appendix C: reconstructions, interpolations and samples in rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.unit.figures import planted

from hebae.base.errors import UserError
from hebae.facts import image_panels as facts
from hebae.figures import image_panels
from hebae.figures.draw import caption
from hebae.figures.images import read_images


def pictures(figure: Figure) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and their boxes (left, top, right, bottom) in inches, row by row."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    found = []
    for ax in figure.axes:
        if ax.images:
            box = ax.get_position()
            places = [box.x0 * width, (1 - box.y1) * height]
            places += [box.x1 * width, (1 - box.y0) * height]
            found.append((np.asarray(ax.images[0].get_array()), np.array(places)))
    return sorted(found, key=lambda one: (round(one[1][1], 3), one[1][0]))


def parts(whole: np.ndarray, side: int) -> list[np.ndarray]:
    """The images of a mosaic, row by row; white lines part them."""
    pitch = side + max(1, round(side / 12))
    lines = np.arange(max(whole.shape)) % pitch >= side
    assert (whole[lines[: len(whole)]] == 255).all()
    assert (whole[:, lines[: whole.shape[1]]] == 255).all()
    return [
        whole[y : y + side, x : x + side]
        for y in range(0, whole.shape[0], pitch)
        for x in range(0, whole.shape[1], pitch)
    ]


CASES = [("appendix_c", 8), ("fig3", 64)]
WIDTHS = [(6.9, 6, 19), (3.3, 3, 10)]
"""Inches, images of an interpolation, samples in a row."""


def saved(results, made, dataset) -> dict[str, dict[str, np.ndarray]]:
    """As saved, without the last axis where images are grey."""
    return {
        model: {
            name: array.squeeze(-1) if array.shape[-1] == 1 else array for name, array in of.items()
        }
        for model, of in read_images(results, made, dataset).items()
    }


@pytest.mark.parametrize("name, side", CASES)
@pytest.mark.parametrize("width, n_steps, n_columns", WIDTHS)
def test_rows(drawn, name, side, width, n_steps, n_columns):
    """Test images once; a row of interpolations a model, then its samples; images as saved."""
    folder, made = drawn[name]
    arrays = saved(folder, made, made.figures[name])
    found = [parts(whole, side) for whole, _ in pictures(planted.draw(name, folder, made, width))]
    tests, rest = found[:6], found[6:]
    first = next(iter(arrays.values()))
    assert np.array_equal([image for (image,) in tests], first["originals"])
    steps = np.linspace(0, 10, n_steps).astype(int)
    for place, of_model in enumerate(arrays.values()):
        for block, line in enumerate(rest[3 * place : 3 * place + 3]):
            assert np.array_equal(line[0], of_model["reconstructions"][2 * block])
            assert np.array_equal(line[-1], of_model["reconstructions"][2 * block + 1])
            assert np.array_equal(line[1:-1], of_model["interpolations"][block, steps[1:-1]])
    samples = rest[3 * len(arrays) :]
    assert len(samples) == len(arrays)
    for found, of_model in zip(samples, arrays.values(), strict=True):
        flat = of_model["samples"].reshape(-1, *first["originals"].shape[1:])
        assert len(found) == n_columns * max(1, min(len(flat) // n_columns, 10 // len(arrays)))
        assert np.array_equal(found, flat[: len(found)])


@pytest.mark.parametrize("name, side", CASES)
@pytest.mark.parametrize("width, n_steps, n_columns", WIDTHS)
def test_places(drawn, name, side, width, n_steps, n_columns):
    """All images are equally large; reconstructions stand below their test images; rows fill
    the width and follow each other closely."""
    folder, made = drawn[name]
    found = pictures(planted.draw(name, folder, made, width))
    pixels = {
        tuple(np.round([(x1 - x0) / whole.shape[1], (y1 - y0) / whole.shape[0]], 6))
        for whole, (x0, y0, x1, y1) in found
    }
    assert len({pixel for pair in pixels for pixel in pair}) == 1
    assert 0.22 < side * pixels.pop()[0] < 0.35
    tests, lines = found[:6], found[6 : 6 + 3 * len(made.datasets[made.figures[name]].models)]
    for place, (_, box) in enumerate(lines):
        left, right = tests[2 * (place % 3)][1], tests[2 * (place % 3) + 1][1]
        assert (box[0], box[2]) == pytest.approx((left[0], right[2]))
    for row in (found[3:6], lines[:3], found[-1:]):
        assert row[-1][1][2] == pytest.approx(width, abs=0.06)
    gaps = [below[1][1] - above[1][3] for above, below in zip(lines, lines[3:], strict=False)]
    assert max(gaps) < 0.1 and min(gaps) > 0


def test_names_stand_beside_their_rows(drawn):
    folder, made = drawn["fig3"]
    figure = planted.draw("fig3", folder, made)
    found = pictures(figure)
    rows = {round((box[1] + box[3]) / 2, 2) for _, box in found}
    places = {"test images": 1} | dict.fromkeys(["VAE", "HEBAE", "WAE-MMD"], 2)
    for text in planted.texts(figure):
        if text.get_text() in places:
            y = (1 - text.get_position()[1]) * figure.get_figheight()
            assert min(abs(y - row) for row in rows) < 0.02
            places[text.get_text()] -= 1
    assert set(places.values()) == {0}


@pytest.mark.parametrize("n_lines, steps, blocks", [(1, 11, 1), (2, 9, 2), (9, 6, 3)])
def test_other_numbers_of_interpolations(demo, tmp_path, n_lines, steps, blocks):
    panels = demo.datasets["digits"].panels
    pairs = tuple((k, k + 1) for k in range(n_lines))
    made = planted.experiment(panels=dataclasses.replace(panels, interpolations=pairs))
    made = dataclasses.replace(made, figures={"appendix_c": "digits"})
    planted.write_results(tmp_path, made)
    for path in tmp_path.glob("runs/**/images.npz"):
        arrays = dict(np.load(path))
        ends = planted.blobs("ends", 2 * n_lines, 8, 8, 1)
        np.savez(path, **{**arrays, "originals": ends, "reconstructions": ends})
    figure = planted.draw("appendix_c", tmp_path, made)
    lines = [whole for whole, _ in pictures(figure) if len(whole) == 8 and whole.shape[1] > 8]
    assert len(lines) == 4 * blocks
    assert {len(parts(line, 8)) for line in lines} == {steps}
    planted.check_fits(figure, "appendix_c")


def test_grey_levels_are_absolute(drawn):
    axes = [ax for ax in planted.draw("appendix_c", *drawn["appendix_c"]).axes if ax.images]
    assert {ax.images[0].cmap.name for ax in axes} == {"gray"}
    assert {ax.images[0].get_clim() for ax in axes} == {(0, 255)}


def test_mosaic_in_colour():
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 24, 24, 3), dtype=np.uint8)
    whole = image_panels.mosaic(images)
    assert whole.shape == (2 * 26 - 2, 3 * 26 - 2, 3)
    assert np.array_equal(whole[26:50, 52:76], images[1, 2])


def test_caption(drawn):
    folder, made = drawn["fig3"]
    said = caption("fig3", made, folder)
    for part in (
        "Toy faces, latent dimension 16, after 3 epochs.",
        "3 interpolations, with 6 of the 11 steps of each, and 19 of the 20 random samples of each",
        "Decoded images are means of p(x|z) (independent pixels). All images are of seed 0.",
        "0.001 for VAE, HEBAE and HEBAE (diagonal); 100 for WAE-MMD.",
        "better samples than the WAE’s",
    ):
        assert part in said
    assert "see other" not in said
    folder, made = drawn["appendix_c"]
    said = caption("appendix_c", made, folder)
    assert "38 of the 100 random samples" in said


def test_caption_of_models_that_see_other_images(drawn):
    folder, made = drawn["appendix_c"]
    images = read_images(folder, made, "digits")
    images["WAE"] = {**images["WAE"], "originals": images["WAE"]["originals"] // 2}
    said = " ".join(facts.caption(images, made, "digits"))
    assert "Test images are shown as VAE sees them; others see other grey values." in said


def variants():
    made = {"demo": planted.experiment(), "faces": planted.experiment("toyfaces")}
    data = made["demo"].datasets["digits"]
    long = "A model with a rather long title, number {}"
    for n in (1, 6, 12):
        like = made["demo"].models["HEBAE"]
        models = {
            f"M{k}": dataclasses.replace(like, name=f"M{k}", title=long.format(k)) for k in range(n)
        }
        recipes = dict.fromkeys(models, data.models["HEBAE"])
        made[f"long_{n}"] = dataclasses.replace(
            made["demo"],
            models=models,
            datasets={"digits": dataclasses.replace(data, models=recipes, title="Long " * 20)},
        )
    few = dataclasses.replace(data.panels, interpolations=((7, 3),), steps=2, samples=(1, 2))
    made["few"] = planted.experiment(panels=few)
    return made


@pytest.mark.parametrize("width", [6.9, 3.3])
@pytest.mark.parametrize("variant", variants())
def test_every_text_fits(tmp_path, variant, width):
    made = variants()[variant]
    name = "fig3" if variant == "faces" else "appendix_c"
    made = dataclasses.replace(made, figures={name: made.figures[name]})
    planted.write_results(tmp_path, made)
    planted.check_fits(planted.draw(name, tmp_path, made, width), name)


@pytest.mark.parametrize("content", ["missing", "text", "lacks", "cut", "shape", "flat", "float"])
def test_wrong_images(results, demo, tmp_path, content):
    run = demo.main_runs("digits")[0]
    for other in demo.main_runs("digits"):
        path = tmp_path / "runs" / other.path / "images.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes((results / "runs" / other.path / "images.npz").read_bytes())
    path = tmp_path / "runs" / run.path / "images.npz"
    arrays = dict(np.load(path))
    if content == "missing":
        path.unlink()
    elif content == "text":
        path.write_text("not images")
    elif content == "lacks":
        np.savez(path, **{name: arrays[name] for name in arrays if name != "samples"})
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "shape":
        np.savez(path, **{**arrays, "reconstructions": arrays["reconstructions"][:5]})
    elif content == "float":
        np.savez(path, **{**arrays, "samples": arrays["samples"] / 255})
    elif content == "flat":
        np.savez(path, **{**arrays, "samples": arrays["samples"].reshape(100, 8, 8, 1)})
    with pytest.raises(UserError) as caught:
        planted.draw("appendix_c", tmp_path, demo)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
