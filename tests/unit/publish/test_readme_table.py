"""The tables of verdicts in README and in docs/results."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hebae.base.errors import UserError
from hebae.base.text import number
from hebae.claims.measures import MEASURES
from hebae.claims.read import read_claims
from hebae.claims.verdicts import COLUMNS, read_findings
from hebae.publish import readme_table

ROOT = Path(__file__).resolve().parents[3]
CLAIMS = read_claims(ROOT / "config/claims.yaml", ROOT / "workflow/schemas/claims.schema.yaml")
README, RESULTS = ROOT / "README.md", ROOT / "docs/results/README.md"
INFOVAE = ROOT / "docs/infovae.md"
NUMBER = re.compile(r"−?\d[\d,]*\.\d+")
VALUES = ["estimate", "ci_low", "ci_high"]


def published(folder: Path, *rows: tuple) -> Path:
    """An experiment that has these verdicts."""
    (folder / "tables").mkdir(parents=True)
    shutil.copy(ROOT / "config/demo.yaml", folder / "config.yaml")
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "tables/claims.csv", index=False)
    return folder


def row(
    claim: str,
    measure: str,
    part: str,
    *numbers: float | None,
    verdict: str,
    needed="",
    why="",
    latent_dim=8,
) -> tuple:
    """A row of claims.csv; one without numbers is of a claim that was not run."""
    estimate, low, high = numbers or (None, None, None)
    reading, seeds = MEASURES[measure].reading, 4 if numbers else 0
    place = ("digits", latent_dim) if numbers else ("", "")
    what = (claim, "fig1a", *place, "s", measure, part, reading)
    return *what, estimate, low, high, "", seeds, needed, verdict, "", why


def place(name: str, *lines: str) -> str:
    begin = f"<!-- {name}: python -m hebae.publish.readme_table --into README.md -->"
    return "\n".join((begin, *lines, "<!-- end -->"))


def cells(line: str) -> list[str]:
    return re.split(r" ?\| ?", line)[1:-1]


def test_a_row_a_claim_and_measure_a_column_an_experiment(tmp_path):
    one = published(
        tmp_path / "one",
        row("bound-above-vae", "elbo_paper", "HEBAE − VAE", 1.5, 1.25, 1.75,
            verdict="holds"),
        row("bound-above-vae", "elbo", "", verdict="not run here"),
        row("mic-order", "mic", "", verdict="not run here"),
    )  # fmt: skip
    other = published(
        tmp_path / "other",
        row("bound-above-vae", "elbo", "HEBAE − VAE", -80.0, -81.0, -79.0,
            verdict="does not hold", latent_dim=2),
        row("bound-above-vae", "elbo_paper", "HEBAE − VAE", 3.0, float("nan"), float("nan"),
            verdict="undecided", needed=5, latent_dim=2),
        row("tic-order", "tic", "p", 0.5, 0.4, 0.6, verdict="holds", why="ties"),
    )  # fmt: skip
    of = readme_table.read_published([one, other])
    table, reason = readme_table.by_measure(CLAIMS, of, tmp_path / "README.md").split("\n\n")
    lines = table.splitlines()
    assert lines[0].count(", 4 seeds |") == 2 and "](one/README.md)" in lines[0]
    assert len(lines) == 5  # of claims that neither has run there is none
    paper, fair, tic = map(cells, lines[2:])
    assert paper[0].startswith("HEBAE reaches a higher bound") and fair[0] == ""
    assert paper[2] == "✓ holds<br><sub>HEBAE − VAE, z = 8: 1.50 (1.25 to 1.75)</sub>"
    needs = read_findings(other / "tables/claims.csv")[1].remark
    assert paper[3] == f"? undecided<br><sub>HEBAE − VAE, z = 2: 3.00; {needs}</sub>"
    assert fair[1].endswith("*(fair)*") and fair[2] == "–"
    assert fair[3] == "✗ does not hold<br><sub>HEBAE − VAE, z = 2: −80.0 (−81.0 to −79.0)</sub>"
    assert tic[3] == "⊘ withdrawn<br><sub>p, z = 8: 0.500 (0.400 to 0.600)</sub>"
    assert reason == "⊘ Withdrawn: ties."


def test_infovaes_claims_have_a_table_of_their_own(tmp_path):
    """Columns are headed by what they show: four seeds of InfoVAE's claim are not the others'."""
    numbers = (1.5, 1.25, 1.75)
    shown = row("mic-order", "mic", "p", *numbers, verdict="holds", why="ties")
    info = row("mmd-best", "prior_mmd", "q", *numbers, verdict="holds", latent_dim=2)
    more = list(info)
    more[COLUMNS.index("n_seeds")] = 7
    one = published(tmp_path / "one", shown, tuple(more))
    of = readme_table.read_published([one])
    others, on_infovae = (
        table(CLAIMS, of, tmp_path / "README.md").splitlines()
        for table in (readme_table.by_measure, readme_table.on_infovae)
    )
    assert "z = 8, 4 seeds" in others[0] and "z = 2, 7 seeds" in on_infovae[0]
    assert len(others) == 5 and others[2].startswith("| MIC is") and "ties" in others[4]
    assert len(on_infovae) == 3 and on_infovae[2].startswith("| Of InfoVAE's three")


def test_in_short_a_row_a_claim_of_the_paper_and_words_alone(tmp_path):
    numbers = (1.5, 1.25, 1.75)
    one = published(
        tmp_path / "one",
        row("bound-above-vae", "elbo_paper", "z = 8", *numbers, verdict="holds"),
        row("bound-above-vae", "elbo", "z = 8", *numbers, verdict="does not hold"),
        row("bound-above-vae", "importance_weighted", "z = 8", *numbers, verdict="does not hold"),
        row("bound-above-vae", "importance_weighted_widened", "z = 8", *numbers,
            verdict="undecided", needed=4),
        row("bound-insensitive", "elbo_paper_spread", "z = 8", *numbers, verdict="holds"),
        row("bound-insensitive", "elbo_spread", "z = 8", *numbers, verdict="holds"),
        row("vae-over-regularises", "elbo_lost", "z = 8", *numbers, verdict="holds"),
        row("mic-order", "mic", "", verdict="not run here"),
        row("tic-order", "tic", "p", *numbers, verdict="holds", why="for a reason"),
    )  # fmt: skip
    other = published(
        tmp_path / "other",
        row("mic-order", "mic", "p", *numbers, verdict="holds"),
        row("mic-order", "mic", "p", *numbers, verdict="does not hold", latent_dim=2),
        row("noise-small", "noise_deviation", "", verdict="not run here"),
        row("mmd-best", "prior_mmd", "z = 8", *numbers, verdict="holds"),
    )
    of = readme_table.read_published([one, other])
    lines = readme_table.by_claim(CLAIMS, of, tmp_path / "README.md").splitlines()
    ids = {claim.statement: claim.id for claim in CLAIMS.claims}
    found = {ids[claim]: verdicts for claim, *verdicts in map(cells, lines[2:])}
    said = {name: of_one for name, (of_one, _) in found.items()}
    assert said["bound-above-vae"] == (
        "✓ holds, *fair:* ✗ does not hold (2 of 3), ? undecided (1 of 3)"
    )
    assert said["bound-insensitive"] == "✓ holds"  # by both readings, said once
    assert said["vae-over-regularises"] == "*fair:* ✓ holds"
    assert (
        found["mic-order"] == ["–", "✓ holds at z = 8, ✗ not at 2"]
        and said["tic-order"] == "⊘ withdrawn"
    )
    run = {"bound-above-vae", "bound-insensitive", "vae-over-regularises", "mic-order", "tic-order"}
    assert said.keys() == run  # of the paper, and run somewhere
    assert not NUMBER.search("".join(lines))


def test_a_head_names_the_latent_dimensions_that_were_judged_if_others_were_not(tmp_path):
    row_at = functools.partial(
        row, "bound-above-vae", "elbo", "p", 1.5, 1.25, 1.75, verdict="holds"
    )
    every = yaml.safe_load((ROOT / "config/demo.yaml").read_text())["datasets"]["digits"][
        "latent_dims"
    ]
    for name, dims, said in (
        ("all", every, "4 seeds"),
        ("one", every[:1], f"z = {every[0]}, 4 seeds"),
        ("none", [], "0 seeds"),
    ):
        folder = published(tmp_path / name, *(row_at(latent_dim=dim) for dim in dims))
        of = readme_table.read_published([folder])
        head = readme_table.by_measure(CLAIMS, of, tmp_path / "README.md").partition("\n")[0]
        assert head.endswith(f"/README.md), {said} |") and head.count("z = ") == said.count("z = ")


def test_a_cell_says_where_it_was_judged_if_another_was_judged_elsewhere_too(tmp_path):
    numbers = (1.5, 1.25, 1.75)
    folder = published(
        tmp_path / "one",
        row("bound-above-vae", "elbo_paper", "p", *numbers, verdict="holds", latent_dim=2),
        row("bound-above-vae", "elbo_paper", "p", *numbers, verdict="holds", latent_dim=8),
        row("mic-order", "mic", "p", *numbers, verdict="does not hold", latent_dim=8),
    )
    of = readme_table.read_published([folder])
    lines = readme_table.by_claim(CLAIMS, of, tmp_path / "README.md").splitlines()
    cells = {line.split(" | ")[0]: line.split(" | ")[1] for line in lines}
    said = {claim.id: cells.get(f"| {claim.statement}", "") for claim in CLAIMS.claims}
    assert said["bound-above-vae"].removesuffix(" |") == "✓ holds"
    assert said["mic-order"].removesuffix(" |") == "✗ does not hold at z = 8"


def test_names_are_taken_literally(tmp_path):
    numbers = (1.5, 1.25, 1.75)
    one = published(
        tmp_path / "one",
        row("mic-order", "mic", "a | b <i>", *numbers, verdict="holds"),
        row("mic-order", "mic", "a | b <i>", *numbers, verdict="holds", latent_dim=2),
    )
    title = "a | b](evil/README.md) <img src=x>"
    config = yaml.safe_load((one / "config.yaml").read_text())
    for dataset in config["datasets"].values():
        dataset["title"] = title
    (one / "config.yaml").write_text(yaml.safe_dump(config))
    of = readme_table.read_published([one])
    for table in (readme_table.by_claim, readme_table.by_measure):
        text = table(CLAIMS, of, tmp_path / "README.md")
        assert readme_table.experiments_in(text) == ["one"]
        assert r"| [a \| b\](evil/README.md) \<img src=x>](one/README.md), 4 seeds |" in text
    assert r"<sub>a \| b \<i>, z = 8: 1.50" in text


def test_the_tables_replace_those_before_and_keep_their_order(tmp_path):
    for name in "abc":
        published(tmp_path / name, row("mic-order", "mic", "z = 8", 0.5, 0.4, 0.6, verdict="holds"))
    document = tmp_path / "docs/README.md"
    document.parent.mkdir()
    head = "| claim | [B](../b/README.md), 4 seeds | [A](../a/README.md), 4 seeds |"
    first, second = place("verdicts", "", head, ""), place("verdicts by measure")
    document.write_text(f"above\n{first}\nbetween\n{second}\nbelow\n")

    def heads() -> list[list[str]]:
        lines = document.read_text().splitlines()
        return [readme_table.experiments_in(line) for line in lines if line.startswith("| claim")]

    command = ["--published", str(tmp_path), "--into", str(document)]
    readme_table.main(command)
    assert heads() == [["b", "a"], ["a", "b", "c"]]  # as it has them, or all
    text = document.read_text()
    assert re.match(r"above\n<!-- verdicts: .*between\n<!-- verdicts by .*below\n", text, re.DOTALL)
    assert "](../b/README.md)" in text
    readme_table.main(command)
    assert document.read_text() == text
    readme_table.main(["c", *command])
    assert heads() == [["c"], ["c"]]


def test_a_document_without_a_place_is_refused(tmp_path):
    document = tmp_path / "README.md"
    for text in ("no place", place("another table"), place("verdicts").partition("\n")[0]):
        document.write_text(text)
        with pytest.raises(UserError, match="has no place for a table"):
            readme_table.filled(document, [], tmp_path)


@pytest.mark.parametrize(
    ("document", "table"),
    [
        (README, "verdicts"),
        (RESULTS, "verdicts by measure"),
        (INFOVAE, "verdicts on InfoVAE"),
    ],
)
def test_the_documents_say_what_is_published(document, table):
    """Not by hand, and not of results that have been replaced since."""
    text = document.read_text()
    assert [found[1] for found in readme_table.PLACE.findall(text)] == [table]
    assert text == readme_table.filled(document, [], ROOT / "docs/results")


@pytest.mark.parametrize(
    ("document", "begin", "end", "quotes"),
    [(RESULTS, "## Why\n", "\n## ", True), (README, "## What held\n", "<!-- verdicts", False)],
)
def test_reasons_quote_the_tables(document, begin, end, quotes):
    """No number in them that neither the table nor the parts of its claims have."""
    ((_, _, table, _),) = readme_table.PLACE.findall(RESULTS.read_text())
    reasons = document.read_text().partition(begin)[2].partition(end)[0]
    quoted = {text.lstrip("−") for text in NUMBER.findall(reasons)}
    assert reasons and bool(quoted) == quotes
    known = {*NUMBER.findall(table), *_parts_of(table)}
    assert quoted <= {text.lstrip("−") for text in known}


@pytest.mark.parametrize("section", ["Why", "Noise or divergence", "Corrections"])
def test_an_interval_stands_behind_its_own_estimate(section):
    """An estimate and the interval after it are of one part, on either side of 0."""
    text = RESULTS.read_text()
    ((_, _, table, _),) = readme_table.PLACE.findall(text)
    reasons = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    quoted = []
    for found in re.finditer(r"\(([^ ()]+) to ([^ ,()]+)", reasons):
        estimate = NUMBER.findall(reasons[: found.start()])[-1]
        quoted.append(tuple(end.lstrip("−") for end in (estimate, *found.groups())))
    known = set()
    for part in _all_parts_of(table)[VALUES].itertuples(index=False):
        estimate, *ends = (number(abs(value)) for value in part)
        known |= {(estimate, *ends), (estimate, *reversed(ends))}
    assert set(quoted) <= known
    assert quoted or section == "Noise or divergence"


def _all_parts_of(table: str) -> pd.DataFrame:
    """All parts of the claims of a table's experiments."""
    return pd.concat(
        pd.read_csv(RESULTS.parent / name / "tables/claim_parts.csv")
        for name in readme_table.experiments_in(table)
    )


