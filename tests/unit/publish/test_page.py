"""The page that each published experiment has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from hebae.claims.verdicts import Verdict, read_findings
from hebae.config.registry import FIGURES
from hebae.publish import results
from hebae.publish.page import PAGE, escaped, page_of

PUBLISHED = Path(__file__).resolve().parents[3] / "docs/results"
NAMES = results.all_published(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_files_beside_it_say(name):
    folder = PUBLISHED / name
    assert not results.stale_page(results.read_experiment(folder / "config.yaml"), folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_figure_and_every_verdict(name):
    page = (PUBLISHED / name / PAGE).read_text()
    figures = {path.stem for path in (PUBLISHED / name / "figures").glob("*.png")}
    assert set(re.findall(r"^!\[.+\]\(figures/(\w+)\.png\)$", page, re.MULTILINE)) == figures
    findings = read_findings(PUBLISHED / name / "tables/claims.csv")
    judged = [one for one in findings if one.verdict is not Verdict.NOT_RUN]
    rows = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(judged)
    for row, finding in zip(rows, judged, strict=True):
        assert f"| {finding.shown.sign} {finding.text} | " in row and finding.value in row
    for finding in findings:
        assert (escaped(finding.statement) in page) == any(
            one.claim == finding.claim for one in judged
        )


@pytest.fixture
def celeba(tmp_path) -> Path:
    """An experiment of which a figure may not be published."""
    return shutil.copytree(PUBLISHED / "celeba-cpu", tmp_path / "celeba-cpu")


def page(folder: Path) -> str:
    return page_of(results.read_experiment(folder / "config.yaml"), folder)


def test_a_figure_has_its_title_and_its_caption(celeba):
    path = celeba / "figures/fig2b.json"
    record = json.loads(path.read_text())
    record["caption"] = "Means μ_1 of *all*\nimages. VAE < 0.3."
    path.write_text(json.dumps(record))
    title = f"{FIGURES['fig2b'].title}: {FIGURES['fig2b'].shows}"
    said = r"Means μ\_1 of \*all\* images. VAE < 0.3."
    assert f"### {title}\n\n![{title}](figures/fig2b.png)\n\n{said}\n\n*CelebA. " in page(celeba)


def test_a_figure_that_is_left_out_is_named_with_the_reason(celeba):
    assert "Figure 3 is not here: its images may not be handed on." in page(celeba)
    (celeba / "figures/fig2d.png").unlink()
    assert "Figure 2d is not here: some of its runs are not published." in page(celeba)


def test_a_config_without_a_comment_has_a_page_too(celeba):
    config = celeba / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    assert "```\nsnakemake --cores 2 --configfile config/celeba-cpu.yaml" in page(celeba)
    config.write_text("".join(line for line in lines if not line.startswith("#")))
    assert "```" not in page(celeba) and "# celeba-cpu\n\nSeeds: 0, 1 and 2 (CelebA)." in page(
        celeba
    )


def test_verifying_needs_a_readable_table(celeba):
    claims = celeba / "tables/claims.csv"
    claims.write_text(claims.read_text().replace("undecided", "holds"))
    (line,) = results.stale_page(results.read_experiment(celeba / "config.yaml"), celeba)
    assert f"{celeba / PAGE}: cannot be made" in line


def test_pages_are_written_for_what_is_published(celeba):
    (celeba / PAGE).unlink()
    results.main(["--published", str(celeba.parent), "pages"])
    assert (celeba / PAGE).read_text() == page(celeba)
