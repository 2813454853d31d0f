# Judges the papers' claims from the tables.

from hebae.base import files
from hebae.claims import read as hebae_claims
from hebae.claims.measures import TABLES as CLAIM_TABLES

try:
    hebae_claims.read_claims(
        hebae_claims.CLAIMS, hebae_claims.CLAIMS_SCHEMA
    ).check_named(EXPERIMENT.claims)
except UserError as error:
    sys.exit(f"error: {error}")


rule claims:
    input:
        tables=expand(
            "<results>/tables/{table}.csv",
            table=[table for table in TABLES if table in CLAIM_TABLES],
        ),
    output:
        claims="<results>/tables/claims.csv",
        parts="<results>/tables/claim_parts.csv",
        rule="<results>/tables/claims.json",
    log:
        "<logs>/tables/claims.log",
    benchmark:
        "<benchmarks>/tables/claims.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=small_memory,
    params:
        # their content, not their paths: the step reads them itself, and their place decides nothing
        asked=files.sha256(hebae_claims.CLAIMS)
        + files.sha256(hebae_claims.CLAIMS_SCHEMA),
        code=lambda wildcards: code("hebae.claims.judge"),
        experiment=description,
        folder=lambda wildcards, output: os.path.dirname(output.claims),
    message:
        "Judging the claims"
    shell:
        "python -m hebae.claims.judge --experiment {params.experiment:q} --tables {params.folder:q} --output {params.folder:q}"
        " > {log:q} 2>&1"