def _parts_of(table: str, where: str = "") -> set[str]:
    """The numbers of all parts of a table's experiments, of the claims made there."""
    parts = _all_parts_of(table)
    return set(parts[parts["where"].str.startswith(where)][VALUES].stack().map(number))


def test_what_is_said_of_bfloat16_quotes_its_table():
    said = set(NUMBER.findall(RESULTS.read_text().partition("## bfloat16")[2]))
    parts = pd.read_csv(ROOT / "docs/results/mnist-precision/tables/claim_parts.csv")
    parts = parts[parts["claim"] == "bfloat16-is-float32"]
    numbers = parts[VALUES].stack().map(number)
    assert said and said <= {*numbers, *NUMBER.findall(" ".join(parts["part"]))}


def test_what_is_said_of_infovae_is_printed_beside_it():
    """By the command of the page, or in the table of verdicts and the parts of its claims."""
    page = INFOVAE.read_text().partition("## What came out\n")[2]
    ((_, _, verdicts, _),) = readme_table.PLACE.findall(page)
    (command,) = re.findall(r"```\n(python .*?)```", page, re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={**os.environ, "PATH": path}, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip

    one = r"(-?\d*\.\d+)"
    mean = rf"{one} \({one}, {one}\)"  # with the lowest and the highest

    def numbers(text: str) -> set[float]:
        return {float(found) for found in re.findall(one, text)}

    def means(text: str) -> set[tuple[float, ...]]:
        return {tuple(map(float, found)) for found in re.findall(mean, text)}

    text = page.replace(verdicts, "").replace(command, "").replace("−", "-")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert len(means(rows)) > 50 and means(rows) <= means(printed)
    assert not numbers(re.sub(mean, "", rows))
    known = numbers(" ".join((printed, verdicts, *_parts_of(verdicts, "info"))))
    given = {0.001, 0.01}  # the variances of pixels
    said = {abs(number) for number in numbers(text)}  # "1.77 nats below"
    assert said - given <= {abs(number) for number in known}
