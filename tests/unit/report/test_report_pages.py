"""The report's pages and captions, without a browser (tests/report has one)."""

import html.parser
import math
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest
import yaml
from docutils.core import publish_parts
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined

from hebae.base import text
from hebae.base.errors import UserError
from hebae.base.files import write_csv, write_json
from hebae.claims import verdicts
from hebae.config.parse import parse
from hebae.report import claims_page, facts, names, origin
from hebae.report.summary import summary_sentence
from hebae.workflow import hooks

ROOT = Path(__file__).parents[3]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
CAPTIONS = ROOT / "workflow/report"
NASTY = '<b>*x*</b> & "`y`_" |z| _w_ \\n :ref:`v` .. raw:: html'


@pytest.fixture(scope="module")
def experiment():
    return parse(yaml.safe_load((ROOT / "config/demo.yaml").read_text()), SCHEMA).experiment


def claim(figure="fig1a", verdict="holds", **fields):
    return {
        "claim": "higher",
        "figure": figure,
        "dataset": "digits",
        "latent_dim": 8,
        "statement": "HEBAE is higher.",
        "measure": "elbo",
        "part": "HEBAE − VAE",
        "reading": "paper",
        "estimate": 1.5,
        "ci_low": 0.5,
        "ci_high": 2.5,
        "beside": "",
        "n_seeds": 4,
        "seeds_needed": 7 if verdict == "undecided" else None,
        "verdict": verdict,
        "note": "",
        "withdrawn": "",
    } | fields


NONE = dict.fromkeys(("estimate", "ci_low", "ci_high", "part", "dataset", "latent_dim"))
"""What a claim that was not run lacks."""


def part(figure="fig1a", measure="elbo", **fields):
    numbers = ("estimate", "ci_low", "ci_high", "effect", "p_above", "p_below", "p_holm")
    return {
        "claim": "higher",
        "figure": figure,
        "dataset": "digits",
        "latent_dim": 8,
        "measure": measure,
        "reading": "paper",
        "where": "paper, Sec. 4",
        "part": "HEBAE − VAE",
        "n_seeds": 4,
        **dict.fromkeys(numbers, 0.25),
        "test": "t",
    } | fields


def page_of(folder, experiment, claims, parts):
    """The page made of these rows."""
    write_csv(folder / "claims.csv", claims)
    write_csv(folder / "claim_parts.csv", parts)
    arguments = ("--claims", "claims.csv"), ("--parts", "claim_parts.csv"), ("--output", "p.html")
    claims_page.main(
        ["--experiment", experiment.to_json()]
        + [word for name, file in arguments for word in (name, str(folder / file))]
    )
    return (folder / "p.html").read_text()


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


# --- words and numbers


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1234.5, "1,234"),
        (-31.293, "−31.3"),
        (0.012349, "0.0123"),
        (9.999, "10.00"),
        (-1.2345e-9, "−1.23e−09"),
        (3.2e12, "3.20e+12"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "undefined"),
    ],
)
def test_a_number_has_three_digits(value, written):
    assert text.number(value) == written


def test_an_estimate_that_only_rounding_tells_from_0_is_0():
    assert text.with_interval(1.2e-15, -0.5, 0.5) == "0 (−0.500 to 0.500)"
    assert text.with_interval(1.2e-15, 0.9e-15, 1.5e-15).startswith("1.20e−15")
    assert text.with_interval(-8e-15, -8e-15, -8e-15) == "0 (0 to 0)"
    assert text.with_interval(8e-6, 8e-6, 8e-6).startswith("0.00000800 (")
    assert text.with_interval(2.0, -math.inf, math.inf) == "2.00 (−∞ to ∞)"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"),
     (3600, "1 h 00 min"), (36_000_000, "10,000 h 00 min")],
)  # fmt: skip
def test_a_duration_is_in_units_that_can_be_read(seconds, written):
    assert text.duration(seconds) == written


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1))
def test_escaped_text_is_literal_in_captions(anything):
    parts = publish_parts(
        f"before {text.escape_rst(anything)} **{text.escape_rst('x' + anything + 'x')}**",
        writer="html",
        settings_overrides={"report_level": 1, "halt_level": 1},
    )
    shown = Reader(parts["body"])
    words = f"before {anything} x{anything}x".split()
    assert "".join(shown.text.split()) == "".join(words)
    assert [tag for tag, _ in shown.tags] == ["p", "strong"]


