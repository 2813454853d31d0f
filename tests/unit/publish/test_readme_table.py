"""The table of verdicts with which README opens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from hebae.base.errors import UserError
from hebae.claims.measures import MEASURES
from hebae.claims.read import read_claims
from hebae.claims.verdicts import COLUMNS
from hebae.publish import readme_table

ROOT = Path(__file__).resolve().parents[3]
CLAIMS = read_claims(ROOT / "config/claims.yaml", ROOT / "workflow/schemas/claims.schema.yaml")


def published(folder: Path, *rows: tuple) -> Path:
    """An experiment that has these verdicts."""
    (folder / "tables").mkdir(parents=True)
    shutil.copy(ROOT / "config/demo.yaml", folder / "config.yaml")
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "tables/claims.csv", index=False)
    return folder


def row(
    claim: str, measure: str, part: str, *numbers: float | None, verdict: str, needed="", why=""
) -> tuple:
    estimate, low, high = numbers or (None, None, None)
    reading, seeds = MEASURES[measure].reading, 3 if numbers else 0
    what = (claim, "fig1a", "s", measure, part, reading)
    return *what, estimate, low, high, seeds, needed, verdict, why


def test_a_row_a_claim_and_measure_a_column_an_experiment(tmp_path):
    one = published(
        tmp_path / "one",
        row("bound-above-vae", "elbo_paper", "HEBAE − VAE, z = 8", 1.5, 1.25, 1.75,
            verdict="holds"),
        row("bound-above-vae", "elbo", "", verdict="not run here"),
        row("mic-order", "mic", "", verdict="not run here"),
    )  # fmt: skip
    other = published(
        tmp_path / "other",
        row("bound-above-vae", "elbo", "HEBAE − VAE, z = 2", -80.0, -81.0, -79.0,
            verdict="does not hold"),
        row("bound-above-vae", "elbo_paper", "HEBAE − VAE, z = 2", 3.0, float("nan"), float("nan"),
            verdict="undecided", needed=3),
    )  # fmt: skip
    lines = readme_table.by_measure(CLAIMS, readme_table.read_published([one, other])).splitlines()
    assert lines[0].count("; 3 seeds |") == 2
    assert len(lines) == 4  # of claims that neither has run there is none
    paper, fair = (re.split(r" ?\| ?", line)[1:-1] for line in lines[2:])
    assert paper[0].startswith("HEBAE reaches a higher bound") and fair[0] == ""
    assert paper[2] == "✓ holds<br><sub>HEBAE − VAE, z = 8: 1.50 (1.25 to 1.75)</sub>"
    assert paper[3] == "? undecided (more seeds needed: 3)<br><sub>HEBAE − VAE, z = 2: 3.00</sub>"
    assert fair[1].endswith("*(fair)*") and fair[2] == "–"
    assert fair[3] == "✗ does not hold<br><sub>HEBAE − VAE, z = 2: −80.0 (−81.0 to −79.0)</sub>"


def test_in_short_a_row_a_claim_and_its_verdicts_by_both_readings(tmp_path):
    numbers = (1.5, 1.25, 1.75)
    one = published(
        tmp_path / "one",
        row("bound-above-vae", "elbo_paper", "z = 8", *numbers, verdict="holds"),
        row("bound-above-vae", "elbo", "z = 8", *numbers, verdict="does not hold"),
        row("bound-above-vae", "importance_weighted", "z = 8", *numbers, verdict="does not hold"),
        row("bound-above-vae", "importance_weighted_widened", "z = 8", *numbers,
            verdict="undecided", needed=4),
        row("mic-order", "mic", "", verdict="not run here"),
        row("tic-order", "tic", "z = 8", *numbers, verdict="holds", why="for a reason"),
    )  # fmt: skip
    lines = readme_table.by_claim(CLAIMS, readme_table.read_published([one])).splitlines()
    assert len(lines) == 2 + sum(claim.in_a_paper for claim in CLAIMS.claims)
    cells = {line.split(" | ")[0]: line.split(" | ")[1].removesuffix(" |") for line in lines[2:]}
    statements = {
        claim.id: f"| {claim.statement} <sub>{claim.where}</sub>" for claim in CLAIMS.claims
    }
    assert cells[statements["bound-above-vae"]] == (
        "✓ holds<br>*fair:* ✗ does not hold (2 of 3), ? undecided (1 of 3)"
    )
    assert cells[statements["mic-order"]] == "–"
    (withdrawn,) = (claim for claim in CLAIMS.claims if claim.id == "tic-order")
    said = f"{statements['tic-order']}<br>*Withdrawn: {withdrawn.withdrawn}.*"
    assert cells[said] == "⊘ withdrawn"
    table = readme_table.by_measure(CLAIMS, readme_table.read_published([one]))
    assert "| average TIC | ⊘ withdrawn<br><sub>z = 8: 1.50 (1.25 to 1.75)</sub> |" in table


def test_the_tables_replace_those_before_and_keep_their_order(tmp_path):
    path = tmp_path / "README.md"
    named = "| [b](docs/results/b/) | [a](docs/results/a/) |"
    path.write_text(f"above\n{readme_table.BEGIN}\n{named}\n{readme_table.END}\nbelow\n")
    assert readme_table.experiments_in(path) == ["b", "a"]
    readme_table.replace_tables(path, r"new \1")
    assert (
        path.read_text() == f"above\n{readme_table.BEGIN}\n\nnew \\1\n\n{readme_table.END}\nbelow\n"
    )
    path.write_text("no place")
    with pytest.raises(UserError, match="no place for the tables"):
        readme_table.replace_tables(path, "new")


def test_experiments_are_those_that_the_file_has_unless_named(tmp_path):
    for name in "ab":
        published(tmp_path / name, row("mic-order", "mic", "z = 8", 0.5, 0.4, 0.6, verdict="holds"))
    path = tmp_path / "README.md"
    path.write_text(f"{readme_table.BEGIN}\n{readme_table.END}")
    command = ["--published", str(tmp_path), "--into", str(path)]
    readme_table.main(command)
    assert readme_table.experiments_in(path) == ["a", "b"]  # all
    readme_table.main(["b", *command])
    readme_table.main(command)
    assert readme_table.experiments_in(path) == ["b"]


def test_readme_says_what_is_published():
    """Not by hand, and not of results that have been replaced since."""
    names = readme_table.experiments_in(ROOT / "README.md")
    assert names
    text = readme_table.verdict_tables(CLAIMS, [ROOT / "docs/results" / name for name in names])
    assert readme_table.around_tables(ROOT / "README.md")[1] == f"\n\n{text}\n\n"


def test_readmes_reasons_quote_the_tables():
    """No number in them that the tables do not have."""
    _, tables, behind = readme_table.around_tables(ROOT / "README.md")
    number = re.compile(r"−?\d[\d,]*\.\d+")
    quoted = set(number.findall(behind.partition("\n## ")[0]))
    there = {text.lstrip("−") for text in number.findall(tables)}
    assert quoted and {text.lstrip("−") for text in quoted} <= there
