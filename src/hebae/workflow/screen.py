"""Prints the messages of a run, instead of Snakemake's own handler.

Snakemake's log file (``.snakemake/log``) keeps everything that Snakemake says.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

from hebae.base.errors import UNSAID
from hebae.workflow import closing
from hebae.workflow.run_progress import RunProgress
from hebae.workflow.terminal import FailedJobs, event_of
from hebae.workflow.views import View

STREAM_HANDLER = "DefaultStreamHandler"
"""Snakemake's name for the handler that prints."""
INTERRUPTED = ("exit status 130", "died with <Signals.SIGINT")
ENDING = "Will exit after finishing currently running jobs"
"""The beginning of Snakemake's message when it was asked to end."""
SENT = re.compile(r"Job \d+ has been submitted with SLURM jobid")
"""The beginning of the SLURM executor's message about each job."""
SENT_ONCE = "Jobs are sent to SLURM. squeue lists them, and make status shows the trainings."
STOPPING = "Terminating processes on user request"

ERROR = re.compile(r"(error: |([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit): ?)")
"""The beginning of a line that says what went wrong."""

COMMAND_FAILED = re.compile(
    r"(?:RuleException:\s*)?CalledProcessError in .*Command .* "
    r"(returned non-zero exit status (?P<status>\d+)"
    r"|died with <Signals\.(?P<signal>\w+))",
    re.DOTALL,
)
"""Snakemake's message about the command of a failed job."""

NO_ENVIRONMENT = re.compile(
    r"CreateCondaEnvironmentException.*?:\s*Could not create conda environment from (.*?):"
    r"\s*Command:.*?\nOutput:\n(.*)",
    re.DOTALL,
)
"""Snakemake's message about a conda environment that could not be made."""
OUTPUT_SHOWN = 12
"""How many lines of conda's output are shown; Snakemake's log has all of it."""

ADVICE = re.compile(r"\s*(?:sbatch call:|Detailed failure reason|For further error details)")
"""The beginning of the useless part of a cluster's message about a job."""

UNSAID_ERRORS = (
    "Exiting because a job execution failed",
    "At least one job did not complete successfully",
)
"""Errors of Snakemake that the closing lines of a run say better."""

REWORDED = (
    (
        r"Creating conda environment (?:.*/)?(envs/torch\.yaml)\.\.\.",
        r"Making the conda environment \1: PyTorch takes minutes and 6 GB the first time.",
    ),
    (r"Creating conda environment (?:.*/)?(\S+/\S+)\.\.\.", r"Making the conda environment \1."),
    (r"(Removing incomplete Conda environment .*)", r"\1"),
    (r"((?:Incomplete )?Conda environment .* will be (?:re)?created.*)", r"\1"),
    (r"(Using pinnings from .*)", r"\1"),
    (r"(Nothing to be done.*)", r"\1"),
    (rf"{ENDING}.*", "Asked to stop: running jobs finish, no new ones start."),
    (rf"{STOPPING}.*", "Stopping what runs."),
)
"""The notes of Snakemake that are printed, with our wording. Others are not printed."""


def worth_saying(record: logging.LogRecord) -> tuple[str, str] | None:
    """What to print of a message that is not about a job, and its look; None if nothing."""
    message = record.getMessage()
    if record.levelno >= logging.WARNING:
        if any(text in message for text in UNSAID_ERRORS) or COMMAND_FAILED.match(message):
            return None
        if found := NO_ENVIRONMENT.search(message):
            message = no_environment(*found.groups())
        return message, "failure" if record.levelno >= logging.ERROR else "warning"
    if record.levelno == logging.INFO and event_of(record) is None:
        for pattern, words in REWORDED:
            if found := re.fullmatch(pattern, message.strip(), re.DOTALL):
                return found.expand(words), ""
    return None


def no_environment(file: str, output: str) -> str:
    """Why a conda environment could not be made: our script's line, or the end of conda's."""
    lines = output.rstrip().splitlines()
    if lines and lines[-1].startswith("error: "):
        lines = lines[-1:]
    name = "/".join(PurePath(file).parts[-2:])
    return "\n".join([f"The conda environment {name} could not be made:", *lines[-OUTPUT_SHOWN:]])


def split_error(lines: Sequence[str]) -> tuple[list[str], str | None]:
    """The last lines of a log, without the line that says what went wrong, and that line."""
    for index in reversed(range(len(lines))):
        if ERROR.match(lines[index]):
            return [*lines[:index], *lines[index + 1 :]], lines[index]
    return list(lines), None


def why(message: str) -> str:
    """How a job's command ended, in words; empty if another line says it."""
    found = COMMAND_FAILED.match(message)
    if found is None or found["status"] == str(UNSAID):
        return ""
    if found["signal"] == "SIGKILL" or found["status"] == "137":
        return "It was killed (SIGKILL), which often means that memory ran out."
    return f"It ended with {found['signal'] or 'exit status ' + found['status']}."


