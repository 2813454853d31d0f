# What the paper's bound leaves out.


rule bounds:
    input:
        run="<run>/run.json",
        weights=ancient("<run>/weights.pt"),
        posterior="<run>/posterior.npz",
        manifest="<data>/dataset.json",
        arrays=ancient(ARRAYS),
        code=lambda wildcards: code("hebae.measures.bounds", *run_of(wildcards).modules),
    output:
        table="<run>/bounds.csv",
    log:
        "<run_logs>/bounds.log",
    benchmark:
        "<run_benchmarks>/bounds.tsv"
    conda:
        torch_env
    threads: 1
    resources:
        gpu=on_gpu,
        mem_mb=memory,
        device=EXECUTION.device,
    params:
        data=lambda wildcards, input: os.path.dirname(input.manifest),
        protocol=protocol("bounds"),
    message:
        "Importance-weighted bounds of {wildcards.model} on {wildcards.dataset}"
        " (z = {wildcards.latent_dim}, seed {wildcards.seed})"
    shell:
        "python -m hebae.workflow.step hebae.measures.bounds --run {input.run:q} --weights {input.weights:q}"
        " --posterior {input.posterior:q} --data {params.data:q} --output {output.table:q}"
        " --protocol {params.protocol:q} --device {resources.device} --threads {threads} > {log:q} 2>&1"


use rule fig1a as fair_bounds with:
    input:
        tables=figure_tables("fair_bounds"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fair_bounds"),
    output:
        pdf="<figures>/fair_bounds.pdf",
        png=report("<figures>/fair_bounds.png", **in_report("fair_bounds")),
        provenance="<figures>/fair_bounds.json",
    log:
        "<logs>/figures/fair_bounds.log",
    benchmark:
        "<benchmarks>/figures/fair_bounds.tsv"
    message:
        "Fair bounds: what the paper's bound leaves out"


use rule fig1a as batch_bias with:
    input:
        tables=figure_tables("batch_bias"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.batch_bias"),
    output:
        pdf="<figures>/batch_bias.pdf",
        png=report("<figures>/batch_bias.png", **in_report("batch_bias")),
        provenance="<figures>/batch_bias.json",
    log:
        "<logs>/figures/batch_bias.log",
    benchmark:
        "<benchmarks>/figures/batch_bias.tsv"
    message:
        "Batch bias: what codes that match the prior score"
