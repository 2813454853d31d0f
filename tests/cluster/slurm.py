"""A private SLURM of one node, with a pretended GPU: munged, slurmctld and slurmd on loopback.

It needs root and Debian's packages, which it installs where they are missing. It takes nothing
over: where a machine has a SLURM of its own, or has no way to get one, ``Unavailable`` says why.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.debian import Unavailable, install_missing

CPUS, MEMORY_MB = 8, 32_000
FIRST_PORT = 26817
# Where clients look without SLURM_CONF, which the executor's plugin takes from a job's
# environment. The other such place, /etc/slurm, belongs to the machine.
CONFIGURATION = Path("/run/slurm/conf")
ROOT_PREFIX = "/tmp/slurm-of-tests-"
PROGRAMS = {"munge": ["munged"], "slurm-wlm": ["slurmctld", "slurmd", "sbatch", "squeue"]}

# KillWait: between TERM and KILL. MinJobAge: jobs that ended stay visible for the whole suite.
SLURM_CONF = """\
ClusterName=hebae
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=7200
KillWait=5
DefMemPerCPU=1000
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes={host} Default=NO MaxTime=1-00:00:00 State=UP
"""


def command(*arguments: str, timeout: float = 120) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Repeat a check until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def jobs(folder: Path) -> list[dict[str, str]]:
    """What SLURM knows of the jobs submitted from a folder, in the order of submission.

    Finished ones too. Fields as ``scontrol show job`` names them; Rule and GPUs are ours.
    """
    found = []
    for line in command("scontrol", "--oneliner", "show", "job").splitlines():
        # a value may have spaces; the next name begins with a capital letter
        fields = dict(re.findall(r"([A-Z][\w/:]*)=(.*?)(?= [A-Z][\w/:]*=|$)", line))
        if fields.get("WorkDir") != str(folder):
            continue
        # "rule_NAME_wildcards_...", or for a group "rule_GROUP_RULES", with all its rules
        fields["Rule"] = fields["Comment"].removeprefix("rule_").split("_wildcards_")[0].strip()
        gpus = re.search(r"gres:gpu:(\d+)", fields.get("TresPerJob", ""))
        fields["GPUs"] = gpus[1] if gpus else "0"
        found.append(fields)
    return sorted(found, key=lambda job: int(job["JobId"]))


def live_jobs(folder: Path) -> list[str]:
    """The ids of the jobs of a folder that wait or run."""
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")
    return [job["JobId"] for job in jobs(folder) if job["JobState"] not in over]


def check_machine() -> None:
    """Find out whether a cluster can be started here."""
    if os.geteuid() != 0:
        raise Unavailable("a private SLURM needs root")
    for port in (FIRST_PORT, FIRST_PORT + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Unavailable(f"port {port} of a private SLURM: {error.strerror}") from None
    if CONFIGURATION.is_symlink() and str(CONFIGURATION.readlink()).startswith(ROOT_PREFIX):
        # of tests that were killed: nobody listens on its ports
        shutil.rmtree(CONFIGURATION.readlink().parent, ignore_errors=True)
        CONFIGURATION.unlink()
    places = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", CONFIGURATION)
    own = [place for place in map(Path, places) if place.exists() or place.is_symlink()]
    if own or "SLURM_CONF" in os.environ:
        where = own[0] if own else "SLURM_CONF is set"
        raise Unavailable(f"this machine has a SLURM of its own: {where}")
    install_missing(PROGRAMS)


def write_configuration(root: Path) -> None:
    """Everything below the cluster's own folder, and the link by which clients find it."""
    (root / "conf").mkdir()
    for folder in ("state", "spool"):
        (root / folder).mkdir()
    key = root / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    host = socket.gethostname().split(".")[0]
    # SLURM wants a device file for each GPU; this one swallows what is written to it
    gpu = root / "nvidia0"
    try:
        os.mknod(gpu, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        gpu = Path("/dev/null")
    (root / "conf/gres.conf").write_text(f"AutoDetect=off\nNodeName={host} Name=gpu File={gpu}\n")
    (root / "conf/slurm.conf").write_text(
        SLURM_CONF.format(
            host=host,
            root=root,
            controller_port=FIRST_PORT,
            node_port=FIRST_PORT + 1,
            cpus=CPUS,
            memory=MEMORY_MB,
        )
    )
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.symlink_to(root / "conf")


def is_up() -> bool:
    """Whether the node takes jobs."""
    done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True)
    return done.stdout.split()[:1] == ["idle"]


def bring_up(root: Path, daemons: list[subprocess.Popen]) -> None:
    """Start munged, slurmctld and slurmd, in the foreground.

    Each is then a child that we can end. They end with this process, however it ends.
    """

    def start(program: str, *arguments: str) -> None:
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        with (root / f"{program}.out").open("w") as out:
            daemons.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", path, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    cwd=root,
                )
            )

    write_configuration(root)
    munge = root / "munge.socket"
    start(
        "munged", "--foreground", f"--key-file={root}/munge.key", f"--socket={munge}",
        f"--pid-file={root}/munged.pid", f"--seed-file={root}/munged.seed",
        f"--log-file={root}/munged.log",
    )  # fmt: skip
    wait_until(munge.is_socket, "munged")
    start("slurmctld", "-D", "-c", "-f", f"{root}/conf/slurm.conf")
    start("slurmd", "-D", "-c", "-f", f"{root}/conf/slurm.conf")
    wait_until(is_up, "the node of a private SLURM")


def take_down(root: Path, daemons: list[subprocess.Popen]) -> None:
    """End what was started, and leave nothing behind."""
    with contextlib.suppress(RuntimeError, TimeoutError, subprocess.TimeoutExpired):
        # what a failed test has left running, while there are daemons to end it
        if len(daemons) == 3:
            command("scancel", "--user=root")
            wait_until(lambda: not command("squeue", "-h"), "the end of all jobs", 20)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    if CONFIGURATION.is_symlink() and CONFIGURATION.readlink() == root / "conf":
        CONFIGURATION.unlink()
        with contextlib.suppress(OSError):
            CONFIGURATION.parent.rmdir()
    shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """The cluster, up while the context lasts.

    Raises:
        Unavailable: where it cannot be, or should not be, brought up.
    """
    check_machine()
    # not pytest's: munged wants a path that anyone may enter, SLURM one without spaces
    root = Path(tempfile.mkdtemp(prefix=Path(ROOT_PREFIX).name, dir="/tmp"))
    root.chmod(0o755)
    daemons: list[subprocess.Popen] = []
    try:
        try:
            bring_up(root, daemons)
        except TimeoutError as error:
            logs = [*root.glob("*.log"), *root.glob("*.out")]
            tails = "".join(path.read_text()[-2000:] for path in logs)
            raise RuntimeError(f"{error}\n{tails}") from None
        yield
    finally:
        take_down(root, daemons)
