"""Random streams, each named by what it is for.

A stream depends on (seed, purpose, epoch) and on nothing that happened before. A resumed
training therefore draws what the uninterrupted one would have drawn, and a measure can be
repeated by itself.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed for ``torch.Generator.manual_seed`` or ``numpy.random.default_rng``.

    Hashing keeps the streams of neighbouring seeds and epochs unrelated.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
