# What the rules share: the checked experiment, its paths, and what a step's code consists of.

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
    """What the command of every job begins with."""
    config_files = [Path(path) for path in workflow.configfiles]
    return environment.shell_prefix(ROOT / "src", with_conda(), config_files)


# Snakemake formats the prefix too, and a folder may have braces in its name
shell.prefix(shell_prefix().replace("{", "{{").replace("}", "}}"))


def check_config_files():
    """See that no key is given twice: Snakemake takes the last."""
    for path in workflow.configfiles:
        try:
            check_readable(path)
        except ValueError as error:
            raise UserError(str(error)) from None


def read_nested_values():
    """Snakemake reads numbers within a --config value as text: datasets={'x': {'seeds': [1]}}."""
    for entry in workflow.config_settings.config_args or ():
        key, _, value = entry.partition("=")
        if isinstance(config.get(key), (dict, list)):
            update_config(config, {key: yaml.safe_load(value)})


def load_config():
    """The config, checked: what it asks for, and how that is made.

    An error ends the workflow in one line.
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
            f"Config: {files}, merged; where both have a key, the last counts.",
            file=sys.stderr,
        )
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
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


# dataset.json has the checksums of the arrays and stands for their content
ARRAYS = expand(
    "<data>/{name}.npy",
    name=["train_images", "train_labels", "test_images", "test_labels"],
)


wildcard_constraints:
    table="|".join(TABLES),


@cache
def code(*modules):
    """What the code of a step computes, among its params, which Snakemake compares.

    Not the source files among its input: a comment, a time or another checkout remakes nothing.
    """
    return sources.fingerprint(modules)


def module_of(entry):
    """The module of a ``module:function`` entry of the registry."""
    return entry.partition(":")[0]


def source_entry(wildcards):
    """What the registry says of the images of a dataset."""
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
