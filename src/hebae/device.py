"""What a step computes on."""

from __future__ import annotations

import os

import torch

from hebae.errors import UserError


def set_up(name: str, threads: int) -> torch.device:
    """The device of that name, with everything set that results depend on.

    ``auto`` is CUDA where there is one. There, algorithms that add in no fixed order are
    avoided, and convolutions are not rounded to TF32: float32 means float32.

    Raises:
        UserError: for ``cuda`` where there is none.
    """
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
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)
