# On this machine, jobs that need PyTorch are forked from a process that has imported it, one for each
# environment (hebae.workflow.fork_server). Otherwise each job spends 2 s of a core on starting and
# ending.

import hashlib
import subprocess
from collections import Counter

import psutil
from snakemake import benchmark

from hebae.workflow import fork_server, step

STEP = "python -m hebae.workflow.step "  # how the commands of such jobs begin
# a short name, because the path of a socket may have 107 bytes at most
PRELOADED = Path(
    ".snakemake/preloaded",
    hashlib.sha256(EXPERIMENT.name.encode()).hexdigest()[:12],
)


class Observed(psutil.Process):
    """A job's process; processes that a fork server forked for it count as its children."""

    def children(self, recursive=False):
        children = super().children(recursive)
        for process in tuple(children):
            for note in PRELOADED.glob(f"*/{process.pid}"):
                try:
                    number = int(note.read_text(encoding="utf-8"))
                    children.append(psutil.Process(number))
                except (OSError, ValueError, psutil.Error):
                    continue  # it has ended
        return children


class BenchmarkTimer(benchmark.BenchmarkTimer):
    """Snakemake's timer, with forked processes counted for the job."""

    def __init__(self, pid, *arguments, **options):
        super().__init__(pid, *arguments, **options)
        self.main = Observed(pid)


def environment_of(job):
    """The prefix of a job's Python."""
    return job.conda_env.address if with_conda() else sys.prefix


def preload():
    """Start the fork servers; they end with this process."""
    # this process has claimed the experiment, so a killed one left whatever is there
    shutil.rmtree(PRELOADED, ignore_errors=True)
    if not workflow.local_exec or sys.platform != "linux":
        return
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.shellcmd]
    if with_conda():
        prefixes = set(map(environment_of, jobs))
        # beside the servers' folders, which are removed with the servers
        scripts = {prefix: PRELOADED / f"{step.room(prefix)}.sh" for prefix in prefixes}
        remember_activation(scripts)
    if on_gpu(None):
        return
    forked = Counter(
        environment_of(job) for job in jobs if job.rule.shellcmd.startswith(STEP)
    )
    workflow.preloaded = [
        start_server(prefix) for prefix, number in forked.items() if number > 1
    ]
    if workflow.preloaded:
        os.environ.update({step.VARIABLE: str(PRELOADED)})
        benchmark.BenchmarkTimer = BenchmarkTimer


def start_server(prefix):
    """Start the fork server of an environment."""
    folder = PRELOADED / step.room(prefix)
    # opened here, so that the first job finds it: the server takes a second to start
    listener = fork_server.listen(folder)
    command = f"{shell_prefix()} {fork_server.command(folder, listener)}"
    environment = os.environ
    if with_conda():
        environment = environment_for_conda()
        command = Conda().shellcmd(prefix, command)
    # its stdin ends when this process does
    server = subprocess.Popen(
        ["bash", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment | {"OMP_NUM_THREADS": "1"},  # as for a job of one thread
        pass_fds=[listener.fileno()],
    )
    listener.close()
    return server
