"""How a Fréchet distance grows with distortions of real images."""

from __future__ import annotations

import pandas as pd

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.facts.fig1b import distance, features_text

LABELS = {
    "blur": "blur: standard deviation in pixels",
    "noise": "noise: standard deviation in 8-bit values",
    "pixelation": "pixelation: side of a block in pixels",
    "modes": "modes that are missing, of 8",
}
"""The distortions in the order of the panels, and the unit of their strengths."""
COLUMNS = ("distortion", "strength", "fid", "n_images", "n_reference", "reference", "features")


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """The validated rows, a distortion and strength each; modes by their number.

    Raises UserError for a table that lacks a column or a distortion.
    """
    file = table.attrs.get("file", "distortions.csv")
    for column in COLUMNS:
        if column not in table:
            raise UserError(f"{file}: no column {column!r}")
    if set(table["distortion"]) != set(LABELS):
        raise UserError(f"{file}: the distortions are not {listed(LABELS)}")
    modes = table["distortion"] == "modes"
    return table.assign(strength=table["strength"].where(~modes, 8 * table["strength"]))


def falls(table: pd.DataFrame) -> list[str]:
    """The distortions whose distance does not grow with every step of strength."""
    ordered = table.sort_values("strength", kind="stable")
    steps = {name: own["fid"].diff()[1:] for name, own in ordered.groupby("distortion")}
    # without a step nothing grows; a distance that is not finite does not either
    return [name for name in LABELS if steps[name].empty or not (steps[name] > 0).all()]


def caption(table: pd.DataFrame, experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    found = measured(table)
    row, wrong = found.iloc[0], falls(found)
    counts = found.groupby("distortion")["n_images"].max()
    whole = found[(found["strength"] == 0) & (found["distortion"] != "modes")]["fid"].mean()
    return [
        f"The {distance(row['features'])} between distorted and undistorted real images against "
        "the strength of the distortion. Samples of a model may be blurred, noisy or without some "
        "modes of the data, so a distance that judges them has to grow with each.",
        f"It grows with every step of {listed(name for name in LABELS if name not in wrong)}."
        * (len(wrong) < len(LABELS)),
        f"It does not grow with every step of {listed(wrong)}." * bool(wrong),
        f"{counts['blur']:,} images are compared with {row['n_reference']:,} of the "
        f"{row['reference']} split, which has none of them; without a distortion they are at "
        f"{number(whole)}.",
        "Modes are 8 clusters of the images by k-means, left out from the second largest down, the "
        f"largest last. {counts['modes']:,} images of those left are compared, so that panel "
        "starts further from 0.",
        features_text(row.to_dict()),
    ]
