#!/usr/bin/env python3
"""Print what a report of a problem should say of this machine and this checkout.

Standard library only, and any Python from 3.8 on, so that it works where `make env` did not. Each
probe has a line and a few seconds; one that fails says so in its line. What is printed names no
user, no host and no folder of theirs.
"""

from __future__ import annotations

import getpass
import importlib.util
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SECONDS = 5.0
"""What a probe may take."""
PACKAGES = ("torch", "torchvision", "numpy", "minepy", "snakemake")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

sys.path.insert(0, str(ROOT / "src"))


# Probes: what stands behind the title of a line


def commit() -> str:
    from hebae.base import checkout

    found = checkout.commit()
    return ", ".join(filter(None, [found.commit or "unknown", found.note]))


def version() -> str:
    """The version of this package, read and not imported."""
    text = (ROOT / "src/hebae/__init__.py").read_text(encoding="utf-8")
    return re.search('__version__ = "(.+)"', text).group(1)


def system() -> str:
    libc = " ".join(platform.libc_ver()).strip()
    kernel = f"{platform.system()} {platform.release()}"
    return ", ".join(filter(None, [kernel, platform.machine(), distribution(), libc]))


def distribution() -> str:
    """The name of a Linux distribution; empty where there is none."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search('^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return found.group(1) if found else ""


def python() -> str:
    header = Path(sysconfig.get_paths()["include"], "Python.h").is_file()
    said = f"{platform.python_implementation()} {platform.python_version()}"
    return said + (", with headers" if header else ", without headers (Python.h)")


def venv() -> str:
    """Whether .venv is what the lock asks for."""
    if not VENV.exists():
        return "absent: make env"
    said = venv_python() + ", a link" * VENV.is_symlink()
    stamp = VENV / ".complete"
    if not stamp.is_file():
        return f"{said}, incomplete: make env"
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "envs/make_env.py")
    make_env = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_env)
    wanted = make_env.fingerprint(VENV.resolve())
    if stamp.read_text(encoding="utf-8") == wanted:
        return f"{said}, complete, of the present lock"
    return f"{said}, complete, of another lock, Python or place than this one: make env"


def venv_python() -> str:
    """The version of .venv's Python, without running it."""
    config = (VENV / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    found = re.search("^version *= *(.+)$", config, re.MULTILINE)
    return f"Python {found.group(1) if found else 'of an unknown version'}"


def site_packages() -> list[str]:
    """The folders of .venv's packages."""
    return [str(path) for path in sorted(VENV.glob("lib/python3*/site-packages"))]


def packages() -> str:
    found = {}
    for each in metadata.distributions(path=site_packages()):
        found.setdefault((each.metadata["Name"] or "").lower(), each.version)
    return ", ".join(f"{name} {found.get(name, 'absent')}" for name in PACKAGES)


def cuda() -> str:
    """What PyTorch was built for, read and not imported, and whether there is a GPU."""
    built = "PyTorch absent"
    for folder in site_packages():
        path = Path(folder, "torch/version.py")
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            found = re.search(r"^cuda\b[^=\n]*= *'([^']+)'", text, re.MULTILINE)
            built = f"PyTorch built for {f'CUDA {found.group(1)}' if found else 'no CUDA'}"
    query = "--query-gpu=name,driver_version,memory.total"
    return f"{built}; nvidia-smi {first_line('nvidia-smi', query, '--format=csv,noheader')}"


def processor() -> str:
    from hebae.base.cpu import has_bfloat16
    from hebae.report import origin

    bfloat16 = {True: "with", False: "without", None: "unknown whether with"}[has_bfloat16()]
    return f"{origin.processor()}, {bfloat16} instructions for bfloat16"


def cores() -> str:
    """How many cores there are, and how many of them this process may use."""
    parts = [str(os.cpu_count())]
    if hasattr(os, "sched_getaffinity"):
        parts.append(f"{len(os.sched_getaffinity(0))} usable")
    quota, period = "max", "1"
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        folder = Path("/sys/fs/cgroup/cpu")
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
        except OSError:
            pass
    if quota.strip() not in ("max", "-1"):
        parts.append(f"limited to {int(quota) / int(period):.2g}")
    return ", ".join(parts)


def memory() -> str:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parts = [gigabytes(total)]
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        free = int(re.search("MemAvailable: *([0-9]+)", text).group(1)) * 1024
        parts.append(f"{gigabytes(free)} available")
    except (OSError, AttributeError):
        pass
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if limit != "max" and int(limit) < total:
            parts.append(f"limited to {gigabytes(int(limit))}")
    return ", ".join(parts)


def gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def disk(folder: Path) -> str:
    """How much is free where a folder is, or will be; and the kind of its file system."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    closed = "" if os.access(there, os.W_OK) else ", not writable"
    said = f"{gigabytes(usage.free)} free of {gigabytes(usage.total)}"
    return f"{said}, {file_system(there.resolve())}{closed}"


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on."""
    try:
        text = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "file system unknown"
    kind, deepest = "file system unknown", ""
    for line in text.splitlines():
        place, name = line.split()[1:3]
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), place)
        inside = folder == Path(place) or Path(place) in folder.parents
        if inside and len(place) >= len(deepest):  # the last of two in one place is on top
            kind, deepest = name, place
    return kind


