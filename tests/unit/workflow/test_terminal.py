"""What is shown of the log of a job that failed."""

import logging
import os
import time

import pytest

from hebae.base.errors import UNSAID
from hebae.workflow.terminal import SHOWN, FailedJobs, say_in_any_locale


@pytest.fixture
def logger(caplog):
    logger = logging.Logger("made for a test")
    logger.addHandler(caplog.handler)
    return logger


@pytest.fixture
def failed(logger):
    failed = FailedJobs(logger)
    logger.addFilter(failed)
    return failed


def begin(logger, *logs) -> None:
    """As Snakemake says that a job begins."""
    extra = {"event": "job_info", "log": [str(log) for log in logs]}
    # not by its level: other libraries in this process may have switched all logging off
    logger.handle(logger.makeRecord("", logging.INFO, "", 0, "", (), None, extra=extra))


def shown(failed, *logs) -> list[str]:
    return list(failed.last_lines([str(log) for log in logs]))


def test_the_last_lines_of_what_this_attempt_wrote(failed, logger, tmp_path):
    log = tmp_path / "train.log"
    begin(logger, log)
    log.write_text("".join(f"epoch {i}\n" for i in range(300)) + "error: what was wrong\n")
    header, *lines = shown(failed, log)
    assert header == f"{log}, its last {SHOWN} lines:"
    assert (lines[0], lines[-1]) == ("epoch 286", "error: what was wrong")
    assert shown(failed, log) == [header, *lines]  # a terminal and a file are told
    log.write_text("one\n")
    assert shown(failed, log) == [f"{log}:", "one"]
    log.write_bytes(b"")
    assert shown(failed, log) == [f"{log}:", "(it is empty)"]
    log.write_bytes(b"\xff\n")
    assert shown(failed, log) == [f"{log}:", "\ufffd"]


def test_a_log_of_an_earlier_attempt_is_not_this_ones(failed, logger, tmp_path):
    log, other = tmp_path / "train.log", tmp_path / "other.log"
    log.write_text("error: of yesterday\n")
    other.write_text("new\n")
    begin(logger, log)
    said = [f"The job did not get as far as writing its log, {log}."]
    assert shown(failed, log) == said
    assert shown(failed, log, other) == [*said, f"{other}:", "new"]
    assert shown(failed, tmp_path / "none.log")[0].startswith("The job did not get")
    # it is tried again, and writes the same
    os.utime(log, ns=(time.time_ns(), time.time_ns()))
    assert shown(failed, log) == [f"{log}:", "error: of yesterday"]


def test_a_full_disk_is_said_once(failed, logger, caplog, tmp_path):
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    for log in (first, second):
        log.write_text(f"epoch 1\nerror: [Errno 28] No space left on device: '{log}'\n")
    assert shown(failed, first)[-1].startswith("error: [Errno 28]")
    assert shown(failed, first)[-1].startswith("error: [Errno 28]")
    assert shown(failed, second) == [f"{second}: no space left here either."]
    logger.error(f"Command 'x' returned non-zero exit status {UNSAID}.")
    assert "No space left" not in caplog.text


def test_a_full_disk_that_no_log_could_say_is_said_once(failed, logger, caplog, tmp_path):
    logger.error("Command 'x' returned non-zero exit status 1.")
    assert "No space left" not in caplog.text
    for _ in range(3):
        logger.error(f"Command 'x' returned non-zero exit status {UNSAID}.")
    assert caplog.text.count("error: No space left on device") == 1
    log = tmp_path / "a.log"
    log.write_text(f"error: No space left on device: '{log}'\n")
    assert shown(failed, log) == [f"{log}: no space left here either."]


def test_log_files_are_utf_8(tmp_path):
    handler = logging.FileHandler(tmp_path / "log", encoding="ascii")
    say_in_any_locale([handler])
    handler.emit(logging.makeLogRecord({"msg": "λ"}))
    handler.close()
    assert (tmp_path / "log").read_text("utf-8") == "λ\n"
