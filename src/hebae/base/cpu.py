"""What this machine's processor can do, found without PyTorch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Processor flags, as Linux and PyTorch name them. Any of them stands for bfloat16 products."""


@cache
def has_bfloat16() -> bool | None:
    """Whether the processor has such instructions; None where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not BFLOAT16.isdisjoint(flags.split())
    return None
