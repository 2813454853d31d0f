"""Claims that are judged again on another processor."""

import pytest

from hebae.publish.results import _same_rows

ROWS = [{"claim": "a", "estimate": "0.0049296514013875605", "verdict": "holds"}]


@pytest.mark.parametrize(
    ("field", "value", "alike"),
    [
        ("estimate", "0.004929651401387561", True),  # the last digit
        ("estimate", "0.0049296515", False),
        ("estimate", "", False),
        ("estimate", "nan", False),
        ("verdict", "undecided", False),
        ("claim", "b", False),
        ("more", "1", False),
    ],
)
def test_only_the_last_digits_may_differ(field, value, alike):
    assert _same_rows(ROWS, [ROWS[0] | {field: value}]) == alike
    assert _same_rows(ROWS, ROWS) and not _same_rows(ROWS, []) and not _same_rows(ROWS, ROWS * 2)
