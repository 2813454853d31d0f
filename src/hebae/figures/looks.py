"""The look of every model, by its name: one in every figure of every experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Look(NamedTuple):
    """How a model is drawn. Colour, marker and line tell it apart, each without the others."""

    color: str
    marker: str
    linestyle: Any
    linewidth: float


# Colours of Okabe and Ito and of Tol, told apart under the common forms of colour blindness.
# HEBAE-diagonal is thin and dashed, so that HEBAE, with which it coincides, stays visible.
LOOKS: Mapping[str, Look] = {
    "VAE": Look("#D55E00", "s", "-", 1.2),
    "HEBAE": Look("#0072B2", "o", "-", 1.6),
    "HEBAE-diagonal": Look("#000000", "D", (0, (3, 2)), 0.8),
    "WAE": Look("#009E73", "^", "-.", 1.2),
    "WAE-GAN": Look("#666666", "h", (0, (5, 1, 1, 1)), 1.2),
    "InfoVAE": Look("#CC79A7", "v", ":", 1.5),
    "InfoVAE-adversarial": Look("#E69F00", "P", (0, (6, 1.5)), 1.2),
    "InfoVAE-Stein": Look("#56B4E9", "X", (0, (1, 1)), 1.5),
    "VAE-AR": Look("#882255", "<", (0, (4, 1, 1, 1)), 1.2),
    "InfoVAE-AR": Look("#999933", ">", (0, (6, 1.5)), 1.2),
}

OTHERS = (
    Look("#332288", "p", "-.", 1.2),
    Look("#44AA99", "*", "-", 1.2),
    Look("#AA4499", "d", (0, (3, 2)), 1.2),
    Look("#661100", "8", ":", 1.5),
    Look("#117733", "H", (0, (6, 1.5)), 1.2),
    Look("#6699CC", "p", (0, (2, 1)), 1.2),
    Look("#DDCC77", "*", (0, (4, 1, 1, 1)), 1.2),
    Look("#888888", "d", "-", 1.2),
)
"""Of models that :data:`LOOKS` does not name. A name leads to one of them by its hash, and to the
next that is free where two models of an experiment meet."""


def looks(models: Iterable[str]) -> dict[str, Look]:
    """The look of each of an experiment's models."""
    models = list(models)
    pool, round_ = list(OTHERS), 0
    free = list(pool)
    found = {}
    for model in sorted(set(models) - LOOKS.keys()):
        start = hashlib.sha256(model.encode()).digest()[0] % len(OTHERS)
        if not free:  # another round, with other marks in the same colours
            round_ += 1
            shifted = OTHERS[round_:] + OTHERS[:round_]
            pool = [
                one._replace(marker=other.marker, linestyle=other.linestyle)
                for one, other in zip(OTHERS, shifted, strict=True)
            ]
            free = list(pool)
        found[model] = next(one for one in pool[start:] + pool[:start] if one in free)
        free.remove(found[model])
    return {model: LOOKS.get(model) or found[model] for model in models}
