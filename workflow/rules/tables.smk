# Collects the rows of all runs into one tidy table.


rule collect:
    input:
        rows=table_rows,
    output:
        table="<results>/tables/{table}.csv",
    log:
        "<logs>/tables/{table}.log",
    benchmark:
        "<benchmarks>/tables/{table}.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=small_memory,
    params:
        code=lambda wildcards: code("hebae.tables.collect"),
        experiment=description,
        runs=f"results/{EXPERIMENT.name}/runs",
    message:
        "Collecting table {wildcards.table}"
    shell:
        "python -m hebae.tables.collect --experiment {params.experiment:q} --table {wildcards.table}"
        " --runs {params.runs:q} --output {output.table:q} > {log:q} 2>&1"