class Warnings(logging.Handler):
    """Prints the messages that a person needs, and nothing about jobs."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.tell(record)
        except Exception:
            self.handleError(record)  # whatever is wrong here is no reason to end a run

    def tell(self, record: logging.LogRecord) -> None:
        """Print a message if a person needs it."""
        if said := worth_saying(record):
            self.view.say(*said)


class Screen(Warnings):
    """Reports a run while it goes on.

    Args:
        view: where it is shown.
        failed: knows the logs of failed jobs.
        count: gives the progress; called when Snakemake knows its jobs.
    """

    def __init__(
        self, view: View, failed: FailedJobs, count: Callable[[], RunProgress] = RunProgress
    ) -> None:
        super().__init__(view)
        self.failed = failed
        self.count = count
        self.progress = RunProgress()
        self.interrupted = False
        self.told_to_end = False
        self.sent = False
        self.since = time.monotonic()
        self._command = threading.local()
        self._events: dict[str, Callable[[logging.LogRecord], None]] = {
            "run_info": self._run_info,
            "job_info": self._job_info,
            "job_finished": lambda record: self.progress.finish(record.job_id),
            "job_error": self._job_error,
            "group_error": self._group_error,
        }

    def tell(self, record: logging.LogRecord) -> None:
        if handle := self._events.get(event_of(record)):
            handle(record)
            return
        message = record.getMessage()
        # the thread that reports it then says which job it was
        if COMMAND_FAILED.match(message):
            self._command.message = message
        if event_of(record) is None:
            self.interrupted |= message.startswith(STOPPING)
            if SENT.match(message) and not self.sent:
                self.sent = True
                self.view.say(SENT_ONCE)
            if message.startswith(ENDING):
                if self.told_to_end:
                    return  # Snakemake repeats it in every round
                self.told_to_end = True
            if again := re.fullmatch(r"Trying to restart job (\d+)\.", message):
                words = self.progress.failed.pop(int(again[1]), "The job")
                self.view.say(f"Tried again: {words}")
        super().tell(record)

    def _run_info(self, record: logging.LogRecord) -> None:
        self.progress = self.count()
        self.view.begin(self.progress)

    def _job_info(self, record: logging.LogRecord) -> None:
        number, words = record.jobid, record.rule_msg or record.rule_name
        first = self.progress.begin(number, words)
        if number in self.progress.jobs:
            self.view.began(words, self.progress.jobs[number].stage, first)

    def close(self) -> None:
        self.view.end()
        super().close()

    def end(
        self, error: BaseException | None, places: Sequence[str], following: str | None
    ) -> None:
        """Print how the run ended.

        Args:
            error: what ended it; None if all was done.
            places: lines that say where the results are.
            following: the next command, if there is one.
        """
        self.view.end()
        progress, seconds = self.progress, time.monotonic() - self.since
        look = "failure"
        if isinstance(error, KeyboardInterrupt) or self.interrupted:
            look, lines = "warning", closing.stopped(progress, seconds, "by Ctrl-C")
        elif self.told_to_end and error is not None:
            look, lines = "warning", closing.stopped(progress, seconds, "on request")
        elif error is None and progress.jobs:
            look, lines = "good", closing.finished(progress, seconds, places, following)
        elif error is None:
            look, lines = "", list(places)
        else:
            # an error after they had ended has been printed already
            for number in list(progress.running):
                progress.fail(number)
            lines = closing.failed(progress, seconds) if progress.failed else []
        if lines:
            self.view.say(lines[0], look)
        if lines[1:]:
            self.view.say("\n".join(lines[1:]))

    def _job_error(self, record: logging.LogRecord) -> None:
        message = getattr(self._command, "message", "")
        self._command.message = ""
        if self.interrupted or any(text in message for text in INTERRUPTED):
            return
        number = record.jobid
        self.progress.fail(number)
        if record.indent:
            return  # part of a group, which is reported as one
        words = self.progress.failed.get(number, record.rule_name)
        said = ADVICE.split(record.rule_msg or "")[0]
        self._tell(words, record.log, said, why(message))

    def _group_error(self, record: logging.LogRecord) -> None:
        if self.interrupted:
            return
        infos = record.job_error_info
        logs = [log for info in infos for log in info["log"]]
        # the group also has jobs that succeeded
        wrong = [log for log in logs if split_error(list(self.failed.last_lines([log])))[1]]
        words = [
            ran.words
            for info in infos
            if set(info["log"]) & set(wrong) and (ran := self.progress.running.get(info["jobid"]))
        ]
        what = "; ".join(words) or f"one of {len(infos)} jobs that share a job of the cluster"
        self._tell(what, wrong + list(record.aux_logs) * (not wrong))

    def _tell(self, words: str, logs: Iterable[str], said: str = "", status: str = "") -> None:
        """Print what failed, the last lines of its log, and the decisive line last.

        Args:
            said: what a cluster says about it.
            status: how its command ended; printed if its log does not say more.
        """
        own = [log for log in logs if log in self.failed.before]
        lines = list(self.failed.last_lines(own or logs))
        lines, error = split_error(lines)
        self.view.say(f"Failed: {words}", "failure")
        if lines:
            self.view.say("\n".join(f"  {line}" for line in lines))
        if last := "\n".join(filter(None, (said, error or status))):
            self.view.say(last, "failure")


def replace_handler(logger: logging.Logger, handler: logging.Handler) -> None:
    """Replace the handler with which Snakemake prints."""
    for other in list(logger.handlers):
        if other.name == STREAM_HANDLER:
            handler.name = STREAM_HANDLER
            logger.removeHandler(other)
            logger.addHandler(handler)


def keep_quiet_about(logger: logging.Logger, text: str) -> None:
    """Keep Snakemake's own handler from printing messages with this beginning."""
    for handler in logger.handlers:
        if handler.name == STREAM_HANDLER:
            handler.addFilter(lambda record: not record.getMessage().startswith(text))
