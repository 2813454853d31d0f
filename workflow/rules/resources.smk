# What jobs ask for: memory, threads and a GPU.

import shutil
from math import prod

from hebae.base import cpu
from hebae.training.finished import Machine, installed


def small_memory(wildcards, attempt):
    """Megabytes of a job that runs no networks; more where one was killed before."""
    return 2000 * attempt


def memory(wildcards, attempt):
    """Megabytes of a job that trains or runs networks: PyTorch, the images, the networks.

    A user's own images may be as many as CelebA's. A job that is tried again gets more.
    """
    entry = source_entry(wildcards)
    images = 210_000 if entry.n_train is None else entry.n_train + entry.n_test
    pixels = prod(entry.image_shape)
    networks = [
        registry.NETWORKS[recipe.network].megabytes(
            recipe.network_parameters, recipe.training.batch_size, pixels
        )
        for recipe in EXPERIMENT.datasets[wildcards.dataset].models.values()
    ]
    # host memory that CUDA takes: an estimate, on which a retry improves
    cuda = 3000 * on_gpu(wildcards)
    megabytes = 1500 + cuda + images * pixels / 1e6 + max(networks)
    return attempt * int(megabytes)


def on_gpu(wildcards):
    """1 where a job will use the GPU: so many may run at once as the profile has GPUs.

    Where jobs are sent to other machines, as on a cluster, this one says nothing about theirs:
    there, auto asks for a GPU.
    """
    if EXECUTION.device == "auto":
        return int(workflow.non_local_exec or shutil.which("nvidia-smi") is not None)
    return int(EXECUTION.device == "cuda")


def versions():
    """The versions that trainings depend on; Snakemake itself notices where a conda environment changes."""
    return None if with_conda() else installed()


def machine():
    """What trainings are computed with, as far as this process can tell."""
    if workflow.non_local_exec:
        return Machine(None, None, None)
    if on_gpu(None):
        # auto: PyTorch may see none where there is one
        device = "cuda" if EXECUTION.device == "cuda" else None
        return Machine(versions(), device, None)
    precision = {True: "bfloat16", False: "float32", None: None}[cpu.has_bfloat16()]
    return Machine(versions(), "cpu", precision)


def prepare_threads(wildcards):
    """All cores where images are decoded, one where they are only copied or drawn."""
    return workflow.cores if source_entry(wildcards).n_train is None else 1
