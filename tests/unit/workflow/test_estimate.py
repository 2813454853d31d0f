"""How long jobs may take, from others of their kind."""

import json
from pathlib import Path, PurePath

import pytest

from hebae.workflow.estimate import (
    TAKEN,
    Estimate,
    Forecast,
    Kind,
    Work,
    kind_of,
    read_earlier,
    roughly,
)
from hebae.workflow.jobs import Job
from hebae.workflow.run_progress import RunProgress

TRAIN, BOUNDS = Kind("digits", "train"), Kind("digits", "bounds")


def note(path: Path, seconds: float | str) -> None:
    """As Snakemake notes what a job took."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t-\n", encoding="utf-8")


def record(path: Path, seconds: float, epochs: int, wall: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"training_seconds": seconds, "wall_seconds": wall}
    content["run"] = {"training": {"epochs": epochs}}
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_job_is_of_its_dataset_and_step():
    folder = PurePath("results/tiny/benchmarks")
    assert kind_of(folder / "digits/VAE/z3/w1/s0/train.tsv") == TRAIN
    assert kind_of(folder / "digits/prepare.tsv") == Kind("digits", "prepare")
    assert kind_of(folder / "tables/fid.tsv") == Kind("tables", "fid")


def test_jobs_of_this_run_count_before_earlier_ones():
    estimate = Estimate({BOUNDS: 10})
    assert estimate.expected(Work(BOUNDS)) == 10
    estimate.ended(Work(BOUNDS), 1)  # the first that end are the fastest
    assert estimate.expected(Work(BOUNDS)) == 10
    for seconds in (2, 3):
        estimate.ended(Work(BOUNDS), seconds)
    assert estimate.expected(Work(BOUNDS)) == 2
    unseen = Estimate()
    unseen.ended(Work(BOUNDS), 4)
    assert unseen.expected(Work(BOUNDS)) == 4


def test_a_training_is_counted_by_its_epochs():
    estimate = Estimate({TRAIN: 2.0})
    assert estimate.expected(Work(TRAIN, 50)) == 100
    estimate = Estimate()
    estimate.ended(Work(TRAIN, 10), 30)
    assert estimate.expected(Work(TRAIN, 20)) == 60


def test_of_runs_trained_together_one_takes_the_time_of_all():
    estimate = Estimate()
    for seconds in (79, 1, 1, 1, 1, 1, 1, 1):
        estimate.ended(Work(TRAIN, 10), seconds)
    left = estimate.left([Work(TRAIN, 10)] * 8, [], parallel=1)
    assert left == pytest.approx(86)


def test_a_training_that_is_taken_from_the_store_is_of_another_kind():
    estimate = Estimate({TRAIN: 100.0})
    taken = Work(Kind("digits", TAKEN))
    assert estimate.expected(taken) < 5
    for _ in range(5):
        estimate.ended(taken, 1)
    assert estimate.expected(Work(TRAIN, 2)) == 200


def test_steps_of_seconds_stand_for_each_other_and_trainings_do_not():
    estimate = Estimate({Kind("tables", "fid"): 2, Kind("tables", "runs"): 4, TRAIN: 1000})
    assert estimate.expected(Work(Kind("tables", "claims"))) == 3
    assert estimate.expected(Work(Kind("figures", "fig1a"))) is None
    assert estimate.expected(Work(Kind("faces", "train"), 2)) is None
    works = [Work(TRAIN, 2), Work(BOUNDS), Work(Kind("tables", "fid"))]
    assert estimate.forecast(works) == Forecast(2002, 1)


def test_time_left_is_that_of_what_waits_and_runs_by_how_many_run_at_once():
    estimate = Estimate({BOUNDS: 10})
    assert estimate.left([Work(BOUNDS)] * 4, [], parallel=2) == 20
    assert estimate.left([Work(BOUNDS)] * 4, [(Work(BOUNDS), 4)], parallel=2) == 23
    # the longest alone, however many could run
    assert estimate.left([], [(Work(BOUNDS), 2)], parallel=8) == 8
    # it takes longer than expected, and is not about to end for that
    assert estimate.left([], [(Work(BOUNDS), 100)], parallel=1) == 10
    assert estimate.left([], [], parallel=2) == 0


def test_nothing_is_said_rather_than_nonsense():
    estimate = Estimate({BOUNDS: 1})
    other = Work(Kind("digits", "encode"))
    assert Estimate().left([Work(BOUNDS)], [], 2) is None
    assert estimate.left([Work(BOUNDS), other], [], 1) == 2  # as the others on average
    assert estimate.left([Work(BOUNDS), other, other], [], 1) is None
    # the same step of another dataset in this run
    estimate.ended(Work(Kind("faces", "encode")), 5)
    assert estimate.left([Work(BOUNDS), other, other], [], 1) == 11
    assert estimate.expected(other) is None
    # hours, maybe, among many that take a second
    assert estimate.left([Work(BOUNDS)] * 100 + [Work(Kind("celeba", "train"), 5)], [], 1) is None


def test_what_is_known_is_a_least_time_where_some_trainings_are_unknown():
    faces = Kind("faces", "train")
    jobs = [Job(n, "train", "train", Work(TRAIN if n < 20 else faces, 1)) for n in range(30)]
    now = [0.0]
    progress = RunProgress(jobs, Estimate({TRAIN: 60}), cores=2, clock=lambda: now[0])
    assert progress.left() is None
    assert progress.time_left() == "more than 10 min left"  # 20 of a minute, two at once
    progress.begin(0, "training")
    now[0] = 30
    assert progress.estimate.least_left(*progress._left(), 2) == (19 * 60 + 30) / 2
    unknown = RunProgress(jobs[20:], Estimate(), cores=2)
    assert unknown.time_left() == ""


def test_what_ran_before_is_read(tmp_path):
    results = tmp_path / "results"
    run = "digits/VAE/z3/w1/s0"
    note(results / "here/benchmarks/tables/runs.tsv", 3)
    note(results / "here/benchmarks/digits/prepare.tsv", 5)
    note(results / "there/benchmarks/digits/prepare.tsv", 500)  # only where there is none here
    note(results / f"there/benchmarks/{run}/bounds.tsv", 7)
    # taken from the store in a second: what it took to train is in its record
    note(results / f"there/benchmarks/{run}/train.tsv", 1)
    record(results / f"there/runs/{run}/run.json", seconds=90, epochs=10, wall=100)
    for name, content in enumerate(["", "s\n", "s\nNA\n", "s\n-\n", "x\n1\n"]):
        path = results / f"here/benchmarks/digits/{name}.tsv"
        path.write_text(content, encoding="utf-8")
    note(results / "here/benchmarks/digits/nan.tsv", "nan")
    note(results / "here/benchmarks/digits/VAE/z3/w1/s1/train.tsv", 1)  # its run is gone
    assert read_earlier(results, "here") == {
        Kind("tables", "runs"): 3,
        Kind("digits", "prepare"): 5,
        BOUNDS: 7,
        TRAIN: 10,
    }
    assert read_earlier(tmp_path / "none", "here") == {}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "a few seconds"),
        (42, "about 40 s"),
        (100, "about 2 min"),
        (3600, "about 60 min"),
        (3 * 3600, "about 3 h"),
        (50 * 3600, "about 2.1 days"),
    ],
)
def test_an_estimate_is_said_roughly(seconds, said):
    assert roughly(seconds) == said