# --- verdicts


def test_verdicts_are_read_in_their_order(tmp_path):
    rows = [
        claim(verdict="holds"),
        claim(verdict="undecided", seeds_needed=12, ci_low=None, ci_high=None, n_seeds=1),
        claim(verdict="does not hold"),
        claim(verdict="not run here", **NONE, n_seeds=0),
    ]
    write_csv(tmp_path / "claims.csv", rows)
    found = verdicts.read_findings(tmp_path / "claims.csv")
    assert [of.verdict for of in found] == [row["verdict"] for row in rows]
    assert [of.text for of in found] == [
        "holds",
        "undecided; at least 12 seeds are needed to decide",
        "does not hold",
        "not run here",
    ]
    assert {of.measured for of in found[:3]} == {"per-sample bound (nats): HEBAE − VAE, z = 8"}
    assert (found[3].measured, found[3].place) == ("per-sample bound (nats)", "")
    assert [of.value for of in found] == [
        "1.50 (0.500 to 2.50)",
        "1.50",
        "1.50 (0.500 to 2.50)",
        "",
    ]
    assert list(verdicts.counts(found).values()) == [1, 1, 1, 1, 0]
    for looks in ("sign", "style"):
        assert len({getattr(verdict, looks) for verdict in verdicts.Verdict}) == 5


def test_a_withdrawn_verdict_is_shown_as_that_and_kept(tmp_path):
    rows = [
        claim(withdrawn="for a reason"),
        claim(verdict="undecided", seeds_needed=math.inf),
        claim(verdict="not run here", **NONE, n_seeds=0, withdrawn="for a reason"),
    ]
    write_csv(tmp_path / "claims.csv", rows)
    found = verdicts.read_findings(tmp_path / "claims.csv")
    assert [of.verdict for of in found] == ["holds", "undecided", "not run here"]
    assert [of.text for of in found] == [
        "withdrawn",
        "undecided; more than 200 seeds in all would probably be needed",
        "not run here",
    ]
    assert list(verdicts.counts(found).values()) == [0, 0, 1, 1, 1]


HEAD = ",".join(verdicts.COLUMNS) + "\n"


