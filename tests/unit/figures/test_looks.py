"""A model has one look, told apart from the others in print and by colour-blind eyes."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from hebae.figures.looks import LOOKS, OTHERS, looks

# Machado, Oliveira and Fernandes (2009), full deficiency, for linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(color: str, matrix) -> np.ndarray:
    """A colour as it is seen, in CIELAB (D65)."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", DEFICIENCIES)
def test_the_papers_models_differ_in_colour_for_all_eyes(eyes):
    """By 15 units of CIELAB; just seen is 2.3."""
    colors = {
        model: lab(LOOKS[model].color, DEFICIENCIES[eyes])
        for model in ("VAE", "HEBAE", "HEBAE-diagonal", "WAE")
    }
    for one, other in combinations(colors, 2):
        assert np.linalg.norm(colors[one] - colors[other]) > 15, (one, other)


def test_in_grey_the_marker_tells_models_apart():
    for of in (LOOKS.values(), OTHERS):
        markers = [(look.marker, look.color) for look in of]
        assert len(set(markers)) == len(of)
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS)


def test_a_look_goes_by_the_name_alone():
    assert looks(["WAE", "VAE"])["VAE"] == looks(["VAE"])["VAE"] == LOOKS["VAE"]
    assert looks(["mine", "VAE"])["mine"] == looks(["HEBAE", "mine"])["mine"]
    assert looks(["mine"])["mine"] in OTHERS


def test_unknown_models_of_an_experiment_differ():
    names = [f"model {k}" for k in range(len(OTHERS))]
    assert len(set(looks(names).values())) == len(OTHERS)
    assert looks(names) == looks(names[::-1])
    more = [f"model {k}" for k in range(3 * len(OTHERS))]
    assert len(set(looks(more).values())) == len(more)  # in the same colours with other marks
