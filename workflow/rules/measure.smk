# Measures trained runs, except for the Fréchet distance.


# One job takes all of these measures: starting a job takes longer than most of them.
rule measure:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
    output:
        tables=expand("<run>/{measure}.csv", measure=OF_POSTERIOR),
    log:
        "<run_logs>/measure.log",
    benchmark:
        "<run_benchmarks>/measure.tsv"
    conda:
        "../../envs/measures.yaml"
    threads: 1
    resources:
        mem_mb=small_memory,
    params:
        code=lambda wildcards: code(
            "hebae.measures.measure",
            *(module_of(measure.rows) for measure in OF_POSTERIOR.values()),
        ),
        protocols=protocols,
        folder=lambda wildcards, output: os.path.dirname(output.tables[0]),
    message:
        "Measuring the codes of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.measure --posterior {input.posterior:q}"
        " --run {input.run:q} --protocols {params.protocols:q} --output {params.folder:q}"
        " --threads {threads} > {log:q} 2>&1"


rule diagnostics:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        train="<run>/posterior_train.npz",
    output:
        table="<run>/diagnostics.csv",
    log:
        "<run_logs>/diagnostics.log",
    benchmark:
        "<run_benchmarks>/diagnostics.tsv"
    conda:
        "../../envs/measures.yaml"
    threads: 1
    resources:
        mem_mb=small_memory,
    params:
        code=lambda wildcards: code("hebae.measures.diagnostics"),
        protocol=protocol("diagnostics"),
    message:
        "Measuring the distance of the codes of {wildcards.model} on {wildcards.dataset}{wildcards.subset}"
        " to the prior"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.diagnostics --posterior {input.posterior:q}"
        " --train-posterior {input.train:q} --run {input.run:q} --output {output.table:q}"
        " --protocol {params.protocol:q} --threads {threads} > {log:q} 2>&1"


rule smoothness:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        table="<run>/smoothness.csv",
    log:
        "<run_logs>/smoothness.log",
    benchmark:
        "<run_benchmarks>/smoothness.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code(
            "hebae.measures.smoothness", *run_of(wildcards).modules
        ),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
    message:
        "Measuring how fast the decoder of {wildcards.model} changes on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.smoothness --run {input.run:q} --weights {input.weights:q}"
        " --data {params.data:q} --output {output.table:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


rule bounds:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        posterior="<run>/posterior.npz",
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        table="<run>/bounds.csv",
    log:
        "<run_logs>/bounds.log",
    benchmark:
        "<run_benchmarks>/bounds.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code("hebae.measures.bounds", *run_of(wildcards).modules),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        protocol=protocol("bounds"),
    message:
        "Measuring importance-weighted bounds of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.bounds --run {input.run:q} --weights {input.weights:q}"
        " --posterior {input.posterior:q} --data {params.data:q} --output {output.table:q}"
        " --protocol {params.protocol:q} --device {resources.device} --threads {threads} > {log:q} 2>&1"