def fields(**changed):
    """A row of claims.csv as text."""
    return ",".join(str("" if v is None else v) for v in (claim(part="p") | changed).values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("claim,figure\na,b\n", "no column 'dataset'"),
        (HEAD + "a,b", "row 2 has not as many fields"),
        (HEAD + fields(estimate="much"), "row 2: could not convert"),
        (HEAD + fields(verdict="perhaps"), "row 2: 'perhaps' is not a valid Verdict"),
        (HEAD + fields(verdict="withdrawn"), "row 2: a claim is withdrawn in a column of its own"),
        (HEAD + fields(seeds_needed=4), "row 2: seeds are needed where a claim is undecided"),
        (HEAD + fields(measure="fit"), "row 2: unknown measure 'fit'"),
        (b"\xff", "not a table"),
    ],
)
def test_what_is_no_table_of_claims_is_an_error_in_one_line(tmp_path, content, message):
    path = tmp_path / "claims.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=re.escape(message)) as error:
        verdicts.read_findings(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def finding(
    verdict="undecided", n_seeds=4, needed=5, figure="fig1a", withdrawn="", latent_dim=8, note=""
):
    """A row of claims.csv, read."""
    seeds_needed = needed if verdict == "undecided" else None
    numbers = dict.fromkeys(("estimate", "low", "high"), 1.0)
    names = dict(claim="c", statement="s", measure="elbo", part="p", reading="paper")
    return verdicts.Finding(
        **names,
        **numbers,
        figure=figure,
        dataset="digits",
        latent_dim=latent_dim,
        beside="",
        note=note,
        n_seeds=n_seeds,
        seeds_needed=seeds_needed,
        verdict=verdicts.Verdict(verdict),
        withdrawn=withdrawn,
    )


@pytest.mark.parametrize(
    ("n_seeds", "needed", "remark"),
    [
        (1, 4, "at least 4 seeds are needed to decide"),
        (3, 4, "at least 4 seeds are needed to decide"),
        (4, 5, "5 seeds in all would probably decide"),
        (4, 200, "200 seeds in all would probably decide"),
        (4, math.inf, "more than 200 seeds in all would probably be needed"),
    ],
)
def test_an_undecided_verdict_says_how_many_seeds_it_needs(n_seeds, needed, remark):
    undecided = finding(n_seeds=n_seeds, needed=needed)
    assert undecided.remark == remark
    assert undecided.text == f"undecided; {remark}"


def test_too_few_seeds_are_fewer_than_the_file_of_claims_asks_for():
    claims = yaml.safe_load((ROOT / "config/claims.yaml").read_text())
    assert claims["seeds"] == verdicts.FEWEST


HOLD, FAIL = finding("holds"), finding("does not hold", figure="fig2c")
ONE_SEED, FIVE = finding(n_seeds=1, needed=4), finding(needed=5)
NOT_RUN, WITHDRAWN = finding("not run here"), finding("holds", figure="fig3", withdrawn="wrong")


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        ([], "No claim was judged."),
        ([NOT_RUN, NOT_RUN], "No test was run here."),
        ([HOLD], "1 of 1 test holds."),
        ([HOLD, HOLD], "2 of 2 tests hold."),
        ([HOLD, FAIL], "1 of 2 tests holds and 1 does not hold."),
        ([FAIL, FAIL, FIVE], "2 of 3 tests do not hold and 1 is undecided."),
        # as many undecided as decided are not most
        ([HOLD, FAIL, FIVE, FIVE],
         "1 of 4 tests holds, 1 does not hold and 2 are undecided."),
        ([HOLD, NOT_RUN, NOT_RUN, WITHDRAWN],
         "1 of 4 tests holds; 2 were not run here and 1 is withdrawn."),
        ([NOT_RUN, WITHDRAWN], "1 of 2 tests was not run here and 1 is withdrawn."),
        ([WITHDRAWN, WITHDRAWN], "2 of 2 tests are withdrawn."),
        ([ONE_SEED],
         "1 of 1 test is undecided because it has only one seed and needs at least 4."),
        ([ONE_SEED, ONE_SEED, NOT_RUN],
         "2 of 3 tests are undecided because they have only one seed and need at least 4; "
         "1 was not run here."),
        ([FIVE, finding(needed=12), finding(needed=math.inf), HOLD],
         "3 of 4 tests are undecided because they have 4 seeds and probably need at least 5; "
         "1 holds (Figure 1a)."),
        ([finding(needed=math.inf)] * 2,
         "2 of 2 tests are undecided because they have 4 seeds and probably need more than 200."),
        ([ONE_SEED, finding(n_seeds=2, needed=4)],
         "2 of 2 tests are undecided because they have 1 or 2 seeds and need at least 4."),
        ([FIVE, ONE_SEED, FIVE, FIVE, HOLD, FAIL, HOLD, WITHDRAWN, NOT_RUN],
         "4 of 9 tests are undecided because they have too few seeds: 1 has only one seed and "
         "needs at least 4, and 3 have 4 seeds and probably need at least 5; 2 hold and 1 does "
         "not hold (Figure 1a and Figure 2c); 1 was not run here and 1 is withdrawn."),
        ([FIVE, FIVE, finding("holds", figure="fig9")],
         "2 of 3 tests are undecided because they have 4 seeds and probably need at least 5; "
         "1 holds (fig9)."),
        ([HOLD] * 1200, "1,200 of 1,200 tests hold."),
    ],
)  # fmt: skip
def test_the_answer_is_one_sentence(findings, sentence):
    assert summary_sentence(findings) == sentence


@pytest.mark.parametrize(
    ("by_dimension", "text"),
    [
        ({8: "holds", 10: "holds", 16: "holds"}, "✓ holds"),
        ({8: "does not hold"}, "✗ does not hold"),
        (
            {8: "does not hold", 10: "does not hold", 16: "holds"},
            "✓ holds at z = 16, ✗ not at 8 and 10",
        ),
        (
            {2: "undecided", 4: "does not hold", 8: "undecided"},
            "✗ does not hold at z = 4, ? undecided at 2 and 8",
        ),
        ({None: "not run here"}, "–"),
    ],
)
def test_a_verdict_says_at_which_latent_dimensions(by_dimension, text):
    findings = [finding(verdict, latent_dim=z) for z, verdict in by_dimension.items()]
    assert verdicts.across(findings) == text


