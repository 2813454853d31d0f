"""What a plan does about trainings that are finished: take, ask, keep, replace, restore."""

from pathlib import Path

import pytest
from tests.runs import HERE, RUN, add_run, changed

from hebae.base.errors import UserError
from hebae.config.experiment import Word
from hebae.training.finished import Machine, Store, key_of, of_run, read
from hebae.training.plan import Instead, Plan, write_plan
from hebae.workflow.planning import Asked, decide


def asked(run=RUN, data: str | None = "d", machine: Machine = HERE) -> Asked:
    return Asked(f"runs/{run.path}", of_run(run, data, machine))


def place_of(results: Path, run=RUN) -> Path:
    return results / "runs" / run.path


@pytest.fixture
def results(tmp_path) -> Path:
    """An experiment with one finished run in its place, which nobody has kept."""
    add_run(place_of(tmp_path / "results/tiny"))
    return tmp_path / "results/tiny"


def key(run=RUN, data: str = "d", machine: Machine = HERE) -> str:
    return key_of(of_run(run, data, machine))


INSTEAD = {f"runs/{RUN.path}": Instead(key(), agreed=False)}
AGREED = {f"runs/{RUN.path}": Instead(key(), agreed=True)}


def test_what_was_never_trained_is_trained(results):
    new = changed(seed=9)
    decision = decide([asked(new)], results, Word.ASK, keep=True)
    assert decision == ([f"runs/{new.path}"], {}, [], [])


def test_the_same_is_kept_and_taken(results):
    decision = decide([asked()], results, Word.ASK, keep=True)
    assert decision.trained == [] and decision.instead == INSTEAD
    assert decision.said == ["1 finished training found and used, not trained again."]
    assert Store(results.parent).get(key()) is not None


def test_a_dry_run_keeps_nothing(results):
    decide([asked()], results, Word.ASK, keep=False)
    assert not (results.parent / ".trained").exists()


def test_another_in_its_place_is_refused_before_anything_is_done(results):
    for keep in (False, True):
        with pytest.raises(UserError) as error:
            decide([asked(changed(epochs=50))], results, Word.ASK, keep)
    lines = str(error.value).splitlines()
    assert lines == [
        "1 finished training of tiny, which took 3.0 s to train, would be trained again; nothing "
        f"was changed. The first is {place_of(results)}. What differs:",
        "  training.epochs was 12, is now 50",
        "To keep them as they are, add --config keep=True (the report says so).",
        "To train them again, add --config replace=True.",
    ]
    assert read(place_of(results)).key == key() and not (results.parent / ".trained").exists()


