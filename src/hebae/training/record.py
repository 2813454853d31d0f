"""Loads the images of a training, computes its key, and writes its files, :data:`.RUN_FILES`."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hebae.base import files
from hebae.base.checkout import commit
from hebae.base.device import computed
from hebae.config.run import Run
from hebae.data.store import PreparedDataset, load_prepared, training_subset
from hebae.training import RUN_FILES
from hebae.training.finished import Decides, Finished, Machine, installed, key_of
from hebae.training.loop import Outcome, autoencoder_parameters


def machine(device: torch.device) -> Machine:
    """The versions, device and precision of trainings on a device."""
    return Machine(installed(), device.type, computed("auto", device))


def checkpoint_key(decides: Decides) -> str:
    """A hash of everything that decides what a training computes, down to the last bit.

    Args:
        decides: what decides the training. The key adds the number of threads and the build of
            PyTorch, which change the order of sums.
    """
    build = torch.__version__, str(torch.get_num_threads())
    return hashlib.sha256("\n".join([key_of(decides), *build]).encode()).hexdigest()[:24]


def provenance(run: Run, device: torch.device) -> dict[str, Any]:
    """Everything besides its description that the numbers of a run may depend on."""
    names = ("torch", "numpy")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in names},
        },
        **commit().fields(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": computed(run.training.precision, device),
    }


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def load_images(run: Run, data: Path, device: torch.device) -> tuple[dict[str, Tensor], int]:
    """The images of a run, and the number of images that it is trained on.

    Args:
        run: the run; it may use a subset of the training images.
        data: folder of the prepared dataset.
        device: where to put them.

    Returns:
        ``train`` and ``test``, uint8 (N, height, width, channels), and the number of different
        training images.
    """
    arrays = {split: load_prepared(data, split)[0] for split in ("train", "test")}
    n_train = len(arrays["train"])
    subset = training_subset(n_train, run.n_train, run.seed)
    if subset is not None:
        # as many steps in an epoch as with all images: the images of the subset are repeated
        arrays["train"] = arrays["train"][np.resize(subset, n_train)]
        n_train = len(subset)
    images = {split: torch.from_numpy(array).to(device) for split, array in arrays.items()}
    return images, n_train


def write_outputs(
    output: Path,
    trained: Outcome,
    manifest: PreparedDataset,
    n_train: int,
    device: torch.device,
    wall_seconds: float,
    decides: Decides,
    packed: int = 1,
) -> Finished:
    """Write the files of a finished training (:data:`hebae.training.RUN_FILES`).

    Args:
        output: the folder of the run.
        trained: the outcome of the training.
        manifest: the description of the prepared dataset.
        n_train: number of training images.
        device: the device that it was trained on.
        wall_seconds: the time that all of it took.
        decides: what decided it.
        packed: how many runs were trained together; the run's seconds are its share of theirs.
    """
    run, model, rows, _ = trained
    weights, history, path = (output / name for name in RUN_FILES)
    # create it: a later Snakemake may have deleted it while this process outlived its own
    files.write_csv(history, rows)
    buffer = io.BytesIO()
    # clones, because PyTorch would write all of the tensor that a view belongs to
    state = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    torch.save(state, buffer)
    files.write_bytes(weights, buffer.getbuffer())
    record = {
        "run": json.loads(run.to_json()),
        "dataset_checksum": manifest.checksum,
        "dataset_notes": [note.text for note in manifest.notes],
        "image_shape": list(manifest.image_shape),
        "n_train": n_train,
        "final": {
            key: rows[-1][key] for key in ("reconstruction", "regulariser", "elbo_paper", "elbo")
        },
        "parameters": sum(p.numel() for p in autoencoder_parameters(model)),
        "weights_sha256": files.sha256(weights),
        "history_sha256": files.sha256(history),
        "decides": decides,
        **provenance(run, device),
        "packed": packed,
        "training_seconds": rows[-1]["seconds"],
        "wall_seconds": round(wall_seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    if device.type == "cuda":
        record["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    files.write_json(path, record)
    return Finished(output, RUN_FILES, record, decides)
