"""Where results are, the next command, and the plan that a person reads."""

from types import SimpleNamespace

import pytest

from hebae.claims.verdicts import COLUMNS
from hebae.workflow import closing
from hebae.workflow.estimate import TAKEN, Estimate, Kind, Work
from hebae.workflow.forecast import plan_lines, trainings
from hebae.workflow.jobs import Job, by_stage, job_of

TABLES = [f"results/tiny/tables/{name}.csv" for name in ("fid", "runs", "covariance")]
DEMO = "config/demo.yaml"


def test_many_figures_and_tables_are_counted():
    files = [
        f"figures/tiny/{name}.{kind}" for name in ("fig1a", "fig2a") for kind in ("pdf", "png")
    ]
    claims = "results/tiny/tables/claims.csv"  # which is not there
    assert closing.where([*files, *TABLES, claims], "tiny") == [
        "  figures   2 in figures/tiny/ (pdf and png)",
        "  tables    4 in results/tiny/tables/",
    ]


def test_one_figure_and_other_files_are_named():
    files = [f"figures/tiny/fig1a.{kind}" for kind in ("pdf", "png", "json")]
    runs = [f"results/tiny/runs/{number}/run.json" for number in range(5)]
    assert closing.where([*files, TABLES[0], *runs], "tiny") == [
        "  figures   figures/tiny/fig1a.pdf, figures/tiny/fig1a.png",
        f"  tables    {TABLES[0]}",
        *(f"  file      {path}" for path in runs[:3]),
        "            and 2 more",
    ]


def test_verdicts_are_counted(tmp_path):
    row = dict.fromkeys(COLUMNS, "") | {"measure": "elbo_paper", "n_seeds": "3"}
    rows = [{"verdict": "holds"}, {"verdict": "holds"}, {"verdict": "not run here"}]
    rows += [{"verdict": "undecided", "seeds_needed": "4"}, {"verdict": "holds", "withdrawn": "x"}]
    lines = [",".join((row | other)[column] for column in COLUMNS) for other in rows]
    path = tmp_path / "claims.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]), encoding="utf-8")
    (line,) = closing.verdicts(path)
    assert line == ("  claims    5 verdicts: holds 2, undecided 1, not run here 1, withdrawn 1")
    assert closing.verdicts(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("files", "arguments", "by_make", "command"),
    [
        ([DEMO], [], True, "make report    # report-tiny.html"),
        (["config/mnist.yaml"], [], True, "make report CONFIG=config/mnist.yaml    # report-tiny"),
        (["my tiny.yaml"], [], True, "make report CONFIG='my tiny.yaml'    # report-tiny.html"),
        ([DEMO, "more.yaml"], [], True, "snakemake pages"),
        ([DEMO], ["pack=16"], True, "snakemake pages"),
        ([DEMO], [], False, "snakemake pages"),
    ],
)
def test_the_next_command(tmp_path, monkeypatch, files, arguments, by_make, command):
    monkeypatch.chdir(tmp_path)
    absolute = [str(tmp_path / file) for file in files]
    said = closing.next_command("tiny", absolute, arguments, DEMO, by_make)
    assert said.startswith(command) and "report-tiny.html" in said


def snakemakes(rule: str, stage: str, benchmark: str | None, command: str | None = "python"):
    """A job as Snakemake has it."""
    of_rule = SimpleNamespace(name=rule, snakefile=f"/x/{stage}.smk", shellcmd=command)
    return SimpleNamespace(rule=of_rule, benchmark=benchmark, wildcards_dict={"dataset": "digits"})


def test_jobs_are_of_the_stage_whose_file_has_their_rule():
    folder = "results/tiny/benchmarks"
    train = snakemakes("train", "train", f"{folder}/digits/VAE/z3/w1/s0/train.tsv")
    assert job_of(train, 7, 40) == (7, "train", "train", Work(Kind("digits", "train"), 40))
    assert job_of(train, 7, 40, taken=True).work == Work(Kind("digits", TAKEN))
    # what the sizes of others would be is unknown
    encode = snakemakes("encode_both", "encode", f"{folder}/digits/VAE/z3/w1/s0/encode.tsv")
    assert job_of(encode, 8, 40) == (8, "encode_both", "encode", Work(Kind("digits", "encode")))
    assert job_of(snakemakes("all", "Snakefile", None, None), 0) is None
    assert job_of(snakemakes("mine", "other", None), 1).stage == "other"


def test_stages_stand_in_the_order_of_the_data_s_way():
    jobs = [
        Job(n, "r", stage, Work(Kind("x", "y")))
        for n, stage in enumerate(["figures", "new", "train"])
    ]
    assert list(by_stage(jobs)) == ["train", "figures", "new"]


def test_a_plan_says_what_is_to_be_done_and_how_long_it_may_take():
    def jobs(stage: str, kind: Kind, number: int, size: float = 1) -> list[Job]:
        return [Job(0, "r", stage, Work(kind, size))] * number

    train = jobs("train", Kind("digits", "train"), 4, 10)
    tables = jobs("tables", Kind("tables", "fid"), 2)
    there = jobs("prepare", Kind("digits", "prepare"), 1)
    known = Estimate({Kind("digits", "train"): 6, Kind("tables", "fid"): 1})
    lines = plan_lines("tiny", "tiny.yaml", train + tables, there, ["Said."], known, 2)
    assert lines == [
        "Plan of tiny (tiny.yaml)",
        "",
        "             to do   kept   time",
        "  prepare        –      1",
        "  train          4      –   about 4 min",
        "  tables         2      –   a few seconds",
        "",
        "Said.",
        "6 jobs; about 2 min with 2 cores, judging from earlier runs.",
    ]
    last = plan_lines("tiny", "tiny.yaml", train, [], [], Estimate(), 2)[-1]
    assert last == "4 jobs; no estimate, because no such jobs have run here yet."
    some = Estimate({Kind("tables", "fid"): 30})
    last = plan_lines("tiny", "tiny.yaml", train + tables, [], [], some, None)[-1]
    assert "about 60 s with one job at a time for 2 of them, judging from earlier runs." in last
    assert "Nothing to be done" in plan_lines("tiny", "tiny.yaml", [], there, [], known, 2)[-1]


def test_a_plan_says_what_is_trained_and_why():
    todo = [Job(n, "train", "train", Work(Kind("digits", "train"))) for n in range(3)]
    todo.append(Job(3, "train", "train", Work(Kind("digits", TAKEN))))
    assert trainings(todo, []) == ["3 trainings to run, not finished yet."]
    assert trainings(todo, ["epochs was 2, is now 3", ""]) == [
        "1 training to run, not finished yet.",
        "2 finished trainings to be trained again, because of replace=True "
        "(epochs was 2, is now 3).",
    ]
    assert trainings(todo[3:], []) == []
