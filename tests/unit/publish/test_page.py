"""The page that each published experiment has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from hebae.base.errors import UserError
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
    assert "```" not in page(celeba)
    assert re.search(r"# celeba-cpu\n\nSeeds: [\w, ]+ \(CelebA\)\.", page(celeba))


def test_results_in_parts_say_how_many_runs_there_are(tmp_path):
    whole = shutil.copytree(PUBLISHED / "released-check", tmp_path / "released-check")
    assert "so far" not in page(whole)
    runs = whole / "tables/runs.csv"
    rows = runs.read_text().splitlines(keepends=True)
    runs.write_text("".join(rows[:-2]))
    said = f"{len(rows) - 3} of {len(rows) - 1} runs are published so far. Here"
    assert re.search(rf"^Seeds: .+\. {said}", page(whole), re.MULTILINE)


def test_verifying_needs_a_readable_table(celeba):
    claims = celeba / "tables/claims.csv"
    claims.write_text(claims.read_text().replace("undecided", "holds"))
    (line,) = results.stale_page(results.read_experiment(celeba / "config.yaml"), celeba)
    assert f"{celeba / PAGE}: cannot be made" in line


def test_verifying_lists_every_fault(celeba):
    """One that cannot be read hides no other."""
    figures, tables = celeba / "figures", celeba / "tables"
    n_figures = len(list(figures.glob("*.png")))

    def listed(*said: str) -> None:
        wrong, drawn = results.verify(celeba)
        assert drawn == n_figures and not [line for line in wrong if "\n" in line]
        for line in said:
            assert f"{celeba}/{line}" in wrong

    shutil.copy(figures / "fig2b.png", figures / "foo.png")
    shutil.copy(figures / "fig2b.png", figures / "fig1a.png")  # a figure, but not of this one
    (figures / "fig2b.json").unlink()
    (figures / "fig2d.json").write_text("[]")
    (tables / "claims.csv").unlink()
    (tables / "claim_parts.csv").write_text("verdict\n")
    claims = f"cannot be compared: cannot read {tables}/claims.csv: No such file or directory"
    listed(
        "tables/claims.csv: missing",
        f"tables/claims.csv: {claims}",
        f"README.md: cannot be made: cannot read {tables}/claims.csv: No such file or directory",
        f"tables/claim_parts.csv: cannot be compared: {tables}/claim_parts.csv: no column "
        "'claim'; delete the file, and it is made again",
        "figures/foo.png: not a figure of this experiment",
        "figures/fig1a.png: not a figure of this experiment",
        "figures/fig2b.json: missing",
        "figures/fig2b.json: No such file or directory",
        "figures/fig2d.json: not the JSON of a figure",
    )

    record = json.loads((PUBLISHED / celeba.name / "figures/fig2b.json").read_text())
    (figures / "fig2b.json").write_text(json.dumps(record | {"caption": 5}))
    (figures / "fig2b.png").write_bytes(b"no image")
    (figures / "fig2d.json").write_text("{")
    (tables / "runs.csv").write_bytes(b"\xff")
    (tables / "covariance.csv.gz").write_bytes(b"\x1f\x8b")
    listed(
        "figures/fig2b.json: the caption is not a text",
        "figures/fig2d.json: not JSON",
        "tables/runs.csv: changed since it was published",
        "tables/covariance.csv.gz: Compressed file ended before the end-of-stream marker was "
        "reached",
    )
    (celeba / "config.yaml").unlink()
    wrong, _ = results.verify(celeba)
    assert f"{celeba}/config.yaml: missing" in wrong
    assert f"{celeba}/figures/foo.png: not in {results.SUMS}" in wrong


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("[]", "not the JSON of a figure"),
        ('{"caption": 5}', "the caption is not a text"),
    ],
)
def test_a_page_needs_readable_figures(celeba, content, says):
    path = celeba / "figures/fig2b.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"fig2b\.json: {says}"):
        page(celeba)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        *(("# a", r"\# a"), ("> b", r"\> b"), ("+ c", r"\+ c"), ("- d", r"\- d"), ("-", r"\-")),
        *(("1. e", r"1\. e"), ("12) f", r"12\) f"), ("1.", r"1\."), ("1.5 nats", "1.5 nats")),
        *(("~~~", r"\~\~\~"), ("~~g~~", r"\~\~g\~\~"), ("z ~ N", "z ~ N"), ("```", r"\`\`\`")),
        *(("&amp; &#65;", r"\&amp; \&#65;"), ("a & b", "a & b"), ("h\n# - 1.", "h # - 1.")),
        *(("<i> < 3", r"\<i> < 3"), ("a | b](c)", r"a \| b\](c)")),
    ],
)
def test_markdown_takes_escaped_text_literally(text, written):
    assert escaped(text) == written


def test_pages_are_written_for_what_is_published(celeba):
    (celeba / PAGE).unlink()
    results.main(["--published", str(celeba.parent), "pages"])
    assert (celeba / PAGE).read_text() == page(celeba)
