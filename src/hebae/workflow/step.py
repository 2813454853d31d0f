"""Runs a step, if possible in a child of the process that has imported PyTorch.

``python -m hebae.workflow.step MODULE ...`` does the same as ``python -m MODULE ...``. If
``HEBAE_PRELOADED`` names a folder with the socket of a :mod:`hebae.workflow.fork_server` of the
same Python, this process passes the arguments, environment and standard streams to it. It then
waits for the child that the server forks, and ends as the child ends. Otherwise it runs the module
itself.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress

VARIABLE = "HEBAE_PRELOADED"
STARTED = b"s"


def room(prefix: str) -> str:
    """The name of the subfolder for the Python of an environment, from its prefix."""
    # short, because the path of a socket may have 107 bytes at most
    return os.path.basename(prefix)[:8]  # noqa: PTH119


def hand_over(arguments: list[str]) -> None:
    """Let a child of the process with PyTorch run a module: its name, then its arguments.

    Ends this process as the child ends. Returns if there is no such process, or if it refuses.
    """
    if VARIABLE not in os.environ:
        return
    # not Path.cwd(), because importing pathlib takes longer than everything else here
    folder = os.getcwd()  # noqa: PTH109
    job = dict(arguments=arguments, folder=folder, environment=dict(os.environ))
    # Ctrl-C reaches the child too, which then ends in order
    interrupted: list[int] = []
    on_interrupt = signal.getsignal(signal.SIGINT)
    if on_interrupt is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    code = _done_elsewhere(json.dumps(job).encode())
    if code is None:
        signal.signal(signal.SIGINT, on_interrupt)
        if interrupted:
            os._exit(130)
        return
    if code < 0:
        with suppress(OSError):  # SIGKILL cannot be handled
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _done_elsewhere(job: bytes) -> int | None:
    """The exit code of a job that was handed over; None if it was not started."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"{os.environ[VARIABLE]}/{room(sys.prefix)}/socket")
            socket.send_fds(connection, [len(job).to_bytes(8, "big")], [0, 1, 2])
            connection.sendall(job)
            if connection.recv(1) != STARTED:
                return None
        except OSError:
            return None
        with suppress(OSError), connection.makefile("rb") as file:
            if code := file.read():
                return int(code)
    print("error: the process that this step was forked from was killed", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    hand_over(sys.argv)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
