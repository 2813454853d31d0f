"""The same on a GPU. Without one these are skipped; with one: pytest -m gpu -s"""

import time

import numpy as np
import pytest
import torch
from tests.runs import changed

from hebae.adam import Adam
from hebae.datasets import toyfaces
from hebae.evaluation import evaluate, normal_stream, reconstruction_of
from hebae.model import build_model
from hebae.train import ADAM_EPSILON, tqdm, train_epoch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here"),
]

OBJECTIVES = {
    "vae": {"objective": "vae", "weight": "0.001"},
    "hebae": {"objective": "hebae", "weight": "0.001"},
    "wae_mmd": {
        "objective": "wae_mmd",
        "weight": "100",
        "reconstruction_parameters": {"reduction": "sum", "factor": 0.05},
    },
}


def full_width(objective: str, **fields):
    """The paper's faces networks, as config/celeba.yaml has them."""
    return changed(
        **OBJECTIVES[objective],
        latent_dim=64,
        network="convolutional",
        network_parameters={"width": 1, "batch_norm": "frozen"},
        reconstruction="squared_error",
        batch_size=100,
        learning_rate=1e-4,
        **fields,
    )


def one_epoch(run, device: str, images: torch.Tensor):
    images = images.to(device)
    model = build_model(run, (64, 64, 3)).to(device)
    optimiser = Adam(model.parameters(), ADAM_EPSILON)
    term = reconstruction_of(run, (64, 64, 3))
    terms = train_epoch(run, model, optimiser, images, term, 0, tqdm(disable=True))
    normal = normal_stream(7, torch.device(device))
    return terms, evaluate(run, model.eval(), images, term, normal)[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_gpu_trains_what_a_cpu_trains(objective):
    """Noise comes from other generators there, so only the errors are alike, not the bits."""
    drawn, _ = toyfaces.generate(300, np.random.default_rng(0))
    run = full_width(objective)
    for cpu, gpu in zip(
        *(one_epoch(run, device, torch.from_numpy(drawn)) for device in ("cpu", "cuda")),
        strict=True,
    ):
        assert gpu.reconstruction == pytest.approx(cpu.reconstruction, rel=0.05)
        assert (gpu.posterior_kl is None) == (cpu.posterior_kl is None)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_full_width_images_a_second(precision, capsys):
    images = torch.from_numpy(toyfaces.generate(3000, np.random.default_rng(0))[0]).cuda()
    run = full_width("hebae", precision=precision)
    model = build_model(run, (64, 64, 3)).cuda()
    optimiser = Adam(model.parameters(), ADAM_EPSILON)
    term = reconstruction_of(run, (64, 64, 3))
    torch.cuda.reset_peak_memory_stats()
    for epoch in range(3):  # the first finds algorithms and fills caches
        torch.cuda.synchronize()
        started = time.perf_counter()
        terms = train_epoch(run, model, optimiser, images, term, epoch, tqdm(disable=True))
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    with capsys.disabled():
        print(
            f"\n{torch.cuda.get_device_name()}, {precision}: {3000 / seconds:.0f} images/s, "
            f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        )
    assert np.isfinite(terms.reconstruction)
