# Prepares raw data as uint8 arrays, once for each dataset.


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
        # not among the params, because the place of raw data changes no result
        data_dir=EXECUTION.data_dir,
    params:
        # includes a fingerprint of the code that prepares it
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
