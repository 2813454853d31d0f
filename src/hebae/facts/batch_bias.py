"""The bias of the aggregate KL in a batch: what codes score that are the prior’s own.

R = KL(N(m̂, Σ̂) ‖ N(0, I)) of n codes that are exactly N(0, I) is above 0, because m̂ and Σ̂ are the
codes’ own: E R = −½ E log det Σ̂ (docs/bounds.md). A formula and drawn numbers, and no table.
"""

from __future__ import annotations

import numpy as np

from hebae.base.errors import UserError
from hebae.base.text import listed, number
from hebae.config.experiment import Experiment
from hebae.config.registry import DATASETS
from hebae.measures.identities import expected_regulariser

DIMENSIONS = (8, 10, 16, 64)  # the paper's, as far as they are known (docs/paper.md)
DRAWS = 64


def marked_sizes(experiment: Experiment, dataset: str) -> dict[int, str]:
    """Batches of the models that take a covariance of them, and the test split where known.

    By the number of codes, in ascending order.
    """
    data, runs = experiment.datasets[dataset], experiment.main_runs(dataset)
    batches = {run.training.batch_size for run in runs if run.needs_covariance}
    if not batches:
        raise UserError(f"config: figures.batch_bias: no model of {dataset} takes a covariance")
    split = DATASETS[data.source].n_test
    found = {} if split is None else {split: f"test split of {split:,}"}
    return dict(sorted((found | {n: f"batch of {n:,}" for n in batches}).items()))


def caption(experiment: Experiment, dataset: str) -> list[str]:
    """What has to be said of the figure, sentence by sentence."""

    def values(n: int) -> str:
        shown = {d: expected_regulariser(np.array([n]), d).item() for d in DIMENSIONS if n > d}
        return listed(f"{number(value)} (d = {d})" for d, value in shown.items()) or "infinite"

    return [
        "HEBAE’s regulariser R is above 0 even for n codes that are exactly N(0, I), because it is "
        "the KL divergence from the prior of a Gaussian with these codes’ own mean and covariance.",
        "R falls with n and grows with the latent dimension d; curves begin at n = d + 1, below "
        "which R is infinite.",
        f"Curves: the expected R. Marks: mean over {DRAWS} drawn batches; bars: ± 2 standard "
        "errors. Vertical lines: the experiment’s batches and test split.",
        *(
            f"The expected R of a {word} codes is, in nats, {values(n)}."
            for n, word in marked_sizes(experiment, dataset).items()
        ),
        "The paper takes moments over a batch and does not mention this bias; here, models are "
        "compared by moments over a whole split.",
    ]
