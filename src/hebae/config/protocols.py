"""Protocols: how trained runs are measured. Steps get them as JSON.

Protocols are separate from the experiment, so that another set of runs repeats no measurement.
"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from functools import partial

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
    """The real images with which samples are compared: how many, from which split."""

    split: str
    count: int


@dataclass(frozen=True)
class Fid:
    """The images and features of the Fréchet distance."""

    features: str
    n_generated: int
    n_reference: int
    reference: str

    @property
    def real(self) -> RealImages:
        """The part that decides the reference; the number of generated images does not."""
        return RealImages(self.reference, self.n_reference)


@dataclass(frozen=True)
class Diagnostics:
    """How the distance between the codes of a whole split and the prior is measured."""

    kernel: str
    permutations: int


@dataclass(frozen=True)
class Bounds:
    """The numbers of codes for each image, and the test images, with which log p(x) is bounded.

    Each of ``samples`` divides the largest. ``images`` is how many test images are used, from the
    first on; None for all of them.
    """

    samples: tuple[int, ...]
    images: int | None


def add_protocol(parser: ArgumentParser, protocol: type) -> None:
    """Add the option --protocol to a step's command."""
    parser.add_argument(
        "--protocol",
        type=partial(from_json, protocol),
        required=True,
        help=f"as JSON (hebae.config.protocols.{protocol.__name__})",
    )
