"""Finds out, without importing PyTorch, whether this machine has a GPU for it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

AMD = Path("/dev/kfd")
"""The device of AMD's driver; PyTorch calls such GPUs cuda too."""


def why_no_cuda() -> str | None:
    """Why there is no GPU, in words; None if there is one or may be one."""
    if AMD.exists():
        return None
    try:
        driver = ctypes.CDLL("libcuda.so.1")  # as PyTorch does
    except OSError:
        return "this machine has no NVIDIA driver"
    count = ctypes.c_int(0)
    if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value:
        return None
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    because = "" if hidden is None else f", with CUDA_VISIBLE_DEVICES={hidden}"
    return f"the NVIDIA driver finds no GPU here{because}"
