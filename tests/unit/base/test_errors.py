"""How a command ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hebae.base.errors import UNSAID

COMMAND = """
import errno, sys
from hebae.base.errors import UserError, command
def main():
    print("\\u03bb and more")
    {what}
command(main)
"""


def run(what: str, log=subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", COMMAND.format(what=what)],
        env=os.environ | environment,
        stdout=log,
        stderr=log,
    )


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise UserError('λ is wrong')", 1, "error: λ is wrong\n"),
        ("open('/no/where')", 1, "error: [Errno 2] No such file or directory: '/no/where'\n"),
        (
            "raise OSError(errno.ENOSPC, 'No space left on device', 'x')",
            1,
            "error: [Errno 28] No space left on device: 'x'; make room, and give the same "
            "command again\n",
        ),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_one_line_and_a_status(what, status, said):
    done = run(what, PYTHONUTF8="1")
    assert (done.returncode, done.stderr.decode()) == (status, said)


def test_a_locale_without_the_letters():
    done = run(
        "raise UserError('\\u03bb is wrong')", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert done.returncode == 1
    assert done.stdout == b"\\u03bb and more\n" and done.stderr == b"error: \\u03bb is wrong\n"


@pytest.mark.parametrize("what", ["raise UserError('no space')", "print('x', file=sys.stderr)"])
def test_a_log_that_cannot_be_written(what):
    with Path("/dev/full").open("wb") as full:
        assert run(f"{what}; sys.stderr.flush()", log=full).returncode == UNSAID
