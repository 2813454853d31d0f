# What the rules share: the checked experiment, its paths, and what a step's code consists of.

import os
import shlex
import shutil
import sys
import tempfile
from functools import cache
from math import prod
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from hebae.config import parse as hebae_config
from hebae.config.fields import to_json
from hebae.publish import archive
from hebae.config import registry
from hebae.base import sources
from hebae.tables.collect import every_run, tables_of
from hebae.base.errors import UserError
from hebae.report.names import placed


def with_conda():
    """Whether jobs run in conda environments."""
    return DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def shell_prefix():
    """What every job's shell begins with.

    Jobs run this checkout's package, also in a conda environment, which does not have it.
    Without conda they run the Python that runs Snakemake, whether or not it is activated.
    """
    variables = {
        "PYTHONPATH": shlex.quote(str(ROOT / "src")),
        "PYTHONNOUSERSITE": "1",
        # TMPDIR may name a folder that is not there; a font cache for each job costs seconds
        "MPLCONFIGDIR": "${MPLCONFIGDIR:-"
        + shlex.quote(str(Path(tempfile.gettempdir(), "hebae-matplotlib")))
        + "}",
    }
    if not with_conda():
        variables["PATH"] = shlex.quote(str(Path(sys.executable).parent)) + ':"$PATH"'
    exports = " ".join(f"{name}={value}" for name, value in variables.items())
    return f"set -euo pipefail; export {exports}; "


# Snakemake formats the prefix too, and a folder may have braces in its name
shell.prefix(shell_prefix().replace("{", "{{").replace("}", "}}"))


def check_imported(experiment):
    """Find out at once what an imported archive lacks, or what it has is another run."""
    compared = [
        name
        for name, data in experiment.datasets.items()
        if data.fid and data.fid.features == "classifier"
    ]
    archive.check_imported(
        Path("restored", experiment.name), every_run(experiment), compared
    )


def load_config():
    """The config, checked: what it asks for, and how that is made.

    An error ends the workflow in one line.
    """
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    try:
        experiment, execution = hebae_config.parse(config, schema)
        if execution.run_mode == "restore":
            check_imported(experiment)
    except UserError as error:
        sys.exit(f"error: {error}")
    return experiment, execution


EXPERIMENT, EXECUTION = load_config()
TABLES = tables_of(EXPERIMENT)


# A function: in a string among params Snakemake would take a title's braces for wildcards.
def description(wildcards):
    """What steps are told of the experiment."""
    return EXPERIMENT.to_json()


# Constraints stand here: Snakemake does not apply global ones to what comes from pathvars.
def one_of(datasets):
    """A wildcard for some of the datasets, or for none."""
    return "{dataset," + ("|".join(datasets) or "(?!)") + "}"


DATASET = one_of(EXPERIMENT.datasets)
MODEL = "{model," + "|".join(EXPERIMENT.models) + "}"
# subset: of the training images, /n100 or nothing
NUMBERS = (
    "z{latent_dim,[0-9]+}/w{weight,[0-9][0-9.e+-]*}{subset,(/n[0-9]+)?}/s{seed,[0-9]+}"
)
OF_MODEL = f"{MODEL}/{NUMBERS}"
RUN_FOLDER = f"{DATASET}/{OF_MODEL}"

# datasets with diagnostics, which are of the training images too, and those without
DIAGNOSED = [name for name, data in EXPERIMENT.datasets.items() if data.diagnostics]
PLAIN = [name for name in EXPERIMENT.datasets if name not in DIAGNOSED]


# <results> and the like in the paths of rules
pathvars:
    results=f"results/{EXPERIMENT.name}",
    figures=f"figures/{EXPERIMENT.name}",
    data=f"<results>/data/{DATASET}",
    run=f"<results>/runs/{RUN_FOLDER}",
    plain_run=f"<results>/runs/{one_of(PLAIN)}/{OF_MODEL}",
    diagnosed_run=f"<results>/runs/{one_of(DIAGNOSED)}/{OF_MODEL}",
    run_logs=f"<results>/logs/{RUN_FOLDER}",
    run_benchmarks=f"<results>/benchmarks/{RUN_FOLDER}",
    features=f"<results>/features/{DATASET}",
    restored=f"restored/{EXPERIMENT.name}",
    restored_run=f"<restored>/runs/{RUN_FOLDER}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


# dataset.json has the checksums of the arrays and stands for their content
ARRAYS = expand(
    "<data>/{name}.npy",
    name=["train_images", "train_labels", "test_images", "test_labels"],
)

# read by the figures, so no import leads to it
STYLE = os.path.relpath(ROOT / "src/hebae/figures/paper.mplstyle")


wildcard_constraints:
    table="|".join(TABLES),


@cache
def code(*modules):
    """Source files of a step. Snakemake compares them by content and follows no imports."""
    return tuple(os.path.relpath(path) for path in sources.closure(modules))


def source_entry(wildcards):
    """What the registry says of the images of a dataset."""
    return registry.DATASETS[EXPERIMENT.datasets[wildcards.dataset].source]


def raw_state(wildcards):
    """What tells the raw files of a dataset of the user's own from others, at a glance.

    Names and sizes, not places or times: moving or copying them remakes nothing. Nothing where
    a dataset is always the same, or is still to be downloaded.
    """
    state = []
    data_dir = Path(EXECUTION.data_dir).expanduser()
    source = EXPERIMENT.datasets[wildcards.dataset].source
    for name, published in registry.DATASETS[source].raw.items():
        for path in (data_dir / name, data_dir / source / name):
            if path.is_dir():
                state.append((name, len(os.listdir(path))))
            elif path.is_file() and path.stat().st_size not in published:
                state.append((name, path.stat().st_size))
    return str(state)


