# In the place of train.smk: what was trained elsewhere, from an imported archive.
# Its manifest.json and run.json have the checksums of the rest and stand for their content.


rule restore:
    input:
        archive=ancient("<restored>/manifest.json"),
        weights=ancient("<restored_run>/weights.pt"),
        history="<restored_run>/history.csv",
        run="<restored_run>/run.json",
        manifest="<data>/dataset.json",
        code=code("hebae.publish.restore"),
    output:
        weights="<run>/weights.pt",
        history="<run>/history.csv",
        run="<run>/run.json",
    log:
        "<run_logs>/restore.log",
    benchmark:
        "<run_benchmarks>/restore.tsv"
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        run=lambda wildcards: run_of(wildcards).to_json(),
        archive=lambda wildcards, input: os.path.dirname(input.archive),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        folder=lambda wildcards, output: os.path.dirname(output.run),
    message:
        "Restoring {wildcards.model} on {wildcards.dataset}{wildcards.subset} (z = {wildcards.latent_dim},"
        " λ = {wildcards.weight}, seed {wildcards.seed})"
    shell:
        "python -m hebae.publish.restore --run {params.run:q} --archive {params.archive:q}"
        " --data {params.data:q} --output {params.folder:q} > {log:q} 2>&1"


rule restore_classifier:
    input:
        archive=ancient("<restored>/manifest.json"),
        weights=ancient("<restored>/features/{dataset}/classifier/weights.pt"),
        record="<restored>/features/{dataset}/classifier/features.json",
        trained_on="<restored>/data/{dataset}/dataset.json",
        manifest="<data>/dataset.json",
        code=code("hebae.publish.restore"),
    output:
        record="<features>/classifier/features.json",
        weights="<features>/classifier/weights.pt",
    log:
        "<logs>/{dataset}/restore_classifier.log",
    benchmark:
        "<benchmarks>/{dataset}/restore_classifier.tsv"
    priority: 1  # before hours of measuring
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        archive=lambda wildcards, input: os.path.dirname(input.archive),
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        folder=lambda wildcards, output: os.path.dirname(output.record),
    message:
        "Restoring the classifier of {wildcards.dataset}, for its features"
    shell:
        "python -m hebae.publish.restore --classifier {wildcards.dataset} --archive {params.archive:q}"
        " --data {params.data:q} --output {params.folder:q} > {log:q} 2>&1"
