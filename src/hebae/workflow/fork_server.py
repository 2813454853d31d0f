"""One process that has imported PyTorch, from which the workflow's jobs are forked.

Importing PyTorch takes 1.5 s of a core, and ending a process that has imported it takes another .4
s. That is more than most steps of a small experiment. :mod:`hebae.workflow.step` hands a job over.

If a step is killed, its child is killed too, and so are all children if this process is killed.
When the process that started this one ends, however it ends, this one takes no more jobs and ends
with its last job.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from hebae.workflow.step import STARTED, VARIABLE

# Variables that may differ between a job and the environment in which PyTorch was imported. The
# number of threads may not, because libraries read it while they are loaded.
FREE = frozenset({"_", "OLDPWD", "PWD", "SHLVL", "TEMP", "TEMPDIR", "TMP", "TMPDIR", VARIABLE})
# packages of the environment; none of ours, which may be edited
PRELOADED = (
    *("torch", "tqdm", "minepy", "threadpoolctl", "scipy.special", "sklearn.mixture"),
    *("scipy.ndimage", "sklearn.cluster"),
)


def listen(folder: Path) -> socket.socket:
    """The socket ``folder/socket``; jobs can connect before the server answers."""
    folder.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(128)
    return listener


def command(folder: Path, listener: socket.socket) -> str:
    """The shell command that runs :func:`serve`."""
    module = "python -m hebae.workflow.fork_server"
    return f"exec {module} {shlex.quote(str(folder))} {listener.fileno()}"


def serve(folder: Path, listener: socket.socket) -> None:
    """Import PyTorch, and fork a child for each job until stdin ends; then wait for the last.

    Jobs connect to `listener`, made by :func:`listen`. While a job runs, ``folder/<its process>``
    has the number of the child. The folder is removed at the end; removing it earlier does no harm.
    """
    # long, because one selector watches the socket, the children and this process
    import gc
    import importlib
    import selectors

    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = dict(os.environ)  # imports change it
    address = folder / "socket"
    selector = selectors.PollSelector()

    def accept() -> None:
        connection, _ = listener.accept()
        asked = _receive(connection, before)
        if asked is None:
            connection.close()
            return
        arguments, environment, streams = asked
        if not (child := os.fork()):
            for descriptor in [*selector.get_map(), connection.fileno()]:
                os.close(descriptor)
            signal.signal(signal.SIGINT, on_interrupt)
            _become(arguments, environment, streams)
        for stream in streams:
            os.close(stream)
        note = folder / str(_peer(connection))
        with suppress(OSError):
            note.write_text(str(child), encoding="utf-8")
        handle = os.pidfd_open(child)

        def abandoned() -> None:
            selector.unregister(connection)
            signal.pidfd_send_signal(handle, signal.SIGKILL)

        def ended() -> None:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            note.unlink(missing_ok=True)
            with suppress(OSError):
                connection.sendall(str(code).encode())
            with suppress(KeyError):
                selector.unregister(connection)
            connection.close()
            selector.unregister(handle)
            os.close(handle)

        selector.register(connection, selectors.EVENT_READ, abandoned)
        selector.register(handle, selectors.EVENT_READ, ended)
        with suppress(OSError):
            connection.sendall(STARTED)

    def close() -> None:
        selector.unregister(0)
        selector.unregister(listener)
        listener.close()
        address.unlink(missing_ok=True)

    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)

    gc.freeze()  # so that garbage collection in children does not copy shared memory
    selector.register(0, selectors.EVENT_READ, close)
    selector.register(listener, selectors.EVENT_READ, accept)
    while selector.get_map():
        for key, _ in selector.select():
            if key.fd in selector.get_map():
                key.data()
    with suppress(OSError):
        folder.rmdir()


def _peer(connection: socket.socket) -> int:
    """The process at the other end of a connection."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def _receive(
    connection: socket.socket, environment: dict[str, str]
) -> tuple[list[str], dict[str, str], list[int]] | None:
    """Arguments, environment and standard streams of a job; None if this server refuses it."""
    streams: list[int] = []
    with suppress(OSError, ValueError, LookupError):
        connection.settimeout(10)
        size, streams, _, _ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as file:
            job: dict[str, Any] = json.loads(file.read(int.from_bytes(size, "big")))
        connection.settimeout(None)
        environments = (environment, job["environment"])
        here, there = ({k: v for k, v in e.items() if k not in FREE} for e in environments)
        same = here == there and os.path.samefile(job["folder"], ".")  # noqa: PTH121
        if len(streams) == 3 and same:
            return job["arguments"], job["environment"], streams
    for stream in streams:
        os.close(stream)
    return None


def _become(arguments: list[str], environment: dict[str, str], streams: list[int]) -> NoReturn:
    """In a child: run a module as ``python -m`` does, and end."""
    import ctypes
    import runpy
    import traceback

    parent_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    for name in FREE:
        os.environ.pop(name, None)
    os.environ.update(environment)
    del os.environ[VARIABLE]
    sys.argv = arguments
    code: Any = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 120  # as Python does
    os._exit(code)  # saves the .4 s that an orderly end of PyTorch takes


if __name__ == "__main__":
    serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
