"""How far a step is: a bar at a terminal, a line now and then in a log."""

import io
import sys
from math import inf

import pytest

from hebae.base import progress
from hebae.base.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """What the clock shows, in seconds; to be set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(clock, capsys):
    with Progress("faces", 100, "image", every=30) as shown:
        for seconds, number in ((10, 10), (19, 10), (1, 20), (9, 10), (20, 50)):
            clock[0] += seconds
            shown.advance(number)
    # after 30 s, which are 40 images, and as the last is done
    assert capsys.readouterr().err == (
        "faces: 40/100 images  45 s left\nfaces: 100/100 images  0 s left\n"
    )


def test_what_was_there_already_says_nothing_of_the_pace(clock, capsys):
    with Progress("a run", 100, "epoch", done=80, every=5) as shown:
        clock[0] += 10
        shown.advance(10)
    assert capsys.readouterr().err == "a run: 90/100 epochs  10 s left\n"


def test_nothing_done_for_long_is_no_error(clock, capsys):
    with Progress("faces", 100, "image") as shown:
        clock[0] += 60
        shown.advance(0)
        shown.say("still there")
    assert capsys.readouterr().err == "faces: 0/100 images  6000 s left\nstill there\n"


def test_lines_of_ones_own_stand_alone_where_every_is_infinite(clock, capsys):
    with Progress("a run", 2, "epoch", every=inf) as shown:
        for epoch in (1, 2):
            clock[0] += 1000
            shown.advance()
            shown.say(f"epoch {epoch}: all is well", "well")
    assert capsys.readouterr().err == "epoch 1: all is well\nepoch 2: all is well\n"


def test_a_terminal_gets_a_bar_and_no_lines(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("faces", 100, "image", done=25, every=0) as shown:
        shown.say("a line for the log", "short")
        clock[0] += 1000
        shown.advance(75)
    said = sys.stderr.getvalue()
    assert said.count("\n") == 1  # the bar is left standing
    assert "faces:  25%" in said
    last = said.rsplit("\r", 1)[1]
    assert "100%" in last and "100/100" in last and "image/s" in last and "short" in last
    assert "a line for the log" not in said and "s left" not in said


def test_an_error_leaves_the_bar_and_passes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(RuntimeError, match="lost"), Progress("faces", 9, "image") as shown:
        shown.advance(3)
        raise RuntimeError("lost")
    assert sys.stderr.getvalue().endswith("\n")
