# The resources of jobs: memory, threads and GPUs.

import shutil
from math import prod

from hebae.base import cpu
from hebae.training.finished import Machine, installed


def small_memory(wildcards, attempt):
    """Megabytes for a job that runs no networks; more for each further attempt."""
    return 2000 * attempt


def memory(wildcards, attempt):
    """Megabytes for a job that trains or runs networks: PyTorch, the images, the networks.

    Where the number of images is not known, it is taken to be CelebA's. Each further attempt gets
    more.
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
    # an estimate of the host memory that CUDA needs; a retry gets more
    cuda = 3000 * on_gpu(wildcards)
    megabytes = 1500 + cuda + images * pixels / 1e6 + max(networks)
    return attempt * int(megabytes)


def on_gpu(wildcards):
    """1 if a job will use a GPU, else 0; the profile's number of GPUs limits how many run at once.

    With device: auto, jobs that are sent to other machines, as on a cluster, always ask for a GPU,
    because this machine cannot tell whether the others have one.
    """
    if EXECUTION.device == "auto":
        return int(workflow.non_local_exec or shutil.which("nvidia-smi") is not None)
    return int(EXECUTION.device == "cuda")


def versions():
    """The versions that trainings depend on; None with conda, whose changes Snakemake itself notices."""
    return None if with_conda() else installed()


def machine():
    """The versions, device and precision of trainings, as far as this process can tell."""
    if workflow.non_local_exec:
        return Machine(None, None, None)
    if on_gpu(None):
        # with auto it is unknown: PyTorch may not see a GPU that is there
        device = "cuda" if EXECUTION.device == "cuda" else None
        return Machine(versions(), device, None)
    precision = {True: "bfloat16", False: "float32", None: None}[cpu.has_bfloat16()]
    return Machine(versions(), "cpu", precision)


def prepare_threads(wildcards):
    """All cores if images have to be decoded, one if they are only copied or drawn."""
    return workflow.cores if source_entry(wildcards).n_train is None else 1
