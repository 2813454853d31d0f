"""The same on a GPU. Without one these are skipped; with one: pytest -m gpu -s

The full networks take a prepared dataset of faces from the folder that HEBAE_FACES names, and
drawn faces without it.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.runs import changed, silent

from hebae.base.device import set_up
from hebae.codes import encode, images
from hebae.config.fields import to_json
from hebae.config.protocols import Fid, Panels, RealImages
from hebae.config.registry import DIVERGENCES
from hebae.data import digits, toyfaces
from hebae.data.prepare import write_prepared
from hebae.data.store import load_prepared
from hebae.measures.fid import fid, reference
from hebae.measures.fid.features import classifier
from hebae.models.autoencoder import Autoencoder
from hebae.training import train
from hebae.training.checkpoint import Checkpoints
from hebae.training.loop import Single, train_epoch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here"),
]

FACE = (64, 64, 3)
OBJECTIVES = {
    "vae": {"objective": "vae", "lam": 0.001},
    "hebae": {"objective": "hebae", "lam": 0.001},
    "wae_mmd": {
        "objective": "wae_mmd",
        "lam": 100.0,
        "reconstruction_parameters": {"reduction": "sum", "factor": 0.05},
    },
    **{
        name: {
            "objective": "infovae",
            "lam": 1.0,
            "parameters": {"alpha": 0.5, "divergence": {"name": name}},
        }
        for name in DIVERGENCES
    },
}
AUTOREGRESSIVE = {
    **OBJECTIVES["adversarial"],
    "network": "pixelcnn",
    "network_parameters": {
        "encoder_widths": [16],
        "decoder_widths": [16],
        "channels": 4,
        "layers": 2,
    },
    "reconstruction": "binary",
}


def faces_run(objective: str, width: float, **fields):
    """The paper's faces networks, as config/celeba.yaml has them."""
    fields = {"latent_dim": 64, "batch_size": 100, "learning_rate": 1e-4, **fields}
    return changed(
        **OBJECTIVES[objective],
        network="convolutional",
        network_parameters={"width": width, "batch_norm": "frozen"},
        reconstruction="squared_error",
        **fields,
    )


def one_step(run, device: torch.device, batch: np.ndarray):
    """Loss, codes and gradients of one step, with noise that is the same on every device."""
    model = Autoencoder(run, FACE).to(device).train()
    images = torch.from_numpy(batch).to(device)
    noise = torch.randn(len(batch), run.latent_dim, generator=torch.Generator().manual_seed(0))
    loss, terms, adversary_loss = model(images, lambda like: noise.to(like), run.lam)
    loss.backward()
    if adversary_loss is not None:
        adversary_loss.backward()
    tensors = {"loss": loss, "terms": terms}
    tensors |= {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_is_the_cpus(objective):
    drawn, _ = toyfaces.generate(32, np.random.default_rng(0))
    run = faces_run(objective, width=0.25, latent_dim=8, batch_size=32)
    expected, found = (one_step(run, set_up(name, 1), drawn) for name in ("cpu", "cuda"))
    for name, tensor in expected.items():
        scale = float(tensor.abs().max())
        torch.testing.assert_close(found[name], tensor, rtol=1e-2, atol=1e-3 * scale, msg=name)


def call(module, *arguments) -> None:
    module.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "fields", [{}, AUTOREGRESSIVE, {**AUTOREGRESSIVE, "precision": "bfloat16"}]
)
def test_every_step_runs_and_a_stopped_training_is_the_whole_one(fields, tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_prepared("digits", digits.load(Path()), data)
    run = changed(**{"epochs": 4, "latent_dim": 3, **fields})

    def train_into(folder: Path) -> bytes:
        call(
            train, "--run", run.to_json(), "--data", data, "--output", folder, "--checkpoints",
            folder / "checkpoints", "--checkpoint-seconds", 0, "--device", "cuda",
        )  # fmt: skip
        return (folder / "weights.pt").read_bytes()

    whole = train_into(tmp_path / "whole")
    offer = Checkpoints.offer

    def stop(self, state):
        offer(self, state)
        if state["epoch"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "offer", stop)
    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path / "stopped")
    monkeypatch.setattr(Checkpoints, "offer", offer)
    assert train_into(tmp_path / "stopped") == whole
    record = json.loads((tmp_path / "whole/run.json").read_text())
    assert record["device"] == torch.cuda.get_device_name()
    assert record["peak_device_memory_bytes"] > 0

    folder = tmp_path / "whole"
    common = ["--run", folder / "run.json", "--weights", folder / "weights.pt", "--data", data]
    common += ["--device", "cuda"]
    both = ("--output", tmp_path / "posterior.npz", "--train-output", tmp_path / "train.npz")
    call(encode, *common, *both)
    call(
        images, *common, "--output", tmp_path / "images.npz", "--protocol",
        to_json(Panels(((7, 3),), "class", 3, (2, 2))),
    )  # fmt: skip
    features = ["--features", tmp_path / "features"]
    call(classifier, "--data", data, "--output", tmp_path / "features", "--device", "cuda")
    call(
        reference, "--data", data, *features, "--protocol", to_json(RealImages("test", 500)),
        "--output", tmp_path / "reference.npz", "--cache", tmp_path / "cache", "--device", "cuda",
    )  # fmt: skip
    call(
        fid, *common, *features, "--reference", tmp_path / "reference.npz",
        "--protocol", to_json(Fid("classifier", 500, 500, "test")),
        "--output", tmp_path / "fid.csv",
    )  # fmt: skip
    assert (tmp_path / "fid.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_full_width_images_a_second(precision, capsys):
    device = set_up("cuda", 1)
    if folder := os.environ.get("HEBAE_FACES"):
        faces = load_prepared(Path(folder), "train")[0]
    else:
        faces = toyfaces.generate(3000, np.random.default_rng(0))[0]
    faces = torch.from_numpy(np.array(faces)).to(device)
    run = faces_run("hebae", width=1, precision=precision)
    single = Single(run, FACE, device)
    torch.cuda.reset_peak_memory_stats()
    errors = []
    for epoch in range(3):  # the first finds algorithms and fills caches
        torch.cuda.synchronize()
        started = time.perf_counter()
        (terms,) = train_epoch(single, faces, epoch, silent())
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        errors.append(terms.reconstruction)
    with capsys.disabled():
        print(
            f"\n{torch.cuda.get_device_name()}, {precision}: {len(faces) / seconds:.0f} images/s, "
            f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        )
    assert errors[2] < errors[0]