def first_line(*call: str) -> str:
    """The first line that a program prints; "absent" where it is not there."""
    if shutil.which(call[0]) is None:
        return "absent"
    try:
        done = subprocess.run(
            list(call),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS - 1,
        )
    except subprocess.TimeoutExpired:
        return "does not answer"
    except OSError as error:
        return f"cannot be run: {error.strerror or type(error).__name__}"
    lines = [line for line in done.stdout.splitlines() if line.strip()] or ["says nothing"]
    return lines[0].strip() + f" (exit status {done.returncode})" * (done.returncode != 0)


def programs(*names: str) -> Callable[[], str]:
    """A function that asks programs for their versions."""
    return lambda: "; ".join(
        said if name in said.lower() else f"{name} {said}"
        for name in names
        for said in [first_line(name, "--version")]
    )


def compiler() -> str:
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return first_line(name, "--version")
    return "absent (cc, gcc, clang)"


def browser() -> str:
    name = next(filter(shutil.which, BROWSERS), BROWSERS[0])
    return programs(name, "chromedriver")()


def language() -> str:
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    given = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return ", ".join([*given, f"text is {locale.getpreferredencoding(False)}"])


def variables() -> str:
    """The names of variables that are set here, and that jobs do not see."""
    from hebae.workflow.environment import NAMES, PREFIXES

    found = sorted(name for name in os.environ if name.startswith(PREFIXES) or name in NAMES)
    return ", ".join(found) or "none"


PROBES = (
    ("hebae", version),
    ("commit", commit),
    ("system", system),
    ("Python", python),
    (".venv", venv),
    ("packages", packages),
    ("CUDA", cuda),
    ("processor", processor),
    ("cores", cores),
    ("memory", memory),
    ("results/", lambda: disk(ROOT / "results")),
    ("temporary", lambda: disk(Path(tempfile.gettempdir()))),
    ("conda", programs("conda", "mamba")),
    ("SLURM", programs("sbatch")),
    ("compiler", compiler),
    ("browser", browser),
    ("git", programs("git")),
    ("locale", language),
    ("cleared", variables),
)
"""Title and probe of each line. ``cleared``: environment variables that are set, but not for
jobs."""


# From probes to lines


def answers(
    probes: Sequence[tuple[str, Callable[[], str]]], seconds: float = SECONDS
) -> list[tuple[str, str]]:
    """What each probe says; they are asked side by side, and not waited for any longer."""
    said = {}

    def ask(title: str, probe: Callable[[], str]) -> None:
        try:
            said[title] = probe()
        except BaseException as error:
            said[title] = f"unknown: {type(error).__name__}: {error}"

    threads = [threading.Thread(target=ask, args=each, daemon=True) for each in probes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        if thread.is_alive():
            seconds = 0.1  # all have had their time
    late = "unknown: it takes too long"
    return [(title, said.get(title, late)) for title, _ in probes]


def secrets() -> dict[str, str]:
    """What is printed in the place of folders and names of the user."""
    names = {str(ROOT): ".", os.path.realpath(tempfile.gettempdir()): "<temporary>"}
    for home in filter(None, (os.environ.get("HOME"), os.path.expanduser("~"))):  # noqa: PTH111
        names[home] = names[os.path.realpath(home)] = "~"
    for find in (getpass.getuser, lambda: Path.home().name):
        try:
            names[find()] = "<user>"
        except (KeyError, OSError, RuntimeError, ImportError):
            continue
    names[platform.node()] = names[platform.node().partition(".")[0]] = "<host>"
    return {name: instead for name, instead in names.items() if name.strip("/.")}


def without(text: str, names: dict[str, str]) -> str:
    """A text with names replaced, the longest first, where they stand as words."""
    for name in sorted(names, key=len, reverse=True):
        whole = r"(?<![\w])" + re.escape(name) + r"(?![\w])"
        text = re.sub(whole, lambda found, name=name: names[name], text)
    return text


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    names = secrets()
    found = ((title, " ".join(said.split())) for title, said in answers(PROBES))
    print("\n".join(f"{title:<10} {without(said, names)}" for title, said in found), flush=True)
    os._exit(0)  # at once: Python would wait for a probe that hangs


if __name__ == "__main__":
    main()
