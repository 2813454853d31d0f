# Raw data to uint8 arrays, once a dataset.

from hebae.data import plan as data_plan


def check_raw_data():
    """Say what the raw data of this plan's jobs is, or end in one line."""
    jobs = workflow.dag.needrun_jobs()
    used = {(job.rule.name, job.wildcards.get("dataset")) for job in jobs}
    data_dir = Path(EXECUTION.data_dir).expanduser()
    try:
        for label in EXPERIMENT.datasets:
            if ("prepare", label) in used:
                source = EXPERIMENT.datasets[label].source
                folder = Path("results", EXPERIMENT.name, "data", label)
                data_plan.check(label, source, data_dir, folder, settled(label))
                for line in data_plan.downloads(source, data_dir, settled(label)):
                    tell(f"{label}: {line}")
        if any(name == "inception" for name, _ in used):
            data_plan.check_data_dir(data_dir)
    except UserError as error:
        sys.exit(f"error: {error}")
    for label in EXPERIMENT.datasets:
        if any(label == dataset for _, dataset in used):
            for note in settled(label).notes:
                tell(f"{label}: {note}")


rule prepare:
    output:
        manifest="<data>/dataset.json",
        arrays=ARRAYS,
    log:
        "<logs>/{dataset}/prepare.log",
    benchmark:
        "<benchmarks>/{dataset}/prepare.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: prepare_threads
    resources:
        mem_mb=small_memory,
        # where raw data lies decides nothing about a result: not among the params, which do
        data_dir=EXECUTION.data_dir,
    params:
        # the code that prepares it is part of what it is known by
        raw=raw_state,
        memory=lambda wildcards: raw.memory_path(
            Path("results", EXPERIMENT.name), wildcards.dataset
        ),
        source=lambda wildcards: EXPERIMENT.datasets[wildcards.dataset].source,
        folder=lambda wildcards, output: os.path.dirname(output.manifest),
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m hebae.data.prepare --dataset {params.source} --data-dir {resources.data_dir:q}"
        " --output {params.folder:q} --identity {params.raw:q} --memory {params.memory:q}"
        " --threads {threads} > {log:q} 2>&1"