def prepare_threads(wildcards):
    """All cores where images are decoded, one where they are only copied or drawn."""
    return workflow.cores if source_entry(wildcards).raw else 1


def small_memory(wildcards, attempt):
    """Megabytes of a job that runs no networks; more where one was killed before."""
    return 2000 * attempt


def memory(wildcards, attempt):
    """Megabytes of a job that trains or runs networks: PyTorch, the images, the networks.

    A user's own images may be as many as CelebA's. A job that is tried again gets more.
    """
    entry = source_entry(wildcards)
    images = 210_000 if entry.n_train is None else entry.n_train + entry.n_test
    networks = [
        network_megabytes(recipe, prod(entry.image_shape))
        for recipe in EXPERIMENT.datasets[wildcards.dataset].models.values()
    ]
    # host memory that CUDA takes: an estimate, on which a retry improves
    cuda = 3000 * on_gpu(wildcards)
    megabytes = 1500 + cuda + images * prod(entry.image_shape) / 1e6 + max(networks)
    return attempt * int(megabytes)


def network_megabytes(recipe, pixels):
    """Of the networks and what they keep of a batch for the gradient; the dense ones are small."""
    parameters = recipe.network_parameters
    if recipe.network == "convolutional":
        return 4000 * parameters.get("width", 1) ** 2
    if recipe.network == "pixelcnn":
        depth = parameters.get("layers", 5) * parameters.get("channels", 32)
        return 80e-6 * recipe.training.batch_size * pixels * depth
    return 0


def run_of(wildcards):
    """The run that a path names."""
    return EXPERIMENT.run(
        wildcards.dataset,
        wildcards.model,
        int(wildcards.latent_dim),
        float(wildcards.weight),
        int(wildcards.seed),
        int(wildcards.subset.partition("n")[2]) if wildcards.subset else None,
    )


def on_gpu(wildcards):
    """1 where a job will use the GPU: so many may run at once as the profile has GPUs.

    Where jobs are sent to other machines, as on a cluster, this one says nothing about theirs:
    there, auto asks for a GPU.
    """
    if EXECUTION.device == "auto":
        return int(workflow.non_local_exec or shutil.which("nvidia-smi") is not None)
    return int(EXECUTION.device == "cuda")


def torch_env(wildcards):
    """The conda environment of a job that trains or runs networks.

    On a GPU one that names the CUDA build: else conda takes the CPU build in silence.
    """
    return "../../envs/torch-gpu.yaml" if on_gpu(wildcards) else "../../envs/torch.yaml"


def protocol(name):
    """How a dataset is measured, as JSON for the command, as an input function."""

    def as_json(wildcards):
        found = getattr(EXPERIMENT.datasets[wildcards.dataset], name)
        if found is None:
            raise WorkflowError(
                f"{wildcards.dataset} has no {name} block in this config"
            )
        return to_json(found)

    return as_json


def fid_of(wildcards):
    """How a dataset's Fréchet distance is taken."""
    if EXPERIMENT.datasets[wildcards.dataset].fid is None:
        raise WorkflowError(f"{wildcards.dataset} has no fid block in this config")
    return EXPERIMENT.datasets[wildcards.dataset].fid


def fid_features(wildcards):
    """The files of the network in whose features a dataset is compared."""
    folder = f"<features>/{fid_of(wildcards).features}"
    return [f"{folder}/features.json", ancient(f"{folder}/weights.pt")]


def fid_module(wildcards):
    """The module of that network, which is looked up by name and so imported by none."""
    return registry.FEATURES[fid_of(wildcards).features].function.split(":")[0]


def table_rows(wildcards):
    """What every run contributes to a table."""
    table = TABLES[wildcards.table]
    return [
        f"<results>/runs/{run.path}/{table.source}" for run in table.runs(EXPERIMENT)
    ]


def figure_dataset(figure):
    """The dataset a figure shows in this experiment."""
    if figure not in EXPERIMENT.figures:
        drawn = ", ".join(EXPERIMENT.figures)
        raise WorkflowError(
            f"{EXPERIMENT.name} has no figure {figure}; its figures: {drawn}"
        )
    return EXPERIMENT.figures[figure]


def figure_tables(figure):
    """The tables a figure is drawn from, as an input function."""

    def tables(wildcards):
        figure_dataset(figure)
        return [
            f"<results>/tables/{table}.csv" for table in registry.FIGURES[figure].tables
        ]

    return tables


def figure_images(figure):
    """The images a qualitative figure shows, one file a model, as an input function."""

    def images(wildcards):
        runs = EXPERIMENT.main_runs(figure_dataset(figure))
        return [f"<results>/runs/{run.path}/images.npz" for run in runs]

    return images


def in_report(figure):
    """Where the report has a figure and under which caption, as arguments of its flag."""
    return dict(caption=f"../report/{figure}.rst", **placed(EXPERIMENT, figure))


def all_figures():
    """Every file of every figure of the experiment."""
    return [
        f"<figures>/{figure}.{suffix}"
        for figure in EXPERIMENT.figures
        for suffix in ("pdf", "png")
    ]
