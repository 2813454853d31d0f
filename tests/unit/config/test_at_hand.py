"""Which features `auto` stands for."""

from __future__ import annotations

import pytest

from hebae.config.at_hand import AUTO, features_at_hand
from hebae.config.registry import FEATURES
from hebae.measures.fid.features import inception


@pytest.mark.parametrize("place", ["inception", "."])
def test_auto_is_inception_where_its_weights_are(tmp_path, place):
    assert features_at_hand(AUTO, tmp_path) == "rotation"
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    (folder / inception.NAME).write_bytes(b"")  # what is wrong with it is said by its step
    assert features_at_hand(AUTO, tmp_path) == "inception"


def test_a_name_stands_for_itself(tmp_path):
    (tmp_path / inception.NAME).write_bytes(b"")
    assert [features_at_hand(name, tmp_path) for name in FEATURES] == list(FEATURES)