def test_many_reasons_are_counted_and_not_all_shown(results):
    runs = [changed(seed=seed) for seed in range(20, 26)]
    for run in runs:
        add_run(place_of(results, run), run)
    other = [changed(seed=run.seed, epochs=12 + n // 2) for n, run in enumerate(runs)]
    with pytest.raises(UserError) as error:
        decide([asked(run, data="e") for run in other], results, Word.ASK, keep=False)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("6 finished trainings of tiny, which took 18.0 s to train,")
    assert lines[1:4] == [
        "  other images or another split",
        "  training.epochs was 12, is now 13 (2 of them)",
        "  training.epochs was 12, is now 14 (2 of them)",
    ]


def test_keeping_takes_what_is_there(results):
    new = changed(epochs=50)
    decision = decide([asked(new)], results, Word.KEEP, keep=True)
    assert decision.trained == [] and decision.instead == AGREED
    assert decision.said == [
        "1 finished training kept as found: training.epochs was 12, is now 50."
    ]


def test_the_user_s_word_is_asked_for_once(results):
    """A run that was kept in place of another is not asked about again."""
    new = changed(epochs=50)
    add_run(place_of(results), kept={"asked": asked(new).decides, "differs": ["…"]})
    assert decide([asked(new)], results, Word.ASK, keep=True).instead == AGREED
    with pytest.raises(UserError, match="would be trained again"):  # for something else again
        decide([asked(changed(epochs=51))], results, Word.ASK, keep=True)


def test_replacing_trains_and_loses_nothing(results):
    new = changed(epochs=50)
    decision = decide([asked(new)], results, Word.REPLACE, keep=True)
    differs = ["training.epochs was 12, is now 50"]
    assert decision == ([f"runs/{RUN.path}"], {}, [], differs)
    assert Store(results.parent).get(key()) is not None


def test_back_to_a_config_that_was_trained_before(results):
    """No word is needed: nothing is trained, and what is in its place is kept."""
    new = changed(epochs=50)
    Store(results.parent).keep(read(add_run(results.parent / "elsewhere", new)))
    for word in (Word.ASK, Word.REPLACE, Word.KEEP, Word.RESTORE):
        decision = decide([asked(new)], results, word, keep=True)
        assert decision.trained == []
        assert decision.said == ["1 finished training found and used, not trained again."]
    assert Store(results.parent).get(key()) is not None


@pytest.mark.parametrize("word", Word)
def test_what_a_plan_cannot_know_is_not_held_against_a_run(results, word):
    """The job may find a difference that the plan could not know, and takes that run."""
    unknown = Machine(None, None, None)
    decision = decide([asked(machine=unknown, data=None)], results, word, keep=True)
    assert decision.trained == []
    expected = {Word.REPLACE: {}, Word.KEEP: AGREED}.get(word, INSTEAD)
    assert decision.instead == expected


def test_of_other_labels_the_config_and_the_images_count(results):
    renamed = changed(model="Renamed")
    Store(results.parent).keep(read(place_of(results)))
    decision = decide([asked(renamed)], results, Word.ASK, keep=True)
    assert decision.trained == [] and len(decision.said) == 1


def test_a_number_written_otherwise_is_the_same_config(results):
    whole, point = (changed(seed=9, learning_rate_decay=rate) for rate in (1, 1.0))
    Store(results.parent).keep(read(add_run(results.parent / "elsewhere", whole)))
    decision = decide([asked(point)], results, Word.ASK, keep=True)
    assert decision.trained == [] and len(decision.said) == 1


def test_restoring_takes_what_another_machine_trained(results):
    cluster = Machine({"torch": "2.14.0", "numpy": "2.4.0"}, "cuda", "float32")
    run = changed(seed=9)
    Store(results.parent).keep(read(add_run(results.parent / "x", run, cluster)))
    decision = decide([asked(run)], results, Word.RESTORE, keep=True)
    assert decision.trained == [] and len(decision.said) == 1
    with pytest.raises(UserError, match="import an archive that has them"):
        decide([asked(run, data="e")], results, Word.RESTORE, keep=True)


def test_another_training_than_what_stands_there_is_no_answer_to_what_was_trained(results):
    """What is asked for is kept, and may be damaged: then it is trained, and no other is taken."""
    new = changed(epochs=50)
    Store(results.parent).keep(read(add_run(results.parent / "elsewhere", new)))
    assert decide([asked(new)], results, Word.ASK, keep=True).instead == {}


@pytest.mark.parametrize("name", ["weights.pt", "history.csv"])
def test_a_run_that_lacks_a_file_is_known_by_its_record(results, name):
    Store(results.parent).keep(read(place_of(results)))
    (place_of(results) / name).unlink()
    with pytest.raises(UserError, match=r"training\.epochs was 12, is now 50"):
        decide([asked(changed(epochs=50))], results, Word.ASK, keep=True)


@pytest.mark.parametrize("left", [[], ["run.json"], ["run.json", "history.csv"]])
def test_a_job_that_was_killed_while_it_put_a_run_back(results, left):
    """The same command asks for nothing else, and another config is refused."""
    new = changed(epochs=50)
    decision = decide([asked(new)], results, Word.KEEP, keep=True)
    write_plan(results / "plan.json", Plan(instead=decision.instead))
    for path in place_of(results).iterdir():
        if path.name not in left:
            path.unlink()
    assert decide([asked(new)], results, Word.KEEP, keep=True).instead == AGREED
    with pytest.raises(UserError, match=r"training\.epochs was 12, is now 50"):
        decide([asked(new)], results, Word.ASK, keep=True)
    # a plan of something else does not forget it
    other = decide([asked(changed(seed=9))], results, Word.ASK, keep=True)
    assert other.instead == AGREED


def test_a_place_with_half_a_run_that_nobody_kept_is_trained(results):
    (place_of(results) / "history.csv").unlink()
    assert decide([asked(changed(epochs=50))], results, Word.ASK, keep=True).trained
