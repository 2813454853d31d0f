# Where jobs run on this machine's cores, those that need PyTorch are forked from one process that
# has imported it (hebae.workflow.fork_server), one for each environment. Else each takes 2 s of a
# core to begin and end.

import subprocess
from collections import Counter

import psutil
from snakemake import benchmark

from hebae.workflow import fork_server, step

STEP = "python -m hebae.workflow.step "  # how the commands of such jobs begin
PRELOADED = Path(".snakemake/preloaded", EXPERIMENT.name)


class Observed(psutil.Process):
    """A job's process, of which those count as children that were forked for them elsewhere."""

    def children(self, recursive=False):
        children = super().children(recursive)
        for process in tuple(children):
            for note in PRELOADED.glob(f"*/{process.pid}"):
                try:
                    number = int(note.read_text(encoding="utf-8"))
                    children.append(psutil.Process(number))
                except (OSError, ValueError, psutil.Error):
                    continue  # over
        return children


class BenchmarkTimer(benchmark.BenchmarkTimer):
    """Snakemake's, which looks at the children of a job's process."""

    def __init__(self, pid, *arguments, **options):
        super().__init__(pid, *arguments, **options)
        self.main = Observed(pid)


def environment_of(job):
    """Where the Python of a job is."""
    return job.conda_env.address if with_conda() else sys.prefix


def preload():
    """Start these processes, which end with this one."""
    if not workflow.local_exec or on_gpu(None) or sys.platform != "linux":
        return
    forked = Counter(
        environment_of(job)
        for job in workflow.dag.needrun_jobs()
        if (job.rule.shellcmd or "").startswith(STEP)
    )
    # this experiment is ours; what is there was left by one who was killed
    shutil.rmtree(PRELOADED, ignore_errors=True)
    workflow.preloaded = [
        start_server(prefix) for prefix, jobs in forked.items() if jobs > 1
    ]
    if workflow.preloaded:
        os.environ.update({step.VARIABLE: str(PRELOADED)})
        benchmark.BenchmarkTimer = BenchmarkTimer


def start_server(prefix):
    """Start the process of an environment."""
    folder = PRELOADED / step.room(prefix)
    # here, so that the first job finds it: that process takes a second to begin
    listener = fork_server.listen(folder)
    command = f"{shell_prefix()} {fork_server.command(folder, listener)}"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as for a job of one thread
    if with_conda():
        from snakemake.deployment.conda import Conda

        command = Conda().shellcmd(prefix, command)
        # as Snakemake does for such jobs
        for name in ("R_LIBS", "PYTHONPATH", "PERLLIB", "PERL5LIB"):
            environment.pop(name, None)
    # its stdin ends when this process does
    server = subprocess.Popen(
        ["bash", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        pass_fds=[listener.fileno()],
    )
    listener.close()
    return server
