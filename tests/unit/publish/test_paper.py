"""The paper of the reproduction: its numbers, verdicts and commands are those of docs/results."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from hebae.base.errors import UserError
from hebae.base.text import number
from hebae.config.registry import FIGURES
from hebae.publish import paper, pdf
from hebae.publish.paper_facts import NBSP, PaperFacts
from hebae.publish.results import checkout_claims, read_experiment

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED, TEMPLATE, PAGE = (ROOT / path for path in ("docs/results", paper.TEMPLATE, paper.OUTPUT))
BOUND = "digits", "bound-above-vae", "elbo_paper"


def facts(published: Path = PUBLISHED) -> PaperFacts:
    return PaperFacts(published, checkout_claims())


@pytest.fixture
def published(tmp_path) -> Path:
    """The digits and MNIST, to be changed."""
    for name in ("digits", "mnist-cpu"):
        for path in (
            "config.yaml",
            *(f"tables/{t}.csv" for t in ("claims", "claim_parts", "runs")),
        ):
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PUBLISHED / name / path, tmp_path / name / path)
        shutil.copytree(PUBLISHED / name / "figures", tmp_path / name / "figures")
    return tmp_path


def change(published: Path, experiment: str, where: str, **columns: object) -> None:
    """Change columns of the rows of claims.csv for which an expression is true."""
    path = published / experiment / "tables/claims.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = table.query(where).index
    assert len(rows)
    for column, value in columns.items():
        table.loc[rows, column] = value
    table.to_csv(path, index=False)


def template(folder: Path, text: str) -> Path:
    path = folder / "template.md"
    path.write_text(f"# Title\n{text}\n")
    return path


def test_the_page_is_what_the_results_say():
    """After new results: python -m hebae.publish.paper, or write the sentences anew."""
    assert paper.rendered(TEMPLATE, PUBLISHED) == PAGE.read_text()


def test_every_command_draws_a_figure_of_its_config():
    commands = re.findall(
        r"`snakemake figures/(\S+)/(\S+)\.pdf --cores 2 --configfile (\S+)`", PAGE.read_text()
    )
    shown = re.findall(r"^!\[.*\]\(results/(\S+)/figures/(\S+)\.png\)$", PAGE.read_text(), re.M)
    assert shown == [(experiment, figure) for experiment, figure, _ in commands]
    assert len(shown) >= 3
    for name, figure, config in commands:
        experiment = read_experiment(ROOT / config)
        assert experiment.name == name and figure in experiment.figures
        assert experiment == read_experiment(PUBLISHED / name / "config.yaml")


def test_a_value_is_that_of_the_tables():
    row = pd.read_csv(PUBLISHED / "digits/tables/claims.csv").query(
        "claim == 'bound-above-vae' and measure == 'elbo' and latent_dim == 8"
    )
    low, value, high = (number(row[name].item()) for name in ("ci_low", "estimate", "ci_high"))
    measure = "digits", "bound-above-vae", "elbo", 8
    assert facts().value(*measure) == f"{value} ({low} to {high})"
    assert value.startswith("−")
    other = f"{value} ({high} to {low})".replace("−", "")
    assert facts().value(*measure, minus=True) == other
    (part,) = [
        row
        for row in csv.DictReader((PUBLISHED / "digits/tables/claim_parts.csv").open())
        if row["claim"] == "identities-hold" and row["part"] == "VAE < 0.1"
        if row["latent_dim"] == "8"
    ]
    of_part = facts().value("digits", "identities-hold", "identity_residual", 8, "VAE < 0.1")
    assert of_part.startswith(number(float(part["estimate"])))
    # of several parts another one may decide tomorrow
    with pytest.raises(UserError, match="3 estimates of identities-hold"):
        facts().value("digits", "identities-hold", "identity_residual", 8)


def test_a_span_is_from_the_lowest_to_the_highest_of_its_parts():
    given = "digits", "fid-best", "fid_best", 8
    parts = "WAE / HEBAE", "VAE / HEBAE"
    low, high = (facts().value(*given, part).partition(" ")[0] for part in parts)
    assert facts().span(*given, *parts) == facts().span(*given, *parts[::-1]) == f"{low} to {high}"
    assert facts().span(*given, *parts, minus=True) == f"−{high} to −{low}"


def test_short_trainings_are_counted_apart_from_the_runs():
    tables = [pd.read_csv(path) for path in PUBLISHED.glob("*/tables/stability.csv")]
    assert facts().short_trainings() == f"{sum(map(len, tables)):,}" != "0"


def test_what_was_run_is_that_of_the_tables():
    runs = {
        path.parts[-3]: pd.read_csv(path) for path in sorted(PUBLISHED.glob("*/tables/runs.csv"))
    }
    hours = {
        name: (of["training_seconds"] * of["threads"]).sum() / 3600 for name, of in runs.items()
    }
    rows = [line.split("|")[1:-1] for line in facts().costs().splitlines()[2:]]
    found = [tuple(re.sub(r"\[(.*)\].*", r"\1", cell.strip()) for cell in row) for row in rows]
    expected = [(name, f"{len(runs[name])}", number(hours[name])) for name in runs]
    assert found == [
        *expected,
        ("all", f"{sum(map(len, runs.values())):,}", number(sum(hours.values()))),
    ]
    assert facts().seeds("stability") == 4
    assert facts().training_images("mnist-cpu") == "60,000"
    assert (
        facts().epochs("released-check") == "10 to 20" and facts().epochs("digits") == "20 to 500"
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            'value("digits", "bound-above-me", "elbo", 8)',
            "nothing about 'bound-above-me' by 'elbo'",
        ),
        (
            'value("digits", "bound-above-vae", "mic", 8)',
            "nothing about 'bound-above-vae' by 'mic'",
        ),
        ('value("digits", "bound-above-vae", "elbo", 3)', "0 estimates of bound-above-vae"),
        ('value("digits", "bound-above-vae", "elbo", 8, "WAE")', "at z = 8: WAE"),
        ('value("letters", "bound-above-vae", "elbo", 8)', "no experiment 'letters'"),
        ('ref("noise-free-hebae")', "is no claim of the paper"),
        ('given("digits", "bound-above-me", "elbo", "holds")', "nothing about 'bound-above-me'"),
        ("valeu(8)", "'valeu' is undefined"),
        ("seeds()", "missing 1 required positional argument"),
        ("seeds(", "template.md: line 2: "),
    ],
)
def test_what_is_not_there_is_said_in_a_line(tmp_path, call, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        paper.rendered(template(tmp_path, "{{ " + call + " }}"), PUBLISHED)
    assert "\n" not in str(error.value)


def test_words_of_its_own_rest_on_a_verdict(published):
    assert facts(published).given(*BOUND, "holds") == ""
    change(
        published, "digits", "claim == 'bound-above-vae' and latent_dim == '4'", verdict="undecided"
    )
    assert facts(published).given(*BOUND, "holds", 2, 8) == ""
    for dims in ((), (4,), (2, 4), (16,)):
        with pytest.raises(
            UserError, match=r"bound-above-vae holds by elbo_paper .* write its sen"
        ):
            facts(published).given(*BOUND, "holds", *dims)
    with pytest.raises(UserError, match="has: no verdict"):
        facts(published).given("mnist-cpu", "identities-hold", "identity_residual", "holds")


def test_verdicts_that_are_exchanged_are_exchanged_in_words(published):
    before = facts(published)
    holds, fails = (
        before.claims_with(word, "digits", "paper") for word in ("holds", "does not hold")
    )
    assert "C1" in holds and "C8" in fails
    table = before.claims_table("digits", "mnist-cpu").splitlines()
    change(published, "digits", "verdict == 'holds'", verdict="exchanged")
    change(published, "digits", "verdict == 'does not hold'", verdict="holds")
    change(published, "digits", "verdict == 'exchanged'", verdict="does not hold")
    after = facts(published)
    assert after.claims_with("holds", "digits", "paper") == fails
    assert after.claims_with("does not hold", "digits", "paper") == holds
    assert f"holds: {fails}; " in after.outcome("digits", "paper")
    again = after.claims_table("digits", "mnist-cpu").splitlines()
    for row, other in zip(table[2:], again[2:], strict=True):
        sign, swapped = (line.split(" | ")[2] for line in (row, other))
        assert sorted(swapped.replace("✓", "✗")) == sorted(sign.replace("✓", "✗"))
        assert (swapped == sign) == (not set(sign) & set("✓✗"))


def test_a_claim_whose_tests_differ_holds_in_part(published):
    said = f"✓ at z{NBSP}={NBSP}8, ✗ at 2 and 4"
    assert f"| {said} |" in facts(published).claims_table("digits").splitlines()[13]
    assert "C12" in facts(published).claims_with("holds in part", "digits", "paper")
    change(
        published, "digits", "claim == 'vae-collapses' and latent_dim == '8'", verdict="undecided"
    )
    assert "C12" not in facts(published).claims_with("holds in part", "digits", "paper")
    assert "C12" in facts(published).claims_with("does not hold in part", "digits", "paper")
    with pytest.raises(UserError, match="'hold' is no verdict"):
        facts(published).claims_with("hold", "digits", "paper")
    change(published, "digits", "claim == 'vae-collapses'", verdict="undecided")
    assert "C12" in facts(published).claims_with("undecided", "digits", "paper")
    assert said not in facts(published).claims_table("digits")


def test_an_experiment_may_be_run_in_part(published):
    where = "claim == 'bound-above-vae'"
    change(published, "mnist-cpu", where, verdict="not run here", dataset="", latent_dim="",
           estimate="", ci_low="", ci_high="", n_seeds="0", seeds_needed="")  # fmt: skip
    found = facts(published)
    assert "C1" in found.claims_with("not run here", "mnist-cpu", "paper")
    first = found.claims_table("mnist-cpu", "digits").splitlines()[2]
    assert first.split(" | ")[2] == "–" and "HEBAE − VAE, z = 8" in first  # the digits' effect


def test_a_column_names_the_latent_dimensions_that_were_judged_so_far(published):
    heads = [
        facts(published).claims_table(name).partition("\n")[0] for name in ("digits", "mnist-cpu")
    ]
    assert "z = " not in "".join(heads)
    # two of three seeds of the others are there
    change(published, "mnist-cpu", "latent_dim != '10'", n_seeds="2", note="waits for 2 of 6 runs")
    head = facts(published).claims_table("digits", "mnist-cpu").partition("\n")[0]
    assert "Digits 8×8, 10 seeds | MNIST, z = 10, 3 seeds" in head


def test_why_a_test_is_undecided(published):
    change(published, "digits", "verdict == 'undecided'", verdict="holds", seeds_needed="")
    assert facts(published).why_undecided("digits") == ""
    change(published, "digits", "claim == 'mic-order'", verdict="undecided", n_seeds="3")
    said = "3 undecided tests had fewer than the 4 seeds that can decide."
    assert facts(published).why_undecided("digits") == said
    change(published, "digits", "claim == 'fid-best'", verdict="undecided")
    assert (
        facts(published).why_undecided("digits")
        == f"{said} The seeds do not settle 1 undecided test."
    )


def test_a_figure_has_its_number_its_caption_and_its_command(published):
    found = facts(published)
    assert found.figure_ref("ablation") == "Figure 1"
    figure = found.figure("fig1a", "digits", caller=lambda: "\n  Ours.\n")
    image, said = figure.split("\n\n")
    assert (
        image
        == f"![Figure 1a of the paper: {FIGURES['fig1a'].shows}](results/digits/figures/fig1a.png)"
    )
    assert said.startswith("**Figure 2. Figure 1a of the paper: the bound")
    assert " against the weight λ in training. Ours. Rerun:\\\n`" in said
    command = "snakemake figures/digits/fig1a.pdf --cores 2 --configfile {}"
    assert said.endswith(f"`{command.format('config/digits.yaml')}`\n")
    # what was published is not what the config says now
    config = published / "digits/config.yaml"
    config.write_text(config.read_text().replace("epochs: 100,", "epochs: 99,"))
    said = facts(published).figure("fig1a", "digits", caller=str)
    assert f"`{command.format('docs/results/digits/config.yaml')}`" in said


def test_a_figure_is_of_the_first_experiment_that_has_it(published):
    both = "fair_bounds", "mnist-cpu", "digits"
    assert "results/mnist-cpu/figures" in facts(published).figure(*both, caller=str)
    (published / "mnist-cpu/figures/fair_bounds.png").unlink()
    assert "results/digits/figures" in facts(published).figure(*both, caller=str)
    with pytest.raises(UserError, match="no figure 'fair_bounds' of mnist-cpu"):
        facts(published).figure(*both[:2], caller=str)


@pytest.mark.parametrize(
    ("prose", "typed"),
    [
        ("HEBAE is 24.9 nats above.", ["24.9"]),
        ("A loss of −1,234.5 nats", ["1,234.5"]),
        ("of ten seeds, at z = 8 and 25.1 nats", ["ten", "25.1"]),
        ("by 5 %, as Eq. 9 says", ["5"]),
        ("{% call figure('fig1a') %}It has 7 runs.{% endcall %}", ["7"]),
        ("[12 nats](page.md#of-12)", ["12"]),
        ("In 2020 it rose by 2016.", ["2020", "2016."]),
        ("{{ value(8) }} at z = 2, 4 and 8, λ = 0.1, by Eqs. 5 and 8 to 11, Sec. 3, Fig. 1a", []),
        (
            "Theorem 1 (Cheng et al. 2020; Hoffman & Johnson 2016), p = N(0, I), bfloat16, "
            "`--cores 2`, [x](results/1.md)",
            [],
        ),
        ("<!-- 3 -->{# 4 #}{% set z = 8 %}95 % intervals of two models", []),
        ("nothing\n\n## References\n\n* pages 1 to 9", []),
    ],
)
def test_a_number_typed_by_hand_is_found(tmp_path, prose, typed):
    path = template(tmp_path, prose)
    assert paper.typed_numbers(path.read_text()) == typed
    if typed:
        with pytest.raises(UserError, match=f"typed: {re.escape(', '.join(typed))}"):
            paper.rendered(path, PUBLISHED)


def test_check_compares_and_writes_nothing(tmp_path):
    output = tmp_path / "page.md"
    of = ["--template", str(template(tmp_path, "{{ n_claims() }}")), "--output", str(output)]
    of += ["--published", str(PUBLISHED)]
    with pytest.raises(UserError, match=r"page\.md: not what .* says"):
        paper.main([*of, "--check"])
    assert not output.exists()
    paper.main(of)
    claims = [claim for claim in checkout_claims().claims if claim.where.startswith("paper")]
    assert output.read_text() == f"# Title\n\n{paper.NOTE}{len(claims)}\n"
    paper.main([*of, "--check"])
    output.write_text("another")
    with pytest.raises(UserError, match=r"page\.md: not what .* says"):
        paper.main([*of, "--check"])
    assert output.read_text() == "another"


def test_without_pandoc_the_target_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    with pytest.raises(UserError, match="not in this environment: make paper"):
        pdf.typst_of(PAGE, ROOT / pdf.LOOK)


def test_a_pdf_has_its_title_table_and_images(tmp_path):
    """With what ``make paper`` installs."""
    pytest.importorskip("pypandoc")
    pytest.importorskip("typst")
    page = tmp_path / "page.md"
    page.write_text("# A title\n\nText.\n\n| a | b |\n|:----|:--|\n| " + "x " * 50 + "| y |\n")
    text = pdf.typst_of(page, ROOT / pdf.LOOK)
    assert "[A title]" in text and "columns: (62.5%, 37.5%)" in text
    assert pdf.pdf_of(text, tmp_path).startswith(b"%PDF")
    page.write_text("# A title\n\n![an image](missing.png)\n")
    with pytest.raises(UserError, match=r"Typst: .*missing\.png"):
        pdf.pdf_of(pdf.typst_of(page, ROOT / pdf.LOOK), tmp_path)


def test_the_report_has_the_four_pages_that_readme_says():
    """With what ``make paper`` installs."""
    pytest.importorskip("pypandoc")
    typst = pytest.importorskip("typst")
    text = pdf.typst_of(ROOT / paper.OUTPUT, ROOT / pdf.LOOK).encode()
    pages = typst.compile(text, root=str(ROOT / "docs"), ignore_system_fonts=True, format="svg")
    assert "in four pages" in " ".join((ROOT / "README.md").read_text().split())
    assert len(pages) == 4
