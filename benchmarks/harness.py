"""What the benchmarks share: sides measured in turn, processes begun together, tables, figures.

A *side* is what is compared (ours, a peer, a floor), a *case* what it is compared on. Sides are
measured in turn, A B A B, so that a machine whose speed drifts slows all of them; ratios are
taken within a turn, and the median over turns is quoted, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "performance"
COLUMNS = ["case", "side", "turn", "value", "unit"]


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code: processor, memory, system, versions."""
    processor, flags = platform.processor(), set()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                processor = value.strip()
            if key.strip() == "flags":
                flags = set(value.split())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor,
        "instructions": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "numpy", "snakemake")},
    }


def precisions() -> list[str]:
    """What is worth training in on this processor: PyTorch emulates bfloat16, slowly, elsewhere."""
    import torch

    from hebae.base.device import has_bfloat16

    return ["float32", "bfloat16"] if has_bfloat16(torch.device("cpu")) else ["float32"]


def wait_for_start() -> None:
    """In a measured process: everything is loaded and warm; begin with the others."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody is left to say when to begin")


def together(
    command: Sequence[str], copies: int = 1, environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run copies of a Python program side by side: what each printed last, a line of JSON.

    ``command`` is what follows ``python``. The program calls :func:`wait_for_start` when it is
    ready, and then measures. Its errors go to our stderr.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )
        for _ in range(copies)
    ]
    try:
        for process in processes:
            for line in process.stdout:
                if line.strip() == "ready":
                    break
        for process in processes:
            try:
                process.stdin.write("begin\n")
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended already; its status says so below
        printed = [process.stdout.read() for process in processes]
        for process in processes:
            if process.wait():
                sys.exit(f"a measured process failed: {' '.join(map(str, command))}")
    finally:
        for process in processes:
            process.kill()
    return [json.loads(text.strip().splitlines()[-1]) for text in printed]


def in_turn(
    case: str, sides: Mapping[str, Callable[[], float]], turns: int, unit: str
) -> list[dict[str, Any]]:
    """Measure the sides of a case, one after the other, `turns` times: rows of a table."""
    rows = []
    for turn in range(turns):
        for side, measure in sides.items():
            row = dict(case=case, side=side, turn=turn, value=measure(), unit=unit)
            print(f"{case}  {side}  {row['value']:.5g} {unit}", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def ratios(table: pd.DataFrame, case: str, side: str, against: str) -> pd.Series:
    """value of a side / value of another, turn by turn."""
    values = table[table.case == case].pivot(index="turn", columns="side", values="value")
    return values[side] / values[against]


def spread(values: pd.Series, digits: int = 3) -> str:
    """median (smallest to largest), as it stands in a document."""
    low, middle, high = (f"{v:.{digits}g}" for v in (values.min(), values.median(), values.max()))
    return f"{middle} ({low} to {high})"


def command_line(description: str | None, turns: int = 5) -> argparse.ArgumentParser:
    """The parser that every benchmark starts from."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=turns, help=f"default: {turns}")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for CSV and figure")
    return parser


def save(name: str, rows: Iterable[Mapping[str, Any]], folder: Path) -> pd.DataFrame:
    """Write ``<name>.csv``, and ``<name>.json`` with the machine; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    (folder / f"{name}.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
    return table


def draw(name: str, table: pd.DataFrame, folder: Path) -> None:
    """``<name>.png``: a panel a case, a bar a side at the median, a point a turn."""
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(table.case))
    figure = Figure(figsize=(7, 0.6 + 1.5 * len(cases)), layout="constrained", dpi=120)
    for case, axes in zip(cases, figure.subplots(len(cases), squeeze=False)[:, 0], strict=True):
        rows = table[table.case == case]
        medians = rows.groupby("side", sort=False).value.median()
        axes.barh(medians.index, medians, color="#9fb8cc", height=0.6)
        axes.plot(rows.value, rows.side, "o", color="#20323f", markersize=3)
        axes.invert_yaxis()
        axes.set(title=case, xlabel=rows.unit.iloc[0], ylabel="")
        axes.title.set_fontsize("medium")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
    figure.savefig(folder / f"{name}.png")
