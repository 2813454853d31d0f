"""What a step sets for its whole process."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.runs import changed

from hebae.base import cpu, device
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.training import record, train
from hebae.training.finished import of_run

FAULTS = """
import resource, torch
from hebae.base.device import set_up
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
    code = "import torch; from hebae.base.device import set_up; set_up('cpu', 1)"
    code += "; print((torch.full((64,), 1e-39) * 1).sum().item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", None])
def test_auto_is_bfloat16_where_the_processor_has_it(instructions, monkeypatch):
    cpu = torch.device("cpu")
    device.has_bfloat16.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, instructions: True})
    try:
        expected = "float32" if instructions is None else "bfloat16"
        assert device.computed("auto", cpu) == expected
        assert device.computed("bfloat16", cpu) == "bfloat16"
        assert device.computed("tf32", cpu) == "tf32"
    finally:
        device.has_bfloat16.cache_clear()


def test_what_a_checkpoint_continues_was_computed_in_the_same_precision(monkeypatch):
    run = changed(precision="auto")
    keys = set()
    for native in (True, False):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, native=native: native)
        decides = of_run(run, "", record.machine(torch.device("cpu")))
        keys.add(record.checkpoint_key(decides))
    assert len(keys) == 2


@pytest.mark.parametrize("native", [True, False])
def test_slow_bfloat16_is_said_so(native, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "has_bfloat16", lambda _: native)
    write_prepared("digits", digits.load(Path()), tmp_path / "data")
    run = changed(precision="bfloat16", epochs=1)
    places = ["--data", tmp_path / "data", "--output", tmp_path, "--checkpoints", tmp_path / "c"]
    train.main(["--run", run.to_json(), *map(str, places)])
    assert ("bfloat16 is slow here" in capsys.readouterr().err) != native


def test_what_a_plan_knows_of_the_processor_is_what_a_training_finds():
    if cpu.has_bfloat16() is None:
        pytest.skip("this system does not say what its processor can do")
    device.has_bfloat16.cache_clear()
    assert cpu.has_bfloat16() == device.has_bfloat16(torch.device("cpu"))