# --- the page of claims


def test_the_page_of_claims_has_every_verdict_with_a_sign_and_words(tmp_path, experiment):
    claims = [
        claim(measure="elbo"),
        claim(measure="elbo", latent_dim=16, beside="N(0, I) itself: 0.100", note="but for seed 3"),
        claim(measure="mic", verdict="does not hold", claim="other", statement="WAE is lower.",
              reading="fair"),
        claim("fig2a", measure="tic", verdict="undecided", seeds_needed=5),
        claim("fig2a", measure="reconstruction", claim="third", withdrawn="wrong by accident"),
        claim("fig9", verdict="not run here", **NONE, n_seeds=0, note="no such figure"),
    ]  # fmt: skip
    parts = [
        part(),
        part(part="second part"),
        part(latent_dim=16),
        part(measure="mic", claim="other", reading="fair"),
        part("fig2a", measure="tic", p_holm=None),
        part("fig2a", measure="reconstruction", claim="third"),
    ]
    page = page_of(tmp_path, experiment, claims, parts)
    reader = Reader(page)
    shown = [tag["data-verdict"] for _, tag in reader.tags if "data-verdict" in tag]
    assert shown == [
        "holds", "holds", "does not hold", "undecided", "withdrawn", "not run here",
    ]  # fmt: skip
    counts = [tag["data-count"] for _, tag in reader.tags if "data-count" in tag]
    assert counts == list(verdicts.Verdict)
    words = " ".join(reader.text.split())
    for said in (
        "3 claims in 6 tests", "✓ holds", "✗ does not hold",
        "2 of 6 tests hold, 1 does not hold and 1 is undecided; 1 was not run here and 1 is "
        "withdrawn.", "? undecided5 seeds in all would probably decide",
        "✓ holdsbut for seed 3", "N(0, I) itself: 0.100",
        "⊘ withdrawn", "Withdrawn: wrong by accident", "– not run here",
        "no such figure", "Figure 1a the bound", "Digits 8×8", "fig9",
        "not drawn in this experiment", "2 parts, p = 0.250 (Holm)", "1 partpart",
        "second part", "WAE is lower.",
    ):  # fmt: skip
        assert said in words, said


