# What single rules are given: files and parameters.

from hebae.base import files

SOON_READ = 1 << 28  # bytes, in a fifth of a second


def raw_state(wildcards):
    """What tells the raw files of a dataset of the user's own from others, at a glance.

    Not places or times: moving or copying them remakes nothing. The content where it is soon
    read, else the size. Nothing where a dataset is always the same, or is still to be downloaded.
    """
    state = []
    data_dir = Path(EXECUTION.data_dir).expanduser()
    source = EXPERIMENT.datasets[wildcards.dataset].source
    for name, published in registry.DATASETS[source].raw.items():
        for path in (data_dir / name, data_dir / source / name):
            if path.is_dir():
                state.append((name, len(os.listdir(path))))
            elif path.is_file() and path.stat().st_size not in published:
                size = path.stat().st_size
                read = size < SOON_READ and os.access(path, os.R_OK)
                state.append((name, files.sha256(path) if read else size))
    return str(state)


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


OF_POSTERIOR = {
    name: measure for name, measure in registry.MEASURES.items() if measure.rows
}


def protocols(wildcards):
    """The measures of a posterior and the protocol of each, as JSON."""
    dataset = EXPERIMENT.datasets[wildcards.dataset]
    return json.dumps(
        {
            name: vars(getattr(dataset, measure.protocol)) if measure.protocol else {}
            for name, measure in OF_POSTERIOR.items()
        }
    )


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
    return module_of(registry.FEATURES[fid_of(wildcards).features].function)


def table_rows(wildcards):
    """What every run contributes to a table."""
    table = TABLES[wildcards.table]
    return [
        f"<results>/runs/{run.path}/{table.source}" for run in table.runs(EXPERIMENT)
    ]


def checksum(dataset):
    """The checksum of a prepared dataset as the plan's trainings will find it; None if not known."""
    try:
        manifest = Path("results", EXPERIMENT.name, "data", dataset, "dataset.json")
        return json.loads(manifest.read_bytes())["checksum"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
