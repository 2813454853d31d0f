# What the trained networks make of the splits: posteriors, their moments, images.


rule encode:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        code=lambda wildcards: code("hebae.codes.encode", *run_of(wildcards).modules),
    output:
        posterior="<plain_run>/posterior.npz",
    log:
        "<run_logs>/encode.log",
    benchmark:
        "<run_benchmarks>/encode.tsv"
    conda:
        torch_env
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        train=lambda wildcards, output: (
            f"--train-output {shlex.quote(output.train)}" if len(output) > 1 else ""
        ),
    message:
        "Encoding {wildcards.dataset}{wildcards.subset} with {wildcards.model}"
        " (z = {wildcards.latent_dim}, λ = {wildcards.weight}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.codes.encode --run {input.run:q} --weights {input.weights:q}"
        " --data {params.data:q} --output {output.posterior:q} {params.train}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


use rule encode as encode_both with:
    output:
        posterior="<diagnosed_run>/posterior.npz",
        train="<diagnosed_run>/posterior_train.npz",


rule images:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        code=lambda wildcards: code("hebae.codes.images", *run_of(wildcards).modules),
    output:
        images="<run>/images.npz",
    log:
        "<run_logs>/images.log",
    benchmark:
        "<run_benchmarks>/images.tsv"
    conda:
        torch_env
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        protocol=protocol("panels"),
    message:
        "Drawing samples, reconstructions and interpolations from {wildcards.model} on"
        " {wildcards.dataset}"
    shell:
        "python -m hebae.workflow.step hebae.codes.images --run {input.run:q} --weights {input.weights:q}"
        " --data {params.data:q} --output {output.images:q} --protocol {params.protocol:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


rule covariance:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        code=code("hebae.measures.covariance"),
    output:
        table="<run>/covariance.csv",
    log:
        "<run_logs>/covariance.log",
    benchmark:
        "<run_benchmarks>/covariance.tsv"
    conda:
        "../../envs/measures.yaml"
    resources:
        mem_mb=small_memory,
    message:
        "Covariance of the codes of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.covariance --posterior {input.posterior:q} --run {input.run:q}"
        " --output {output.table:q} > {log:q} 2>&1"


rule active_units:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        code=code("hebae.measures.active_units"),
    output:
        table="<run>/active_units.csv",
    log:
        "<run_logs>/active_units.log",
    benchmark:
        "<run_benchmarks>/active_units.tsv"
    conda:
        "../../envs/measures.yaml"
    resources:
        mem_mb=small_memory,
    message:
        "Active latent variables of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.active_units --posterior {input.posterior:q} --run {input.run:q}"
        " --output {output.table:q} > {log:q} 2>&1"


rule diagnostics:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        train="<run>/posterior_train.npz",
        code=code("hebae.measures.diagnostics"),
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
        protocol=protocol("diagnostics"),
    message:
        "Distance of the codes of {wildcards.model} on {wildcards.dataset}{wildcards.subset}"
        " to the prior"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.diagnostics --posterior {input.posterior:q}"
        " --train-posterior {input.train:q} --run {input.run:q} --output {output.table:q}"
        " --protocol {params.protocol:q} --threads {threads} > {log:q} 2>&1"
