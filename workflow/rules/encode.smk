# Computes posteriors and images of the splits with the trained networks.


rule encode:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        posterior="<plain_run>/posterior.npz",
    log:
        "<run_logs>/encode.log",
    benchmark:
        "<run_benchmarks>/encode.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code("hebae.codes.encode", *run_of(wildcards).modules),
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
    output:
        images="<run>/images.npz",
    log:
        "<run_logs>/images.log",
    benchmark:
        "<run_benchmarks>/images.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code("hebae.codes.images", *run_of(wildcards).modules),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        protocol=protocol("panels"),
    message:
        "Drawing samples, reconstructions and interpolations from {wildcards.model} on"
        " {wildcards.dataset}"
    shell:
        "python -m hebae.workflow.step hebae.codes.images --run {input.run:q} --weights {input.weights:q}"
        " --data {params.data:q} --output {output.images:q} --protocol {params.protocol:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"
