"""How trained runs are measured: what steps are told, as JSON.

They stand apart from the experiment, so that another set of runs repeats no measurement.
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
    """How many images of which split samples are compared with."""

    split: str
    count: int


@dataclass(frozen=True)
class Fid:
    """Between which images the Fréchet distance is taken, and in which features."""

    features: str
    n_generated: int
    n_reference: int
    reference: str

    @property
    def real(self) -> RealImages:
        """What the reference is made of: how many images are generated does not change it."""
        return RealImages(self.reference, self.n_reference)


@dataclass(frozen=True)
class Diagnostics:
    """How the distance of the codes of a whole split to the prior is measured."""

    kernel: str
    permutations: int


@dataclass(frozen=True)
class Bounds:
    """With how many codes an image log p(x) is bounded, and on which test images.

    Each of ``samples`` divides the largest; ``images`` are the first so many, None for all.
    """

    samples: tuple[int, ...]
    images: int | None


def add_protocol(parser: ArgumentParser, protocol: type) -> None:
    """The option by which a step's command is told a protocol."""
    parser.add_argument(
        "--protocol",
        type=partial(from_json, protocol),
        required=True,
        help=f"as JSON (hebae.config.protocols.{protocol.__name__})",
    )
