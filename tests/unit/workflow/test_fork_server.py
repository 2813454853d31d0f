"""Steps forked from a process that has imported PyTorch; here PyTorch is an empty stand-in."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from tests.project import heed_interrupts

from hebae.workflow import fork_server
from hebae.workflow.step import room

STEP = """
import os, signal, sys, time
there = [name in os.environ for name in ("HEBAE_PRELOADED", "TEMP")]
print(sys.argv[1:], os.getppid(), os.environ.get("TMPDIR"), *there)
print("to stderr", file=sys.stderr)
sys.stdout.flush()
exec(sys.argv[1])
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A package with one step, which does what it is told, and with a PyTorch that is empty."""
    package = tmp_path / "hebae"
    package.mkdir()
    source = Path(fork_server.__file__).parent
    (package / "workflow").mkdir()
    for name in ("__init__.py", "step.py", "fork_server.py"):
        shutil.copy(source / name, package / "workflow")
    (package / "__init__.py").touch()
    (package / "train.py").write_text(STEP)
    for name in fork_server.PRELOADED:
        *parents, module = name.split(".")
        folder = tmp_path.joinpath(*parents)
        if parents:
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        # as threadpoolctl does
        (folder / f"{module}.py").write_text("import os; os.environ['ADDED_BY_IMPORT'] = '1'")
    return tmp_path


@pytest.fixture
def sockets(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("s") / room(sys.prefix)


def start(
    package: Path, *arguments: str, descriptors: tuple[int, ...] = (), **environment: str
) -> subprocess.Popen:
    # one that pytest changes as it goes
    variables = {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "PYTEST_CURRENT_TEST": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=package,
        env=os.environ | variables | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=descriptors,
        preexec_fn=heed_interrupts,
    )


@contextmanager
def serve(package: Path, sockets: Path, listener: socket.socket) -> Iterator[subprocess.Popen]:
    number = listener.fileno()
    arguments = ("hebae.workflow.fork_server", str(sockets), str(number))
    with start(package, *arguments, descriptors=(number,)) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server(package, sockets):
    with ExitStack() as stack:
        with fork_server.listen(sockets) as listener:
            process = stack.enter_context(serve(package, sockets, listener))
        yield process


@pytest.fixture
def step(package, sockets):
    """Start a step that is told of the process."""
    started = []

    def step(what: str, **environment: str) -> subprocess.Popen:
        environment = {"HEBAE_PRELOADED": str(sockets.parent)} | environment
        started.append(
            start(package, "hebae.workflow.step", "hebae.train", what, "two words", **environment)
        )
        return started[-1]

    yield step
    for process in started:
        process.kill()
        process.communicate()


def parent(process: subprocess.Popen) -> int:
    """The parent of the process in which the step ran, which the step prints first."""
    return int(process.stdout.readline().rpartition("]")[2].split()[0])


def test_a_step_is_a_child_of_the_process(server, step):
    done = step("sys.exit(7)", TMPDIR="/elsewhere")
    out, err = done.communicate(timeout=60)
    assert out == f"['sys.exit(7)', 'two words'] {server.pid} /elsewhere False False\n"
    assert err == "to stderr\n"
    assert done.returncode == 7


def test_a_step_may_ask_before_the_process_is_there(package, sockets, step):
    with fork_server.listen(sockets) as listener:
        asking = step("sys.exit(7)")
        time.sleep(0.3)  # it waits
        assert asking.poll() is None
        with serve(package, sockets, listener) as process:
            assert asking.wait(60) == 7 and parent(asking) == process.pid


def test_a_step_runs_by_itself_where_the_process_ends_before_it_answers(package, sockets, step):
    with fork_server.listen(sockets):
        asking = step("sys.exit(7)")
        time.sleep(0.3)
    assert asking.wait(60) == 7 and parent(asking) == os.getpid()


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('error: what was wrong')", 1, "error: what was wrong"),
        ("1/0", 1, "ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("input()", 0, ""),
    ],
)
def test_it_ends_as_its_child(server, step, what, status, said):
    done = step(what)
    _, err = done.communicate("a line of stdin\n", timeout=60)
    assert done.returncode == status
    assert err.removeprefix("to stderr\n").strip().endswith(said)


def child_of(server: subprocess.Popen, sockets: Path, step: subprocess.Popen) -> int:
    """The child that runs a step; it may print before the process has noted it, and said so."""
    note = sockets / str(step.pid)
    wait_until(lambda: note.exists() and note.read_text())
    wait_until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_SLEEPING)
    return int(note.read_text())


def test_steps_run_side_by_side(server, step):
    first, second = step("time.sleep(60)"), step("pass")
    assert parent(first) == server.pid
    second.communicate(timeout=60)
    assert first.poll() is None


def test_a_step_that_is_killed_takes_its_child_with_it(server, step, sockets):
    done = step("time.sleep(60)")
    assert parent(done) == server.pid
    note = sockets / str(done.pid)
    child = psutil.Process(child_of(server, sockets, done))
    assert child.ppid() == server.pid
    done.kill()
    child.wait(60)
    wait_until(lambda: not note.exists())
    assert server.poll() is None


def test_ctrl_c_ends_the_child_in_order(server, step, sockets):
    done = step(
        "try: print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: time.sleep(.2); print('tidy'); sys.exit(130)"
    )
    assert parent(done) == server.pid
    assert done.stdout.readline() == "ready\n"
    child = child_of(server, sockets, done)
    for process in (server.pid, done.pid, child):
        os.kill(process, signal.SIGINT)
    out, _ = done.communicate(timeout=60)
    assert (out, done.returncode) == ("tidy\n", 130)
    assert server.poll() is None


def test_children_do_not_outlive_the_process(server, step, sockets):
    done = step("time.sleep(60)")
    assert parent(done) == server.pid
    child = psutil.Process(child_of(server, sockets, done))
    server.kill()
    child.wait(60)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    # unbuffered, the child may have written its own line while this one came
    assert any("was killed" in line for line in err.splitlines())


def test_the_process_ends_with_who_started_it_and_after_its_last_child(server, step, sockets):
    done = step("input()")  # until it is told
    assert parent(done) == server.pid
    server.stdin.close()
    wait_until(lambda: not (sockets / "socket").exists())
    assert server.poll() is None
    late = step("pass")
    assert parent(late) == os.getpid()
    late.communicate(timeout=60)
    done.communicate("a line\n", timeout=60)
    assert (done.returncode, late.returncode) == (0, 0)
    assert server.wait(60) == 0
    assert not sockets.exists()


def test_its_folder_may_be_taken_away(server, step, sockets):
    done = step("input(); sys.exit(7)")
    assert parent(done) == server.pid
    shutil.rmtree(sockets)
    server.stdin.close()
    done.communicate("a line\n", timeout=60)
    assert (done.returncode, server.wait(60)) == (7, 0)


def test_what_is_imported_beside_torch_may_be_missing(package, sockets, step):
    (package / "tqdm.py").write_text("raise ImportError")
    listener = fork_server.listen(sockets)
    with listener, serve(package, sockets, listener) as server:
        done = step("pass")
        assert parent(done) == server.pid


@pytest.mark.parametrize("other", [{"OMP_NUM_THREADS": "2"}, {"OPENBLAS_CORETYPE": "generic"}])
def test_another_environment_is_not_served(server, step, other):
    done = step("pass", **other)
    assert parent(done) == os.getpid()
    done.communicate(timeout=60)
    assert done.returncode == 0


def test_without_the_process_a_step_runs_by_itself(step):
    done = step("sys.exit(7)")
    assert parent(done) == os.getpid()
    done.communicate(timeout=60)
    assert done.returncode == 7


def test_a_process_whose_environment_lacks_pytorch_serves_without(package, sockets, step):
    (package / "torch.py").write_text("import time; time.sleep(.5); raise ImportError")
    with fork_server.listen(sockets) as listener, serve(package, sockets, listener) as server:
        assert parent(step("pass")) == server.pid


def test_a_step_of_another_python_runs_by_itself(server, step, sockets):
    elsewhere = sockets.with_name("another")
    sockets.rename(elsewhere)
    assert parent(step("pass")) == os.getpid()
    elsewhere.rename(sockets)
    assert parent(step("pass")) == server.pid
