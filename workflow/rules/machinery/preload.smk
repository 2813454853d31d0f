# Where jobs run on this machine's cores, those that need PyTorch are forked from one process that
# has imported it (hebae.workflow.fork_server). Else each takes 2 s of a core to begin and end.

import subprocess

import psutil
from snakemake import benchmark

from hebae.workflow import fork_server

STEP = "python -m hebae.workflow.step "  # how the commands of such jobs begin


class Observed(psutil.Process):
    """A job's process, of which those count as children that were forked for them elsewhere."""

    def children(self, recursive=False):
        folder, _ = workflow.preloaded
        children = super().children(recursive)
        for process in tuple(children):
            try:
                number = Path(folder, str(process.pid)).read_text(encoding="utf-8")
                children.append(psutil.Process(int(number)))
            except (OSError, ValueError, psutil.Error):
                continue  # not handed over, or over
        return children


class BenchmarkTimer(benchmark.BenchmarkTimer):
    """Snakemake's, which looks at the children of a job's process."""

    def __init__(self, pid, *arguments, **options):
        super().__init__(pid, *arguments, **options)
        self.main = Observed(pid)


def preload():
    """Start that process, which ends with this one."""
    forked = sum(
        (job.rule.shellcmd or "").startswith(STEP)
        for job in workflow.dag.needrun_jobs()
    )
    here = workflow.local_exec and not with_conda() and not on_gpu(None)
    if forked < 2 or not here or sys.platform != "linux":
        return
    # this experiment is ours; what is there was left by one who was killed
    folder = Path(".snakemake/preloaded", EXPERIMENT.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # here, so that the first job finds it: that process takes a second to begin
    listener = fork_server.listen(folder)
    server = "python -m hebae.workflow.fork_server"
    command = (
        f"{shell_prefix()} exec {server} {shlex.quote(str(folder))} {listener.fileno()}"
    )
    # its stdin ends when this process does
    workflow.preloaded = folder, subprocess.Popen(
        ["bash", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as for a job of one thread
        pass_fds=[listener.fileno()],
    )
    listener.close()
    os.environ.update(HEBAE_PRELOADED=str(folder / "socket"))
    benchmark.BenchmarkTimer = BenchmarkTimer
