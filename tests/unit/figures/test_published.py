"""FIDs beside published ones."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from tests.unit.figures.planted import experiment, inception, table_rows

from hebae.config.registry import DATASETS
from hebae.facts.published import PUBLISHED, beside_published


@pytest.fixture
def celeba():
    """The planted faces as CelebA with Inception's features, and their table."""
    made = experiment("toyfaces")
    data = dataclasses.replace(made.datasets["toyfaces"], source="celeba", fid=inception(made))
    made = dataclasses.replace(made, datasets={"toyfaces": data})
    return pd.DataFrame(table_rows("fid", made)).astype({"weight": float}), made


def test_our_means_come_first_and_the_paper_s_46_is_among_the_others(celeba):
    table, made = celeba
    rows = beside_published(table, made, "toyfaces")
    own = [row for row in rows if row[2] == "here, 2 seeds"]
    assert rows[: len(own)] == own and rows[len(own)] == ("HEBAE, lowest", "46", "the paper")
    hebae = table[(table.model == "HEBAE") & (table.weight == 0.001) & (table.sampling == "prior")]
    at_16 = hebae[hebae.latent_dim == 16].fid
    (said,) = [value for what, value, _ in own if what == "HEBAE, z = 16, λ = 0.001"]
    assert said == (f"{at_16.mean():.3g}, lowest to highest {at_16.min():.3g} to {at_16.max():.3g}")


def test_other_features_and_other_images_have_nothing_published_beside_them(celeba):
    table, made = celeba
    assert beside_published(table.assign(features="rotation of celeba"), made, "toyfaces") == []
    data = dataclasses.replace(made.datasets["toyfaces"], source="toyfaces")
    assert (
        beside_published(table, dataclasses.replace(made, datasets={"toyfaces": data}), "toyfaces")
        == []
    )


def test_a_distance_that_is_not_finite_counts_for_no_seed(celeba):
    table, made = celeba
    one = (table.model == "HEBAE") & (table.weight == 0.001) & (table.latent_dim == 16)
    lost = table.assign(fid=table.fid.mask(one & (table.seed == 0)))
    rows = dict((what, (said, by)) for what, said, by in beside_published(lost, made, "toyfaces"))
    said, by = rows["HEBAE, z = 16, λ = 0.001"]
    assert "to" not in said and by == "here, 1 seed"
    lost = table.assign(fid=table.fid.mask(one))
    assert not any(
        "HEBAE, z = 16, λ = 0.001" in row[0] for row in beside_published(lost, made, "toyfaces")
    )


def test_every_published_number_is_of_images_that_we_have():
    assert {one.images for one in PUBLISHED} <= DATASETS.keys()
    assert len(set(PUBLISHED)) == len(PUBLISHED) and all(one.source for one in PUBLISHED)
