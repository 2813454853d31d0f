# Trains runs (weights, history and provenance), and the networks of features.

from hebae.training import SOURCES


rule train:
    input:
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        weights="<run>/weights.pt",
        history="<run>/history.csv",
        run="<run>/run.json",
    log:
        "<run_logs>/train.log",
    benchmark:
        "<run_benchmarks>/train.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        # without the modules of the command itself and of packs, which change no result
        code=lambda wildcards: code(*SOURCES, *run_of(wildcards).modules),
        run=lambda wildcards: run_of(wildcards).to_json(),
        # not used by the command: a changed registry entry or another PyTorch makes another run
        entries=lambda wildcards: str(run_of(wildcards).entries),
        versions=lambda wildcards: versions(),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        folder=lambda wildcards, output: os.path.dirname(output.run),
        # not an output, because Snakemake deletes the outputs of a job that fails
        checkpoints=f"results/{EXPERIMENT.name}/checkpoints",
        plan=PLAN,
    message:
        "Training {wildcards.model} on {wildcards.dataset}{wildcards.subset} (z = {wildcards.latent_dim},"
        " λ = {wildcards.weight}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.training.train --run {params.run:q} --data {params.data:q}"
        " --output {params.folder:q} --checkpoints {params.checkpoints:q}"
        " --results results --plan {params.plan:q} --device {resources.device} --threads {threads}"
        " > {log:q} 2>&1"


# A measure, but of trainings of its own, which need no finished run.
rule stability_runs:
    input:
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        table="<run>/stability.csv",
    log:
        "<run_logs>/stability.log",
    benchmark:
        "<run_benchmarks>/stability.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code(
            "hebae.measures.stability", *run_of(wildcards).modules
        ),
        run=lambda wildcards: run_of(wildcards).to_json(),
        # not used by the command: a changed registry entry or another PyTorch gives other trainings
        entries=lambda wildcards: str(run_of(wildcards).entries),
        versions=lambda wildcards: versions(),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        protocol=protocol("stability"),
    message:
        "Training {wildcards.model} on {wildcards.dataset} over a grid of learning rates and initial"
        " weights (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.stability --run {params.run:q}"
        " --data {params.data:q} --output {output.table:q} --protocol {params.protocol:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


# The networks of features that are trained here; each has the name of its features.
rule classifier:
    input:
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
    output:
        record="<features>/classifier/features.json",
        weights="<features>/classifier/weights.pt",
    log:
        "<logs>/{dataset}/classifier.log",
    benchmark:
        "<benchmarks>/{dataset}/classifier.tsv"
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        code=lambda wildcards: code("hebae.measures.fid.features.classifier"),
        features="classifier",
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        folder=lambda wildcards, output: os.path.dirname(output.record),
        versions=lambda wildcards: versions(),
        plan=PLAN,
    message:
        "Training a classifier on {wildcards.dataset}, for its features"
    shell:
        "python -m hebae.workflow.step hebae.measures.fid.features.{params.features}"
        " --data {params.data:q} --output {params.folder:q} --results results --plan {params.plan:q}"
        " --label features/{wildcards.dataset}/{params.features}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


use rule classifier as rotation with:
    output:
        record="<features>/rotation/features.json",
        weights="<features>/rotation/weights.pt",
    log:
        "<logs>/{dataset}/rotation.log",
    benchmark:
        "<benchmarks>/{dataset}/rotation.tsv"
    params:
        code=lambda wildcards: code("hebae.measures.fid.features.rotation"),
        features="rotation",
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        folder=lambda wildcards, output: os.path.dirname(output.record),
        versions=lambda wildcards: versions(),
        plan=PLAN,
    message:
        "Training a network to tell turns of {wildcards.dataset}, for its features"
