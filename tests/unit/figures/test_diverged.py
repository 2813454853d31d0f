"""Every figure when a seed of a model diverged: it is drawn, and its caption has no such number."""

import gzip
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hebae.base.errors import UserError
from hebae.config.registry import FIGURES, captioned_by, drawn_by, resolve
from hebae.figures.images import read_images
from hebae.publish.results import read_experiment

FOLDER = Path(__file__).parents[3] / "docs/results/digits"
VALUES = {
    "elbo_by_epoch": ["elbo_paper"],
    "elbo_by_weight": ["elbo_paper", "elbo"],
    "fid": ["fid"],
    "covariance": ["covariance", "correlation"],
    "mutual_information": ["mic", "tic"],
    "index_code_information": ["nats", "log_n", "kl_aggregate"],
    "bounds": ["bound", "widened", "width"],
    "diagnostics": ["mmd", "log_det"],
    "identities": ["residual"],
    "stability": ["reconstruction"],
    "smoothness": ["change"],
}
PLACES = [
    (figure, table, column)
    for figure, entry in FIGURES.items()
    for table in entry.tables
    for column in VALUES[table]
    if (FOLDER / f"figures/{figure}.png").is_file()
]


@pytest.fixture(scope="module")
def experiment():
    return read_experiment(FOLDER / "config.yaml")


@pytest.fixture(scope="module")
def published():
    """The published tables by name."""
    found = {}
    for path in (FOLDER / "tables").glob("*.csv*"):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        identity = {"dataset": str, "model": str, "seed": int, "weight": float}
        found[path.name.partition(".")[0]] = pd.read_csv(io.BytesIO(content), dtype=identity)
    return found


def drawn(figure, experiment, published, table, change):
    """The figure's caption, with changes to a table, after drawing it."""
    tables = {name: published[name].copy() for name in FIGURES[figure].tables}
    change(tables[table])
    dataset = experiment.figures[figure]
    given = [tables]
    if FIGURES[figure].needs_images:
        given.append(read_images(FOLDER, experiment, dataset))
    resolve(drawn_by(figure))(*given, experiment, dataset).draw_without_rendering()
    return " ".join(resolve(captioned_by(figure))(*given, experiment, dataset))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("figure, table, column", PLACES)
def test_a_diverged_seed(experiment, published, figure, table, column, value):
    model = "HEBAE" if figure == "batch_size" else "VAE"  # one that is drawn

    def diverge(rows):
        lost = (rows["model"] == model) & (rows["seed"] == 0)
        assert lost.any()
        rows[column] = rows[column].astype(float)
        rows.loc[lost, column] = value

    said = drawn(figure, experiment, published, table, diverge)
    assert not re.search(r"\b(nan|inf|undefined|None)\b|∞", said), said
    gap = re.search("No mean is shown|[Nn]ot finite|No MMD²|No log det|no mean where|[Gg]rey", said)
    unseen = column in ("log_n", "kl_aggregate", "width") or (figure, column) in (
        ("infovae_decoder", "elbo_paper"),
        ("fig1a", "elbo"),
        *(("ablation", name) for name in ("elbo_paper", "elbo", "bound", "correlation")),
        *(("batch_size", name) for name in ("elbo", "correlation", "tic")),
    )
    assert gap or unseen, said


def test_seeds_of_other_epochs_are_an_error(experiment, published):
    """Their mean would be over fewer seeds at the end."""

    def shift(rows):
        own = rows["dataset"] == experiment.figures["fig1a"]
        last = rows["epoch"] == rows.loc[own, "epoch"].max()
        rows.loc[own & last & (rows["seed"] == 0), "epoch"] += 1

    with pytest.raises(UserError, match="the seeds of a model differ in epoch"):
        drawn("fig1a", experiment, published, "elbo_by_epoch", shift)


def test_a_table_of_words_is_an_error(experiment, published):
    def say(rows):
        rows["fid"] = rows["fid"].astype(object)
        rows.loc[0, "fid"] = "low"

    with pytest.raises(UserError, match="column 'fid': could not convert"):
        drawn("fig1b", experiment, published, "fid", say)
