# Measures the Fréchet distance between generated and real images, in the features of a network.


rule inception:
    output:
        record="<features>/inception/features.json",
        weights="<features>/inception/weights.pt",
    log:
        "<logs>/{dataset}/inception.log",
    benchmark:
        "<benchmarks>/{dataset}/inception.tsv"
    priority: 1  # a missing download should be reported before hours of training
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=small_memory,
        data_dir=EXECUTION.data_dir,
    params:
        code=lambda wildcards: code("hebae.measures.fid.features.inception"),
        folder=lambda wildcards, output: os.path.dirname(output.record),
    message:
        "Fetching the Inception network for {wildcards.dataset}"
    shell:
        "python -m hebae.measures.fid.features.inception --data-dir {resources.data_dir:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule reference:
    input:
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        features=fid_features,
    output:
        reference="<features>/reference.npz",
    log:
        "<logs>/{dataset}/reference.log",
    benchmark:
        "<benchmarks>/{dataset}/reference.tsv"
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
        cache="results/cache",
    params:
        code=lambda wildcards: code(
            "hebae.measures.fid.reference", fid_module(wildcards)
        ),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        features=lambda wildcards, input: os.path.dirname(input.features[0]),
        protocol=lambda wildcards: to_json(fid_of(wildcards).real),
    message:
        "Computing reference statistics of {wildcards.dataset}"
    shell:
        "python -m hebae.workflow.step hebae.measures.fid.reference --data {params.data:q} --features {params.features:q}"
        " --protocol {params.protocol:q} --output {output.reference:q}"
        " --cache {resources.cache:q} --device {resources.device} --threads {threads}"
        " > {log:q} 2>&1"


# The real images of the other split: the distance that a perfect model would have.
use rule reference as floor with:
    output:
        reference="<features>/floor.npz",
    log:
        "<logs>/{dataset}/floor.log",
    benchmark:
        "<benchmarks>/{dataset}/floor.tsv"
    params:
        code=lambda wildcards: code(
            "hebae.measures.fid.reference", fid_module(wildcards)
        ),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        features=lambda wildcards, input: os.path.dirname(input.features[0]),
        protocol=lambda wildcards: to_json(fid_of(wildcards).floor),
    message:
        "Computing statistics of the other split of {wildcards.dataset}"


# Whether the distance grows with what may be wrong with samples.
rule distortions:
    input:
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        features=fid_features,
        reference="<features>/reference.npz",
    output:
        table="<features>/distortions.csv",
    log:
        "<logs>/{dataset}/distortions.log",
    benchmark:
        "<benchmarks>/{dataset}/distortions.tsv"
    priority: 1  # features that are not accepted should be reported before hours of training
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code(
            "hebae.measures.fid.distortions", fid_module(wildcards)
        ),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        features=lambda wildcards, input: os.path.dirname(input.features[0]),
        protocol=lambda wildcards: to_json(fid_of(wildcards)),
    message:
        "Measuring the Fréchet distance of distorted images of {wildcards.dataset}"
    shell:
        "python -m hebae.workflow.step hebae.measures.fid.distortions --data {params.data:q}"
        " --features {params.features:q} --reference {input.reference:q}"
        " --protocol {params.protocol:q} --output {output.table:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


rule fid:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        features=fid_features,
        reference="<features>/reference.npz",
        real=fid_floor,
        proof=fid_proof,
    output:
        table="<run>/fid.csv",
    log:
        "<run_logs>/fid.log",
    benchmark:
        "<run_benchmarks>/fid.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code(
            "hebae.measures.fid.fid", fid_module(wildcards), *run_of(wildcards).modules
        ),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        features=lambda wildcards, input: os.path.dirname(input.features[0]),
        protocol=lambda wildcards: to_json(EXPERIMENT.fid_of(run_of(wildcards))),
        real=lambda wildcards, input: (
            f"--real {shlex.quote(input.real)}" if input.real else ""
        ),
    message:
        "Measuring the Fréchet distance between samples of {wildcards.model} and {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, λ = {wildcards.weight}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.fid.fid --run {input.run:q} --weights {input.weights:q}"
        " --data {params.data:q} --features {params.features:q} --reference {input.reference:q}"
        " {params.real} --protocol {params.protocol:q} --output {output.table:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"
