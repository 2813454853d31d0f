"""What a step sets for its whole process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from hebae.device import set_up
set_up("cpu", 1)
def pages():
    torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = pages()
print(pages() - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is glibc's memory")
def test_freed_memory_is_there_for_the_next_tensor():
    """In pages of 4 KB the 64 MB here would be 16,384 of them, taken anew."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100


def test_subnormal_numbers_count_as_zero():
    code = "import torch; from hebae.device import set_up; set_up('cpu', 1)"
    code += "; print((torch.full((64,), 1e-39) * 1).sum().item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0
