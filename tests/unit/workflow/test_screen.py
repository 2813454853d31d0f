"""What is printed of what Snakemake says; and what is said when a run ends."""

import logging
import types

import pytest

from hebae.base.errors import UNSAID
from hebae.base.lock import is_held
from hebae.workflow import hooks
from hebae.workflow.estimate import Estimate, Kind, Work
from hebae.workflow.jobs import Job
from hebae.workflow.run_progress import RunProgress
from hebae.workflow.screen import STREAM_HANDLER, Screen, replace_handler
from hebae.workflow.terminal import FailedJobs
from hebae.workflow.views import Lines, pause, view_of

JOBS = [
    Job(1, "prepare", "prepare", Work(Kind("digits", "prepare"))),
    Job(2, "train", "train", Work(Kind("digits", "train"), 10)),
    Job(3, "train", "train", Work(Kind("digits", "train"), 10)),
    Job(4, "fid", "tables", Work(Kind("tables", "fid"))),
    Job(5, "fig1a", "figures", Work(Kind("figures", "fig1a"))),
]
FAILED = (
    "RuleException:\nCalledProcessError in file train.smk:\n"
    "Command 'long' returned non-zero exit status {}."
)
AGAIN = "the same command goes on from there"


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Run:
    """Snakemake, as far as it speaks of a run."""

    def __init__(self, capsys) -> None:
        self.capsys = capsys
        self.logger = logging.Logger("made for a test")
        failed = FailedJobs(self.logger)
        self.logger.addFilter(failed)
        self.clock = Clock()
        self.screen = Screen(Lines(), failed, lambda: RunProgress(JOBS, Estimate(), 2, self.clock))
        other = logging.StreamHandler()
        other.name = STREAM_HANDLER
        self.logger.addHandler(other)
        replace_handler(self.logger, self.screen)
        self.say(event="run_info", message="Job stats:")

    def say(self, message: str = "", level: int = logging.INFO, **extra) -> None:
        self.logger.handle(self.logger.makeRecord("", level, "", 0, message, (), None, extra=extra))

    def begin(self, number: int, words: str, log: str = "") -> None:
        self.say(
            event="job_info", jobid=number, rule_msg=words, rule_name="r", log=[log] * bool(log)
        )

    def finish(self, number: int) -> None:
        self.say(event="job_finished", job_id=number)

    def fail(self, number: int, log: str, status: int | None = 1, message: str = "") -> None:
        if status is not None:
            self.say(FAILED.format(status), logging.ERROR, event="error")
        self.say(
            level=logging.ERROR, event="job_error", jobid=number, rule_name="r", rule_msg=message,
            log=[log], indent=False,
        )  # fmt: skip

    def printed(self) -> list[str]:
        return self.capsys.readouterr().err.splitlines()


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setattr("hebae.workflow.screen.time", types.SimpleNamespace(monotonic=Clock()))
    run = Run(capsys)
    yield run
    run.screen.close()


def test_what_is_to_be_done_and_the_first_job_of_each_stage(run):
    run.begin(1, "Preparing digits")
    run.finish(1)
    run.begin(2, "Training VAE on digits")
    run.begin(3, "Training HEBAE on digits")
    assert run.printed() == [
        "5 jobs to do: prepare 1, train 2, tables 1, figures 1",
        "[0/5] prepare: Preparing digits",
        "[1/5] train, 2 jobs: Training VAE on digits",
    ]


def test_targets_that_only_ask_for_others_are_no_jobs(run):
    run.printed()
    run.begin(0, "Every figure is drawn")
    run.finish(0)
    assert run.printed() == [] and not run.screen.progress.done


@pytest.mark.parametrize(
    "message",
    [
        "Select jobs to execute...",
        "Using shell: /bin/bash",
        "Complete log(s): /x",
        "Elapsed time: 3",
    ],
)
def test_notes_of_snakemakes_are_not_printed(run, message):
    run.printed()
    run.say(message)
    run.say("Finished jobid: 3", event="job_started")
    assert run.printed() == []


