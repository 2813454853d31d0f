"""Which features images are compared in, where a config leaves that to what is at hand."""

from __future__ import annotations

import os
from pathlib import Path

from hebae.config.registry import FEATURES

AUTO = "auto"
"""In a config: Inception's features if its weights are in the folder of raw data, otherwise those
of a network that tells turns, which needs no download."""


def features_at_hand(features: str, data_dir: Path) -> str:
    """The name in :data:`hebae.config.registry.FEATURES` that a config's name stands for.

    A link to weights on a disk that is not mounted counts: the step that opens it says so.
    """
    if features != AUTO:
        return features
    entry = FEATURES["inception"]
    places = data_dir / entry.folder / entry.weights, data_dir / entry.weights
    return "inception" if any(map(os.path.lexists, places)) else "rotation"
