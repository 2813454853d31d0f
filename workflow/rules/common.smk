# What the rules share: the checked experiment, its paths, and the code that a step depends on.

import json
import os
import shlex
import sys
from functools import cache, partial
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from hebae.config import parse as hebae_config
from hebae.config.checks import check_prepared
from hebae.config.implemented import check_implemented
from hebae.config.read import check_readable
from hebae.config.fields import to_json
from hebae.config import registry
from hebae.base import sources
from hebae.tables.collect import every_run, tables_of
from hebae.base.errors import UserError
from hebae.workflow import environment


def with_conda():
    """Whether jobs run in conda environments."""
    return DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def shell_prefix():
    """The beginning of every job's command."""
    config_files = [Path(path) for path in workflow.configfiles]
    return environment.shell_prefix(ROOT / "src", with_conda(), config_files)


# Snakemake formats the prefix too, and a folder's name may have braces
shell.prefix(shell_prefix().replace("{", "{{").replace("}", "}}"))


def check_config_files():
    """Refuse a key that is given twice: Snakemake would silently use the last."""
    for path in workflow.configfiles:
        try:
            check_readable(path)
        except ValueError as error:
            raise UserError(str(error)) from None


def read_nested_values():
    """Read nested --config values again: Snakemake takes the 1 in "datasets={x: {seeds: [1]}}" for text."""
    for entry in workflow.config_settings.config_args or ():
        key, _, value = entry.partition("=")
        if isinstance(config.get(key), (dict, list)):
            update_config(config, {key: yaml.safe_load(value)})


def load_config():
    """The checked config: the experiment, and how it is executed.

    An error ends the workflow with one line.
    """
    schema = (ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
    try:
        check_config_files()
        read_nested_values()
        experiment, execution = hebae_config.parse(config, yaml.safe_load(schema))
        check_implemented(experiment)
        check_prepared(experiment, Path("results", experiment.name))
    except UserError as error:
        sys.exit(f"error: {error}")
    if workflow.is_main_process and len(workflow.configfiles) > 1:
        files = " and ".join(os.path.relpath(path) for path in workflow.configfiles)
        print(
            f"Config: {files}, merged; where several set a key, the last one counts.",
            file=sys.stderr,
        )
    return experiment, execution


EXPERIMENT, EXECUTION = load_config()
TABLES = tables_of(EXPERIMENT)


# A function, because Snakemake would take braces in a string, such as those of a title, for wildcards.
def description(wildcards):
    """The experiment as JSON, for the steps that need all of it."""
    return EXPERIMENT.to_json()


# Constraints are part of the pathvars, because Snakemake does not apply global ones to them.
def one_of(datasets):
    """A wildcard that matches these datasets; it matches nothing if there are none."""
    return "{dataset," + ("|".join(datasets) or "(?!)") + "}"


DATASET = one_of(EXPERIMENT.datasets)
MODEL = "{model," + "|".join(EXPERIMENT.models) + "}"
# {subset} is the number of training images, as /n100, or nothing for all of them
NUMBERS = (
    "z{latent_dim,[0-9]+}/w{weight,[0-9][0-9.e+-]*}{subset,(/n[0-9]+)?}/s{seed,[0-9]+}"
)
OF_MODEL = f"{MODEL}/{NUMBERS}"
RUN_FOLDER = f"{DATASET}/{OF_MODEL}"

# Datasets with diagnostics, which need the codes of the training images too, and those without.
DIAGNOSED = [name for name, data in EXPERIMENT.datasets.items() if data.diagnostics]
PLAIN = [name for name in EXPERIMENT.datasets if name not in DIAGNOSED]


# Names such as <results> in the paths of rules.
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
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


# The rules depend on dataset.json, which has the checksums of the arrays.
ARRAYS = expand(
    "<data>/{name}.npy",
    name=["train_images", "train_labels", "test_images", "test_labels"],
)


wildcard_constraints:
    table="|".join(TABLES),


@cache
def code(*modules):
    """A fingerprint of a step's code, for its params, which Snakemake compares.

    Source files are not among a step's input, so a comment, a time or another checkout reruns nothing.
    """
    return sources.fingerprint(modules)


def module_of(entry):
    """The module of a ``module:function`` entry of the registry."""
    return entry.partition(":")[0]


def source_entry(wildcards):
    """The registry's entry for the images of a dataset."""
    return registry.DATASETS[EXPERIMENT.datasets[wildcards.dataset].source]


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
