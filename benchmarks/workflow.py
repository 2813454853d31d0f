"""What the workflow costs beside its work: the demo's time, and dry runs of large sweeps.

**The demo** (config/demo.yaml, ``snakemake --cores 2``) runs in a copy of the checkout. Its core
time, cores × wall time of the command, is divided into

* ``training and measuring``: seconds in the ``main`` of train, classifier, reference, encode,
  images, bounds, measure, diagnostics and fid,
  less what ``main`` spends on importing modules there. Summed over jobs: each is one thread, one
  core.
* ``other steps``: the same of prepare, collect and the figures.
* ``starting processes``: from a step's fork to its ``main``, and the imports inside it.
* ``Snakemake``: processor time of everything else, most of it Snakemake's own.
* ``idle``: what is left. Processes that wait for a core are not told apart from those that
  have one, so work beside Snakemake's own on a full machine makes this smaller, or negative.

What is not training and measuring is the overhead, in percent of all core time. On a machine
that has other work, waiting for a core makes each step look longer and the overhead smaller:
then look at the overhead of processor time, which is what training and measuring did not take
of the processor time of all processes. It knows no idle cores.

The copy's ``hebae.base.errors`` has lines after its end that note these times; no step's code
counts that module among its sources, and all steps enter through it.

**The dry runs** are ``snakemake -n`` of generated sweeps, nothing made before: VAE and HEBAE on
digits over latent dimensions × weights × seeds. One run in ten is at the default weight, and is
encoded and measured; one a model has images; the rest is trained only, as in
config/mnist.yaml; all tables and four figures.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks import harness

PROJECT = ("Snakefile", "config", "envs", "profiles", "src", "workflow")
WORK = (
    "training.train",
    "measures.fid.features.classifier",
    "measures.fid.reference",
    "codes.encode",
    "codes.images",
    "measures.bounds",
    "measures.measure",
    "measures.diagnostics",
    "measures.fid.fid",
)
"""The modules whose ``main`` is training and measuring, below ``hebae``."""

# Linux: a process's start is in ticks since the machine's, as CLOCK_BOOTTIME is in seconds.
PROBE = """

def _probed(command):
    import importlib._bootstrap as bootstrap, json, os, sys, time

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    find, nested = bootstrap._find_and_load, 0
    imports = [0.0, 0.0]

    def find_and_load(name, import_):
        nonlocal nested
        nested += 1
        wall, cpu = now(), time.process_time()
        try:
            return find(name, import_)
        finally:
            nested -= 1
            if not nested:
                imports[0] += now() - wall
                imports[1] += time.process_time() - cpu

    def measured(main):
        fields = open("/proc/self/stat").read().rpartition(")")[2].split()
        start = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        begin, begin_cpu = now(), time.process_time()
        bootstrap._find_and_load = find_and_load
        try:
            command(main)
        finally:
            end, end_cpu = now(), time.process_time()
            line = json.dumps(dict(
                step=sys.modules["__main__"].__spec__.name, process=os.getpid(), start=start,
                begin=begin, end=end, cpu_before=begin_cpu, cpu=end_cpu - begin_cpu,
                imports=imports[0], cpu_imports=imports[1],
            ))
            with open(os.environ["HEBAE_PROBE"], "a") as log:
                log.write(line + "\\n")

    return measured


command = _probed(command)
"""


def copy_checkout(folder: Path) -> None:
    """The files of this checkout that a workflow needs, without its results."""
    for name in PROJECT:
        source = harness.ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)


@dataclass(frozen=True)
class Usage:
    """Of a command and all its processes: seconds, seconds of processors, peak resident bytes."""

    wall: float
    cpu: float
    peak: int


def adopt() -> None:
    """Become the parent of our children's children whose parents end before them."""
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def adopted() -> float:
    """Wait for such children: the seconds of processors that they took, and theirs."""
    seconds = 0.0
    with suppress(ChildProcessError):
        while True:
            _, _, usage = os.wait3(0)
            seconds += usage.ru_utime + usage.ru_stime
    return seconds


def run(folder: Path, *arguments: str, **environment: str) -> tuple[Usage, str]:
    """``snakemake …`` in a folder: what it took, and what it printed to stdout."""
    # it makes each process compile what it imports of ours
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            stdout=output,
            stderr=errors,
            env={**kept, **environment},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        cpu = usage.ru_utime + usage.ru_stime + adopted()
        output.seek(0)
        errors.seek(0)
        if status:
            sys.exit(f"snakemake {' '.join(arguments)} failed: {errors.read()[-3000:]}")
        return Usage(wall, cpu, usage.ru_maxrss * 1024), output.read()


