"""Whether there is a GPU, as far as a process without PyTorch can tell."""

import pytest
import torch

from hebae.workflow import gpu


def test_it_says_what_pytorch_says():
    assert (gpu.why_no_cuda() is None) == torch.cuda.is_available()


def test_amds_are_let(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "AMD", tmp_path)
    assert gpu.why_no_cuda() is None


class Driver:
    """Stands in for NVIDIA's driver, and finds so many GPUs."""

    def __init__(self, count: int, status: int = 0):
        self.count, self.status = count, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, found):
        found._obj.value = self.count
        return 0


@pytest.mark.parametrize(
    ("driver", "visible", "said"),
    [
        (Driver(1), None, None),
        (Driver(0), None, "the NVIDIA driver finds no GPU here"),
        (Driver(0), "", "finds no GPU here, with CUDA_VISIBLE_DEVICES="),
        (Driver(1, status=100), None, "finds no GPU here"),  # CUDA_ERROR_NO_DEVICE
        (None, None, "this machine has no NVIDIA driver"),
    ],
)
def test_what_the_driver_says(monkeypatch, tmp_path, driver, visible, said):
    def load(name):
        if driver is None:
            raise OSError("cannot open shared object file")
        return driver

    monkeypatch.setattr(gpu, "AMD", tmp_path / "none")
    monkeypatch.setattr(gpu.ctypes, "CDLL", load)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    reason = gpu.why_no_cuda()
    assert reason is None if said is None else said in reason
