# Input functions of single rules: files and parameters.

from hebae.config.at_hand import features_at_hand
from hebae.config.experiment import Word
from hebae.data import raw
from hebae.training.finished import Store
from hebae.workflow import planning


def compares_images(label):
    """Whether finished runs have to be compared by the images of a dataset."""
    results, store = Path("results", EXPERIMENT.name), Store(Path("results"))
    before = planning.plan_before(results)
    return EXECUTION.word == Word.RESTORE or any(
        planning.place_of(results, f"runs/{run.path}", store, before)
        for run in every_run(EXPERIMENT)
        if run.dataset == label
    )


@cache
def settled(label):
    """The dataset that the raw data of a label gives now, with notes for the user.

    Runs and dry runs look at the raw data. Jobs and reports, which only read these rules, use what
    was found before.
    """
    source = EXPERIMENT.datasets[label].source
    results = Path("results", EXPERIMENT.name)
    if not workflow.looks_at_data:
        return raw.recall(label, source, results)
    data_dir = Path(EXECUTION.data_dir).expanduser()
    decode = partial(raw.decode, source, data_dir, os.cpu_count() or 1)
    try:
        # a job need not decode again: the main process that started it has done so
        decode = decode if workflow.is_main_process else None
        needed = workflow.is_main_process and compares_images(label)
        return raw.settle(label, source, data_dir, results, decode, needed)
    except UserError as error:
        sys.exit(f"error: {error}")


def raw_state(wildcards):
    """An identity that changes if, and only if, raw data gives another dataset."""
    return settled(wildcards.dataset).identity


def protocol(name):
    """An input function that gives a protocol of a dataset as JSON."""

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
    """The protocol of a dataset's Fréchet distance."""
    if EXPERIMENT.datasets[wildcards.dataset].fid is None:
        raise WorkflowError(f"{wildcards.dataset} has no fid block in this config")
    return EXPERIMENT.datasets[wildcards.dataset].fid


def features_of(wildcards):
    """The name of the feature network of a dataset."""
    data_dir = Path(EXECUTION.data_dir).expanduser()
    return features_at_hand(fid_of(wildcards).features, data_dir)


def fid_features(wildcards):
    """The files of the feature network of a dataset."""
    folder = f"<features>/{features_of(wildcards)}"
    return [f"{folder}/features.json", ancient(f"{folder}/weights.pt")]


def fid_floor(wildcards):
    """The statistics of the other split's real images, for the runs that are compared with them."""
    taken = EXPERIMENT.fid_of(run_of(wildcards)).samplings
    return "<features>/floor.npz" if "real" in taken else []


def fid_proof(wildcards):
    """That the distance grows with distortions of real images, for features that need it."""
    entry = registry.FEATURES[features_of(wildcards)]
    return "<features>/distortions.csv" if entry.needs_proof else []


def fid_module(wildcards):
    """The module of the feature network. No module imports it, since it is looked up by name."""
    return module_of(registry.FEATURES[features_of(wildcards)].function)


def table_rows(wildcards):
    """The file of every run that contributes to a table."""
    table = TABLES[wildcards.table]
    return [
        f"<results>/runs/{run.path}/{table.source}" for run in table.runs(EXPERIMENT)
    ]
