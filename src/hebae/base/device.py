"""The device that a step computes on, and its settings."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

import torch

from hebae.base.cpu import BFLOAT16
from hebae.base.errors import UserError

# of malloc.h and sys/mman.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
MADV_HUGEPAGE = 14

RESERVED = 1 << 30  # bytes that the heap may grow by in huge pages


def set_up(name: str, threads: int, precision: str = "float32") -> torch.device:
    """The device of that name, with everything set that results depend on.

    ``auto`` is CUDA if there is a CUDA device, and the CPU otherwise. On CUDA, algorithms that add
    in no fixed order are avoided. Products are rounded to TF32 only for the precision ``tf32``:
    float32 means float32.

    Raises:
        UserError: for ``cuda`` if there is no CUDA device.
    """
    # Set before any thread is started, because threads inherit it. Adam's moments of a unit that is
    # never active decay below float32's normal range. A CPU is ten times slower with such numbers,
    # so they count as 0.
    torch.set_flush_denormal(True)
    settle_memory()
    torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise UserError("device: cuda was asked for, but PyTorch sees no CUDA device here")
        # cuBLAS wants the variable before its first call. On a CPU every operation we use is
        # deterministic, and the switch alone would cost a second of imports.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return torch.device(name)


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bfloat16.

    Without them PyTorch computes in bfloat16 too, but on a CPU many times slower than in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in BFLOAT16)


def computed(precision: str, device: torch.device) -> str:
    """The precision in which networks run on a device; ``auto`` is resolved."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def settle_memory() -> None:
    """Let glibc keep the memory that a step frees for the next step, in huge pages.

    By default glibc returns large tensors to the system at once, and gets them again page by page
    in every step. Only address space is reserved here; memory is taken when it is written to. With
    another C library this does nothing.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return  # not glibc
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.malloc.argtypes = libc.free.argtypes = [ctypes.c_size_t]
    libc.malloc.restype = ctypes.c_size_t
    libc.madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    libc.free(libc.malloc(RESERVED))
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.endswith("[heap]"):
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            libc.madvise(start, end - start, MADV_HUGEPAGE)
