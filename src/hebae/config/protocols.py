"""Protocols: how trained runs are measured. Steps get them as JSON.

Protocols are separate from the experiment, so that another set of runs repeats no measurement.
"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from functools import partial

from hebae.base.errors import UserError
from hebae.config.fields import from_json


@dataclass(frozen=True)
class MutualInformation:
    """Protocol of MIC and TIC (docs/paper.md)."""

    protocol: str
    indices: int
    draws: int
    sets: int


@dataclass(frozen=True)
class Panels:
    """What the qualitative figure shows.

    ``interpolations`` are pairs of classes or of test images, as ``end_points`` says.
    """

    interpolations: tuple[tuple[int, int], ...]
    end_points: str
    steps: int
    samples: tuple[int, int]


@dataclass(frozen=True)
class RealImages:
    """Some real images: how many, from which split.

    ``at_most``: whether all of them will do where the split has fewer.
    """

    split: str
    count: int
    at_most: bool = False


@dataclass(frozen=True)
class Fid:
    """The images and features of the Fréchet distance.

    ``samplings`` are the kinds of images that are compared with the reference besides samples of
    the prior (:mod:`hebae.measures.fid.fid`).
    """

    features: str
    n_generated: int
    n_reference: int
    reference: str
    samplings: tuple[str, ...] = ()

    @property
    def real(self) -> RealImages:
        """The part that decides the reference; the number of generated images does not."""
        return RealImages(self.reference, self.n_reference)

    @property
    def floor(self) -> RealImages:
        """As many images of the other split as are generated: the distance of a perfect model."""
        other = {"train": "test", "test": "train"}[self.reference]
        return RealImages(other, self.n_generated, at_most=True)


@dataclass(frozen=True)
class Diagnostics:
    """How the distance between the codes of a whole split and the prior is measured."""

    kernel: str
    permutations: int


PILOT = 50
"""On so many images the width of q is chosen, but on no more than a tenth of the test images."""


@dataclass(frozen=True)
class Bounds:
    """The numbers of codes for each image, and the test images, with which log p(x) is bounded.

    Each of ``samples`` divides the largest. ``images`` is how many test images are used, from the
    first on; None for all but the pilot, the images on which the width of q is chosen.
    """

    samples: tuple[int, ...]
    images: int | None

    def parts(self, n_test: int) -> tuple[range, range]:
        """The test images that are evaluated, and the pilot, which are those that follow them.

        They have no image in common. Raises UserError if too few test images are left for a pilot.
        """
        if n_test < 2:
            raise UserError(f"bounds: {n_test} test images are too few: one is for the width of q")
        n_pilot = max(1, min(PILOT, n_test // 10))
        n_images = n_test - n_pilot if self.images is None else self.images
        if n_images > n_test - n_pilot:
            raise UserError(
                f"bounds.images: {n_images} is more than {n_test - n_pilot}; the width of q is "
                f"chosen on {n_pilot} others of the {n_test} test images"
            )
        return range(n_images), range(n_images, n_images + n_pilot)


@dataclass(frozen=True)
class Stability:
    """The grid of short trainings that shows how often a model fails to train.

    ``learning_rate_factors`` are factors on the run's learning rate, ``initial_scales`` factors on
    the initial weights. ``images`` is how many images of each split are used, from the first on;
    None for all of them.
    """

    epochs: int
    learning_rate_factors: tuple[float, ...]
    initial_scales: tuple[float, ...]
    images: int | None


def add_protocol(parser: ArgumentParser, protocol: type) -> None:
    """Add the option --protocol to a step's command."""
    parser.add_argument(
        "--protocol",
        type=partial(from_json, protocol),
        required=True,
        help=f"as JSON (hebae.config.protocols.{protocol.__name__})",
    )