def demo(cores: int, *arguments: str) -> tuple[Usage, pd.DataFrame]:
    """The demo, from nothing: what all of it took, and a row for each step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        errors = folder / "src/hebae/base/errors.py"
        errors.write_text(errors.read_text(encoding="utf-8") + PROBE, encoding="utf-8")
        log = folder / "probe.jsonl"
        usage, _ = run(folder, "--cores", str(cores), *arguments, HEBAE_PROBE=str(log))
        return usage, pd.DataFrame(
            json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()
        )


def split(usage: Usage, steps: pd.DataFrame, cores: int) -> dict[str, float]:
    """Percent of core time, by what it went to (see the module)."""
    name = steps.step.str.removeprefix("hebae.")
    work = name.isin(WORK)
    inside = steps.end - steps.begin - steps.imports
    starting = steps.begin - steps.start + steps.imports
    snakemake = usage.cpu - (steps.cpu_before + steps.cpu).sum()
    parts = {
        "training and measuring": inside[work].sum(),
        "other steps": inside[~work].sum(),
        "starting processes": starting.sum(),
        "Snakemake": snakemake,
    }
    total = cores * usage.wall
    parts["idle"] = total - sum(parts.values())
    parts["overhead"] = total - parts["training and measuring"]
    percent = {part: 100 * seconds / total for part, seconds in parts.items()}
    useful = (steps.cpu - steps.cpu_imports)[work].sum()
    return percent | {"overhead, of processor time": 100 * (1 - useful / usage.cpu)}


def demo_rows(cores: int) -> list[dict[str, Any]]:
    """Rows of one run of the demo."""
    usage, steps = demo(cores)
    case = f"demo: core time, {cores} cores ({len(steps)} jobs)"
    parts = split(usage, steps, cores)
    rows = [dict(case=case, side=side, value=value, unit="%") for side, value in parts.items()]
    return [*rows, dict(case="demo: wall time", side="seconds", value=usage.wall, unit="s")]


# latent dimensions, weights and seeds of two models
SWEEPS = {100: (1, 10, 5), 1_000: (5, 10, 10), 10_000: (10, 10, 50)}


def sweep(n_latent_dims: int, n_weights: int, n_seeds: int) -> dict[str, Any]:
    """The config of a sweep."""
    weights = {"weight": 1, "weights": [2.0**i for i in range(n_weights)]}
    latent_dims = list(range(2, 2 + n_latent_dims))
    return {
        "experiment": "sweep",
        "seeds": list(range(n_seeds)),
        "models": {"VAE": {"objective": "vae"}, "HEBAE": {"objective": "hebae"}},
        "datasets": {
            "digits": {
                "network": {"name": "dense", "encoder_widths": [32], "decoder_widths": [32]},
                "latent_dims": latent_dims,
                "training": {"epochs": 2},
                "models": {"VAE": weights, "HEBAE": weights},
            }
        },
        "figures": dict.fromkeys(("fig1a", "fig2a", "fig2c", "appendix_c"), "digits"),
    }


def dry_run(runs: int) -> list[dict[str, Any]]:
    """Rows of a dry run of a sweep of so many runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep(*SWEEPS[runs])), encoding="utf-8")
        usage, printed = run(folder, "-n", "--configfile", "sweep.yaml")
    jobs = dict(
        line.split() for line in printed.splitlines() if line.startswith(("train ", "total "))
    )
    if int(jobs["train"]) != runs:
        sys.exit(f"the sweep of {runs} has {jobs['train']} runs")
    side = f"{runs:,} runs ({int(jobs['total']):,} jobs)"
    return [
        dict(case="dry run: seconds", side=side, value=usage.wall, unit="s"),
        dict(case="dry run: peak memory", side=side, value=usage.peak / 1e6, unit="MB"),
    ]


def main() -> None:
    parser = harness.command_line(__doc__, turns=1)
    parser.add_argument("--cores", type=int, default=2, help="of the demo (default: 2)")
    parser.add_argument(
        "--only", choices=("demo", "dry-runs"), help="measure this, keep the rest of the table"
    )
    options = parser.parse_args()
    adopt()
    rows = []
    for turn in range(options.turns):
        measured = []
        if options.only != "dry-runs":
            measured += demo_rows(options.cores)
        if options.only != "demo":
            measured += [row for runs in SWEEPS for row in dry_run(runs)]
        rows += [dict(turn=turn) | row for row in measured]
        for row in measured:
            print("{case}  {side}  {value:.4g} {unit}".format(**row), file=sys.stderr, flush=True)
    cases = {row["case"].split()[0] for row in rows}
    path = options.output / "workflow.csv"
    if path.exists():
        kept = pd.read_csv(path)
        rows += kept[~kept.case.str.split().str[0].isin(cases)].to_dict("records")
    rows.sort(key=lambda row: not row["case"].startswith("demo"))
    rows = [{column: row[column] for column in harness.COLUMNS} for row in rows]
    table = harness.save("workflow", rows, options.output)
    harness.draw("workflow", table, options.output)


if __name__ == "__main__":
    main()
