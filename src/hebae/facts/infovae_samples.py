"""Random samples of each model, by the kind of its decoder, and test images."""

from __future__ import annotations

from hebae.config.experiment import Experiment
from hebae.facts.image_panels import (
    Images,
    images_text,
    samples_text,
)
from hebae.facts.text import where_text


def caption(images: Images, experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""
    return [
        "Samples show whether codes from the prior, z ~ N(0, I), mean anything to a decoder; "
        "InfoVAE’s authors expect its gains with expressive decoders.",
        where_text(experiment.datasets[dataset]),
        f"At a page’s width the figure shows {samples_text(images)}.",
        "λ is the weight in training.",
        *images_text(images, experiment, dataset),
    ]