def test_the_page_of_claims_takes_text_for_text_and_fetches_nothing(tmp_path, experiment):
    page = page_of(
        tmp_path,
        experiment,
        [
            claim(
                statement=NASTY, part=NASTY, claim=NASTY, withdrawn=NASTY, note=NASTY, beside=NASTY
            )
        ],
        [part(claim=NASTY, part=NASTY, where=NASTY, test=NASTY)],
    )
    reader = Reader(page)
    assert reader.text.count(NASTY) == 8
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"b", "script", "link", "img", "iframe", "a"}
    attributes = {name for _, of_tag in reader.tags for name in of_tag}
    assert not attributes & {"href", "src", "onclick", "onload"}
    policy = [tag for _, tag in reader.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"].startswith("default-src 'none'")


def test_tables_of_two_judgings_are_an_error(tmp_path, experiment):
    for parts in ([part(dataset="x")], [part(), part(latent_dim=2)], [part(measure="mic")]):
        with pytest.raises(UserError, match=r"claims\.csv and claim_parts\.csv differ"):
            page_of(tmp_path, experiment, [claim()], parts)


# --- captions and the first page


def rendered(caption, **snakemake):
    """A template as Snakemake renders it, but that what is not there is an error."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    source = environment.from_string((CAPTIONS / caption).read_text())
    return publish_parts(
        source.render(**snakemake),
        writer="html",
        settings_overrides={"report_level": 1, "halt_level": 1},
    )["html_body"]


def told(experiment, folder, claims=(), captions=None):
    """What captions see as ``snakemake``."""
    results, figures = folder / "results", folder / "figures"
    for number, data in enumerate(experiment.datasets.values()):
        path = results / "data" / data.name / "dataset.json"
        write_json(path, {"n_train": 1000 + number, "n_test": 10 + number})
    for figure, caption in (captions or {}).items():
        write_json(figures / f"{figure}.json", {"caption": caption})
    write_csv(results / "tables/claims.csv", claims or [claim("none")])
    return {"config": {"report": facts.report_facts(experiment, results, figures)}}


def test_the_caption_of_a_figure_is_taken_literally_and_verdicts_follow(tmp_path, experiment):
    claims = [
        claim("fig2a", "undecided", statement=NASTY),
        claim("fig2a", "holds", statement="WAE is lower.", withdrawn="a mistake, " + NASTY),
        claim("other"),
    ]
    captions = {"fig2a": f"First {NASTY}.\n\n* Second, {{word}}.", "fig1a": "Of another figure."}
    snakemake = told(experiment, tmp_path, claims, captions) | {"rule": "fig2a"}
    shown = " ".join(Reader(rendered("figure.rst", snakemake=snakemake)).text.split())
    assert shown.startswith(f"First {NASTY}. * Second, {{word}}. 2 tests: ")
    assert "2 tests: ? undecided: 1, ⊘ withdrawn: 1." in shown
    measured = "per-sample bound (nats): HEBAE − VAE, z = 8: 1.50 (0.500 to 2.50), 4 seeds"
    assert f"{NASTY} ? undecided · {measured} · 7 seeds in all would probably decide" in shown
    assert shown.endswith(f"WAE is lower. Withdrawn: a mistake, {NASTY}. ⊘ withdrawn · {measured}")
    assert "another" not in shown and "HEBAE is higher" not in shown


@pytest.mark.parametrize("content", [None, "{}", '{"caption": ""}'])
def test_a_figure_without_a_caption_has_its_verdicts(tmp_path, experiment, content):
    snakemake = told(experiment, tmp_path) | {"rule": "fig2a"}
    if content is not None:
        (tmp_path / "fig2a.json").write_text(content)
    assert facts.caption_text(tmp_path / "fig2a.json") == ""
    shown = Reader(rendered("figure.rst", snakemake=snakemake)).text
    assert shown.strip() == "No claim is tested on this figure."


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"caption": ', "not JSON"),
        ("[]", "not the JSON of a figure"),
        ("5", "not the JSON of a figure"),
        ('{"caption": null}', "the caption is not a text"),
        ('{"caption": 5}', "the caption is not a text"),
    ],
)
def test_a_damaged_file_of_a_figure_is_an_error_in_one_line(tmp_path, content, says):
    (tmp_path / "fig2a.json").write_text(content)
    with pytest.raises(UserError, match=rf"fig2a\.json: {says}; delete it"):
        facts.caption_text(tmp_path / "fig2a.json")


@pytest.mark.parametrize("caption", ["claims.rst", "claim_parts.rst"])
def test_pages_have_captions(tmp_path, experiment, caption):
    assert rendered(caption, snakemake=told(experiment, tmp_path, [claim()]))


def test_the_first_page_has_claims_data_runs_and_origin(tmp_path, experiment):
    columns = ("python", "torch", "numpy", "device", "precision")
    run = dict.fromkeys(columns, "1.2") | {"training_seconds": 1800}
    write_csv(
        tmp_path / "results/tables/runs.csv",
        [
            *(run | {"commit": commit, "commit_note": ""} for commit in ("a" * 40, "b" * 40)),
            run | {"commit": "a" * 40, "commit_note": ""},
            run | {"commit": "c" * 40 + "-dirty", "commit_note": "with changes"},
            run | {"commit": "", "commit_note": "git is not installed here"},
        ],
    )
    snakemake = told(experiment, tmp_path, [claim(), claim("fig2a", "does not hold")])
    page = rendered("workflow.rst", snakemake=snakemake, categories=[])
    shown = " ".join(Reader(page).text.split())
    for said in (
        "HEBAE, redrawn: demo 1 of 2 tests holds and 1 does not hold. This report",
        "Digits 8×8 (1,000 training and 10 test images): VAE, HEBAE, HEBAE (diagonal) and WAE-MMD",
        "6 seeds (0, 1, 2, 3, 4 and 5)",
        "5, with 2 h 30 min of training in total",
        f"{'a' * 40} (2); {'b' * 40} (1); {'c' * 40} with changes that are not committed (1); "
        "unknown: git is not installed here (1)",
        "Python 1.2, torch 1.2 and numpy 1.2",
        "requirements.lock",
        "snakemake 9.",
    ):
        assert said in shown, said
    assert "kept as found" not in shown


def test_the_first_page_takes_a_long_name(tmp_path):
    document = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    document["experiment"] = name = "a_-" * 40
    snakemake = told(parse(document, SCHEMA).experiment, tmp_path)
    assert f"HEBAE, redrawn: {name}" in rendered("workflow.rst", snakemake=snakemake, categories=[])


def test_the_first_page_says_which_runs_were_kept(tmp_path, experiment):
    columns = ("commit", "python", "torch", "numpy", "device", "precision", "training_seconds")
    run = dict.fromkeys(columns, "1")
    reasons = ("training.epochs 2 there, 3 here", "", "training.epochs 2 there, 3 here", "code")
    write_csv(tmp_path / "results/tables/runs.csv", [run | {"kept": kept} for kept in reasons])
    page = rendered("workflow.rst", snakemake=told(experiment, tmp_path), categories=[])
    shown = " ".join(Reader(page).text.split())
    assert (
        "kept as found 3 runs that the config would train otherwise: "
        "training.epochs 2 there, 3 here (2); code (1)"
    ) in shown


def test_a_report_of_half_an_experiment_is_one(tmp_path, experiment):
    report = facts.report_facts(experiment, tmp_path, tmp_path)
    assert report.claims == r"No claim was judged\."
    assert "\n     - none" in report.trained_with
    assert "1,297 training" in report.datasets.replace("\\", "")


def test_the_lock_and_the_processor_are_those_of_this_machine(tmp_path):
    made = origin.made_with()
    done = subprocess.run(["sha256sum", ROOT / "requirements.lock"], capture_output=True, text=True)
    assert done.stdout.split()[0] in made["requirements.lock"]
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: A Processor @ 1 GHz\nmodel name\t: another\n")
    assert origin.processor(cpuinfo) == "A Processor @ 1 GHz"
    assert origin.processor(tmp_path / "none")


# --- where things are in the report


def test_claims_are_the_first_category_and_categories_are_numbered(experiment):
    found = names.categories(experiment)
    assert list(found.values()) == sorted(found.values())
    assert found[names.CLAIMS] == "1. Claims"
    document = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    document["figures"] = {"fig2a": "digits"}
    found = names.categories(parse(document, SCHEMA).experiment)
    assert list(found.values()) == ["1. Claims", "2. Figures of the paper"]


def toggles(labels):
    """Labels of which Snakemake's report makes a switch (abstract_results.js)."""
    switches = set()
    for name in list(labels[0])[1:]:
        values = [of_result[name] for of_result in labels]
        if len(set(values)) == 2 and all(2 * values.count(v) == len(values) for v in values):
            switches.add(name)
    return switches if len(switches) == 1 else set()


@pytest.mark.parametrize("datasets", [["digits"], ["digits", "toyfaces"]])
def test_labels_are_never_a_switch(datasets):
    """With a switch the report fails where a result lacks one of its ends, as figures do."""
    document = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    shown = ("fig2a", "fig2b", "fig2c", "appendix_c")
    for number in range(1, 5):
        for places in product(datasets, repeat=number):
            document["figures"] = dict(zip(shown, places, strict=False))
            drawn = parse(document, SCHEMA).experiment
            labels = [names.placed(drawn, figure)["labels"] for figure in drawn.figures]
            assert toggles(labels) == set()


def test_what_a_report_needs_is_prepared_before_it():
    calls = []

    class Workflow:
        def create_report(self, **settings):
            calls.append(settings)

    create = hooks.reporting(Workflow(), calls.append)
    create(report_plugin=1, report_settings="settings", global_report_settings=2)
    assert calls == [
        "settings",
        {"report_plugin": 1, "report_settings": "settings", "global_report_settings": 2},
    ]