def test_warnings_other_errors_and_conda_are_printed(run):
    run.printed()
    run.say("No account given, trying to guess.", logging.WARNING)
    run.say("WorkflowError:\nThe solver failed.", logging.ERROR, event="error")
    run.say("Creating conda environment envs/torch.yaml...")
    run.say("Creating conda environment /a/workflow/rules/../../envs/figures.yaml...")
    run.say("Nothing to be done (all requested files are present and up to date).")
    assert run.printed() == [
        "No account given, trying to guess.",
        "WorkflowError:",
        "The solver failed.",
        "Making the conda environment envs/torch.yaml: PyTorch takes minutes and 6 GB the first "
        "time.",
        "Making the conda environment envs/figures.yaml.",
        "Nothing to be done (all requested files are present and up to date).",
    ]


def test_errors_that_name_a_failed_command_are_printed(run):
    """For example of conda. A failed job is reported by its log instead."""
    run.printed()
    missing = "Error running conda info. Error: Command 'conda info --json' returned non-zero exit"
    run.say(f"WorkflowError:\n{missing} status 127.", logging.ERROR)
    assert run.printed() == ["WorkflowError:", f"{missing} status 127."]
    head = "CreateCondaEnvironmentException:\nCould not create conda environment from "
    head += "/a/workflow/rules/../../envs/torch.yaml:\nCommand:\nsource x; sh y\nOutput:\n"
    run.say(f"{head}first\nerror: Command 'x' returned non-zero exit status 1.", logging.ERROR)
    made = "The conda environment envs/torch.yaml could not be made:"
    assert run.printed() == [made, "error: Command 'x' returned non-zero exit status 1."]
    run.say(head + "\n".join(map(str, range(20))), logging.ERROR)
    assert run.printed() == [made, *map(str, range(8, 20))]


def test_where_jobs_are_sent_to_is_said_once(run):
    run.printed()
    for number in range(3):
        run.say(f"Job {number} has been submitted with SLURM jobid {number} (log: x.log).")
    (line,) = run.printed()
    assert line.startswith("Jobs are sent to SLURM. squeue lists them")


def test_that_running_jobs_are_waited_for_is_said_once(run):
    run.printed()
    for _ in range(3):
        run.say("Will exit after finishing currently running jobs (scheduler).")
    assert run.printed() == ["Asked to stop: running jobs finish, no new ones start."]


