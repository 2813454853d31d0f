"""Rows of tables that are published again."""

from hebae.base.files import csv_text
from hebae.publish.results import _alike


def test_rows_of_earlier_versions_have_fewer_columns():
    for rows in (
        [{"run": "a"}, {"run": "b", "commit_note": "none"}],
        [{"run": "b", "commit_note": "none"}, {"run": "a"}],
    ):
        alike = _alike(rows)
        assert all(list(row) == ["run", "commit_note"] for row in alike)
        assert csv_text(alike).splitlines()[0] == "run,commit_note"
        assert "a," in csv_text(alike)
