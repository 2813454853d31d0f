#!/usr/bin/env python3
"""Build `.venv` from requirements.lock: the environment of `make figures` and `make test`.

With ``--into``, install some of the lock into an environment that conda has made: *.post-deploy.sh
call it so.

Standard library only, so that any Python 3.11 or newer can run it:

1. a fresh virtual environment (never a half-built old one);
2. uv, at the version and hash the lock names;
3. everything in the lock but minepy, installed by uv (by pip where uv fails,
   for instance because an index is configured for pip alone);
4. minepy 1.2.6, whose source distribution cannot be installed as it is: its
   generated C predates Python 3.11 and its setup.py needs pkg_resources. The
   archive is checked against the lock's hash, Cython translates its `mine.pyx`
   anew, and setuptools < 80 builds it without isolation;
5. this package, editable.

A stamp is written last, so an interrupted build is started over, and a finished one is left
alone for as long as the lock, this file, the Python and the place stay what they were.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"


def fail(message: str) -> None:
    sys.exit(f"make env: {message}")


def requirement_blocks(lock: str) -> dict[str, str]:
    """Split a pip lock file into {package name: its lines with hashes}."""
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        if match := re.match(r"([A-Za-z0-9._-]+)==", block):
            # one package may stand several times, under different markers
            blocks[match[1]] = blocks.get(match[1], "") + block.rstrip() + "\n"
    return blocks


def fingerprint(venv: Path) -> str:
    """What a finished environment depends on; it cannot be moved, nor change its Python."""
    where = f"{venv} {ROOT} {sys.version_info[:2]}".encode()
    return hashlib.sha256(LOCK.read_bytes() + Path(__file__).read_bytes() + where).hexdigest()


def check_link(venv: Path) -> None:
    """A new environment begins with an empty folder. What a link leads to may be anything."""
    target = venv.resolve()
    if venv.is_symlink() and target.exists() and (target.is_file() or any(target.iterdir())):
        fail(
            f"{venv.name} is a link to {target}, which would be erased; empty that folder "
            f"yourself, or remove the link: rm {shlex.quote(str(venv))}"
        )


def check_machine() -> None:
    """Everything that would fail after gigabytes of download fails here instead."""
    # tarfile's safe extraction came with 3.11.4, and into some older ones
    if sys.version_info < (3, 11) or not hasattr(tarfile, "data_filter"):
        fail(
            f"Python 3.11.4 or newer is needed, this is {sys.version.split()[0]} "
            f"({sys.executable}); name another one with: make env PYTHON=python3.12"
        )
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        fail("this Python has no ensurepip; on Debian and Ubuntu: apt install python3-venv")
    configured = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
    candidates = [*shlex.split(configured)[:1], "cc", "gcc", "clang"]
    if not any(shutil.which(name) for name in candidates):
        fail(
            f"no C compiler found (looked for {', '.join(dict.fromkeys(candidates))}), and minepy "
            "has to be compiled; on Debian and Ubuntu: apt install build-essential python3-dev, "
            "on macOS: xcode-select --install"
        )
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        fail(
            f"the Python headers are missing ({header}), and minepy has to be compiled; "
            "on Debian and Ubuntu: apt install python3-dev"
        )


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command; the exception of one that fails has its output."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)


def step(number: int, what: str) -> None:
    print(f"[{number}/5] {what}", flush=True)


def install_minepy(python: Path, block: str, work: Path) -> None:
    requirement = work / "minepy.lock"
    requirement.write_text(block, encoding="utf-8")
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "minepy",
        "--no-build-isolation", "--require-hashes", "-r", requirement, "-d", work)  # fmt: skip
    (archive,) = work.glob("minepy-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    source = archive.with_name(archive.name.removesuffix(".tar.gz"))
    run(python, "-m", "cython", "-3", source / "minepy" / "mine.pyx")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-cache-dir", source)  # fmt: skip


def digest(blocks: dict[str, str], names: list[str]) -> str:
    """What the lock has of some packages: versions and files."""
    return hashlib.sha256("".join(blocks.get(name, "") for name in names).encode()).hexdigest()


def ignore_users_pip() -> None:
    """Have pip install into the Python that runs it, whatever a user has set for other occasions.

    Where it looks for packages is left as it is: their hashes are checked.
    """
    kept = re.compile(
        "PIP_(.*INDEX.*|FIND_LINKS|CONFIG_FILE|CACHE_DIR|NO_CACHE_DIR|CERT|CLIENT_CERT|PROXY"
        "|TRUSTED_HOST|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER)"
    )
    for name in list(os.environ):
        if name.startswith(("PIP_", "PYTHON")) and not kept.fullmatch(name):
            del os.environ[name]
    os.environ["PYTHONNOUSERSITE"] = "1"
    # over a pip.conf; the last is for an environment that is marked as conda's alone (PEP 668)
    os.environ |= {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0", "PIP_BREAK_SYSTEM_PACKAGES": "1"}


def add_to_conda(prefix: Path, wanted: str, names: list[str]) -> None:
    """Install some of the lock into an environment that has a Python and pip.

    Args:
        prefix: of the environment.
        wanted: the :func:`digest` of these packages when the script that asks was written.
        names: all of the packages, with what they depend on.
    """
    blocks = requirement_blocks(LOCK.read_text(encoding="utf-8"))
    if digest(blocks, names) != wanted:
        sys.exit(
            "error: envs/*.post-deploy.sh were not written for this requirements.lock; make lock "
            "writes both"
        )
    ignore_users_pip()
    try:
        _install(prefix, blocks, names)
    except subprocess.CalledProcessError as error:
        said = error.output.strip().splitlines() or ["nothing was said"]
        sys.stderr.write("\n".join(said[-15:]) + "\n")
        sys.exit(
            f"error: packages of requirements.lock could not be installed: {said[-1]}; "
            "envs/README.md says what to do where no package index can be reached"
        )


def _install(prefix: Path, blocks: dict[str, str], names: list[str]) -> None:
    python = prefix / "bin" / "python"
    # in the environment, with which it goes where Snakemake kills this
    with tempfile.TemporaryDirectory(prefix="make-env-", dir=prefix) as temporary:
        work = Path(temporary)
        (work / "uv.lock").write_text(blocks["uv"], encoding="utf-8")
        wheels = work / "requirements.lock"
        rest = "".join(blocks[name] for name in names if name != "minepy")
        wheels.write_text(rest, encoding="utf-8")
        locked = ["--require-hashes", "--no-deps", "-r", wheels]
        try:
            run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps",
                "--target", work / "uv", "-r", work / "uv.lock")  # fmt: skip
            # its cache was filled by make env: files are linked, not copied
            run(work / "uv/bin/uv", "pip", "install", "--python", python, "--break-system-packages",
                "--compile-bytecode", *locked, env={"UV_HTTP_TIMEOUT": "180"})  # fmt: skip
        except (subprocess.CalledProcessError, OSError):
            run(python, "-m", "pip", "install", "--quiet", *locked)
        if "minepy" in names:
            install_minepy(python, blocks["minepy"], work)
    run(python, "-m", "pip", "check")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--into", type=Path, metavar="PREFIX", help="a conda environment instead")
    parser.add_argument("--lock", metavar="DIGEST", help="what the lock has of these packages")
    parser.add_argument("packages", nargs="*", metavar="NAME", help="what to add to it")
    options = parser.parse_args()
    if options.into:
        add_to_conda(options.into.resolve(), options.lock, options.packages)
        return
    given = options.venv
    venv = given.resolve()
    stamp = venv / ".complete"
    wanted = fingerprint(venv)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        print(f"environment is up to date ({venv.name})")
        return
    check_link(given)
    check_machine()
    blocks = requirement_blocks(LOCK.read_text(encoding="utf-8"))

    step(1, f"new virtual environment in {venv} (Python {sys.version.split()[0]})")
    run(sys.executable, "-m", "venv", "--clear", venv)
    python = venv / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="make-env-") as temporary:
        work = Path(temporary)
        step(2, "uv")
        (work / "uv.lock").write_text(blocks["uv"], encoding="utf-8")
        run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", work / "uv.lock")

        step(3, f"{len(blocks) - 2} locked packages (several GB the first time, PyTorch included)")
        others = work / "requirements.lock"
        rest = "".join(blocks[name] for name in blocks if name != "minepy")
        others.write_text(rest, encoding="utf-8")
        # the lock is complete, and leaves out what pyproject.toml overrides
        locked = ["--require-hashes", "--no-deps", "-r", others]
        try:
            # compiled now: importing PyTorch from source costs each job another second
            run(venv / "bin" / "uv", "pip", "install", "--python", python, "--compile-bytecode",
                *locked, env={"UV_HTTP_TIMEOUT": "180"})  # fmt: skip
        except subprocess.CalledProcessError as error:
            sys.stderr.write(error.output[-6000:])
            print("      uv could not install them; trying pip, which is slower", flush=True)
            run(python, "-m", "pip", "install", "--quiet", *locked)

        step(4, "minepy, built from its checked source")
        install_minepy(python, blocks["minepy"], work)
    step(5, "this package")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--editable", ROOT)  # fmt: skip
    modules = "hebae, matplotlib, minepy, pandas, pytorch_fid, snakemake, torch, torchvision"
    run(python, "-c", f"import {modules}")
    stamp.write_text(wanted, encoding="utf-8")
    print("environment ready", flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.output[-6000:])
        command = shlex.join(str(word) for word in error.cmd)
        fail(f"this command failed, its output is above: {command}")
    except KeyboardInterrupt:
        fail("interrupted; run it again to start over")