def test_a_failed_job_is_told_once_with_the_line_that_matters_last(run, tmp_path):
    log = tmp_path / "train.log"
    run.begin(2, "Training VAE on digits", str(log))
    log.write_text("epoch 1\nerror: it diverged\nepoch 2\n")
    run.printed()
    run.fail(2, str(log))
    run.say("Exiting because a job execution failed. Look above for errors", logging.ERROR)
    run.say("WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR)
    assert run.printed() == [
        "Failed: Training VAE on digits",
        f"  {log}:",
        "  epoch 1",
        "  epoch 2",
        "error: it diverged",
    ]


def test_an_exception_is_the_line_that_matters(run, tmp_path):
    log = tmp_path / "train.log"
    run.begin(2, "Training VAE", str(log))
    log.write_text("Traceback (most recent call last):\n  File 'x'\npkg.OddError: no\n")
    run.fail(2, str(log))
    assert run.printed()[-1] == "pkg.OddError: no"


@pytest.mark.parametrize(
    ("status", "said"), [(137, "It was killed (SIGKILL)"), (3, "It ended with exit status 3.")]
)
def test_where_a_log_says_nothing_its_status_matters(run, tmp_path, status, said):
    log = tmp_path / "train.log"
    run.begin(2, "Training VAE", str(log))
    log.write_text("epoch 1\n")
    run.fail(2, str(log), status)
    assert run.printed()[-1].startswith(said)


def test_what_a_cluster_says_of_a_job(run, tmp_path):
    log, other = tmp_path / "train.log", tmp_path / "slurm.log"
    run.begin(2, "Training VAE", str(log))
    log.write_text("epoch 1\n")
    other.write_text("noise\n")
    message = (
        "SLURM-job '5' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable."
    )
    run.printed()
    run.say(
        level=logging.ERROR, event="job_error", jobid=2, rule_name="r", rule_msg=message,
        log=[str(log), str(other)], indent=False,
    )  # fmt: skip
    run.say("Trying to restart job 2.")
    assert run.printed() == [
        "Failed: Training VAE",
        f"  {log}:",
        "  epoch 1",
        "SLURM-job '5' failed, SLURM status is: 'TIMEOUT'.",
        "Tried again: Training VAE",
    ]
    assert run.screen.progress.failed == {}


def test_a_group_that_failed_names_the_job_that_did(run, tmp_path):
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    for number, log in enumerate(logs, 2):
        run.begin(number, f"Measuring {number}", str(log))
    logs[0].write_text("fine\n")
    logs[1].write_text("error: singular\n")
    infos = [dict(jobid=n, log=[str(log)], rule_name="r") for n, log in enumerate(logs, 2)]
    run.printed()
    run.say(level=logging.ERROR, event="group_error", job_error_info=infos, aux_logs=["slurm.log"])
    for info in infos:
        run.say(level=logging.ERROR, event="job_error", indent=True, rule_msg=None, **info)
    assert run.printed() == ["Failed: Measuring 3", f"  {logs[1]}:", "error: singular"]
    assert len(run.screen.progress.failed) == 2
    run.begin(2, "Measuring 2", str(logs[0]))  # again
    assert len(run.screen.progress.failed) == 1


def test_a_full_disk_that_no_log_could_say_is_one_line(run, tmp_path):
    run.begin(2, "Training VAE", str(tmp_path / "train.log"))
    run.fail(2, str(tmp_path / "train.log"), UNSAID)
    errors = [line for line in run.printed() if line.startswith("error: ")]
    assert len(errors) == 1 and "No space left on device" in errors[0]


def test_the_end_of_a_run_in_which_jobs_failed(run, tmp_path):
    run.begin(1, "Preparing digits")
    run.finish(1)
    run.begin(2, "Training VAE", str(tmp_path / "train.log"))
    run.fail(2, str(tmp_path / "train.log"))
    run.printed()
    run.screen.end(RuntimeError(), [], None)
    assert run.printed() == [
        "1 of 5 jobs failed, 1 ended well, in 0 s:",
        "  Training VAE",
        "Not made because of that: train 1, tables 1, figures 1 (fig1a).",
        f"Nothing that is finished is lost: once the cause is fixed, {AGAIN}.",
    ]


def test_the_end_of_a_run_in_which_a_job_left_no_file(run):
    """Snakemake then says so as an error, and not that the job failed."""
    run.begin(1, "Preparing digits")
    run.printed()
    run.screen.end(RuntimeError(), [], None)
    assert run.printed()[:2] == ["1 of 5 jobs failed, 0 ended well, in 0 s:", "  Preparing digits"]


@pytest.mark.parametrize("first", ["job", "note"])
def test_ctrl_c_is_no_failure_of_the_jobs_that_it_ended(run, tmp_path, first):
    """They may be gone before Snakemake has noticed, or after."""
    run.begin(2, "Training VAE", str(tmp_path / "train.log"))
    run.printed()
    note = "Terminating processes on user request, this might take some time."
    if first == "job":
        run.fail(2, str(tmp_path / "train.log"), 130)
        run.say(note)
    else:
        run.say(note)
        run.fail(2, str(tmp_path / "train.log"), 1)
    run.screen.end(RuntimeError(), [], None)
    assert run.printed() == [
        "Stopping what runs.",
        "Stopped by Ctrl-C after 0 s, 0 of 5 jobs done.",
        f"Nothing that is finished is lost: {AGAIN}. "
        "A training continues from its last checkpoint.",
    ]


def test_ctrl_c_before_any_job(run):
    run.screen.progress = RunProgress()
    run.printed()
    run.screen.end(KeyboardInterrupt(), [], None)
    assert run.printed()[0] == "Stopped by Ctrl-C after 0 s."


def test_no_defect_of_the_display_and_no_full_disk_ends_a_run(run, monkeypatch):
    def full(text: str) -> None:
        raise OSError(28, "No space left on device")

    run.screen.view.stream = types.SimpleNamespace(write=full)
    run.begin(1, "Preparing digits")
    run.screen.view.stream = None
    monkeypatch.setattr(run.screen.view, "began", None)
    run.begin(2, "Training VAE on digits")
    assert "Traceback" in "".join(run.printed()) and len(run.screen.progress.running) == 2


def test_nothing_is_added_to_a_refusal(run):
    run.printed()
    run.screen.end(SystemExit("error: refused"), [], None)
    assert run.printed() == []


def test_a_sign_of_life_in_a_long_silence(run):
    run.begin(1, "Preparing digits")
    run.finish(1)
    run.begin(2, "Training VAE on digits")
    run.begin(3, "Training HEBAE on digits")
    run.printed()
    run.clock.now = 29
    run.screen.view.look()
    assert run.printed() == []
    run.clock.now = 31
    run.screen.view.look()
    run.screen.view.look()
    assert run.printed() == ["1 of 5 jobs done after 31 s; now: Training VAE on digits, and 1 more"]


def test_a_long_run_is_told_of_less_often():
    lines, seconds = 0, 0.0
    while seconds < 48 * 3600:
        seconds += pause(seconds)
        lines += 1
    assert lines < 500 and pause(0) == 30 and pause(1e9) == 600


def stream(terminal: bool):
    return types.SimpleNamespace(isatty=lambda: terminal)


def test_lines_are_plain_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(view_of(stream(True))).__name__ == "Display"
    assert type(view_of(stream(False))).__name__ == "Lines"
    monkeypatch.setenv("TERM", "dumb")
    assert type(view_of(stream(True))).__name__ == "Lines"
    monkeypatch.delenv("TERM")
    assert type(view_of(stream(True))).__name__ == "Lines"


def test_nothing_that_goes_wrong_in_telling_ends_a_run(monkeypatch):
    """As where the terminal has gone, or stderr was closed from the first."""
    assert type(view_of(None)).__name__ == "Lines"
    monkeypatch.setattr("sys.stderr", None)
    Lines().say("to nobody")

    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    made = []
    workflow = types.SimpleNamespace(execute=lambda executor_plugin, **_: made.append(1))
    plugin = types.SimpleNamespace(common_settings=None)
    hooks.told(workflow, gone, gone)(executor_plugin=plugin)
    assert made == [1]
    with pytest.raises(OSError, match="Input/output error"):
        hooks.told(workflow, gone, gone, done=gone)(executor_plugin=plugin)  # a plan, say

    def interrupted(executor_plugin):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        workflow = types.SimpleNamespace(execute=interrupted)
        hooks.told(workflow, gone, gone)(executor_plugin=plugin)
    with pytest.raises(ValueError, match="the real one"):

        def fails(executor_plugin):
            raise ValueError("the real one")

        hooks.told(types.SimpleNamespace(execute=fails), gone, gone)(executor_plugin=plugin)


def test_conda_environments_are_made_by_one_process_at_a_time(tmp_path):
    lock = tmp_path / "conda/.lock"
    held = []

    def create(dag: object, dryrun: bool = False) -> None:
        held.append((dryrun, is_held(lock)))

    alone = hooks.alone(create, lambda: lock)
    alone(None)
    alone(None, dryrun=True)
    assert held == [(False, True), (True, False)] and not is_held(lock)
