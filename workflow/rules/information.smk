# Information between images and codes.


rule mutual_information:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        code=code("hebae.measures.mutual_information"),
    output:
        table="<run>/mutual_information.csv",
    log:
        "<run_logs>/mutual_information.log",
    benchmark:
        "<run_benchmarks>/mutual_information.tsv"
    conda:
        "../../envs/measures.yaml"
    threads: 1
    resources:
        mem_mb=small_memory,
    params:
        protocol=protocol("mutual_information"),
    message:
        "MIC and TIC of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.mutual_information --posterior {input.posterior:q}"
        " --run {input.run:q} --output {output.table:q} --protocol {params.protocol:q} --threads {threads}"
        " > {log:q} 2>&1"


rule index_code_information:
    input:
        run="<run>/run.json",
        posterior="<run>/posterior.npz",
        code=code("hebae.measures.index_code_information"),
    output:
        table="<run>/index_code_information.csv",
    log:
        "<run_logs>/index_code_information.log",
    benchmark:
        "<run_benchmarks>/index_code_information.tsv"
    conda:
        "../../envs/measures.yaml"
    threads: 1
    resources:
        mem_mb=small_memory,
    message:
        "Index-code information of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.index_code_information --posterior {input.posterior:q}"
        " --run {input.run:q} --output {output.table:q} > {log:q} 2>&1"
