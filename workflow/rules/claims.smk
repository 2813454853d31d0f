# Whether the papers' claims held, from the tables alone.

from hebae.claims import read as hebae_claims
from hebae.claims.measures import TABLES as CLAIM_TABLES

CLAIMS_FILE = os.path.relpath(ROOT / "config/claims.yaml")
CLAIMS_SCHEMA = os.path.relpath(ROOT / "workflow/schemas/claims.schema.yaml")

try:
    hebae_claims.read_claims(Path(CLAIMS_FILE), Path(CLAIMS_SCHEMA)).check_named(
        EXPERIMENT.claims
    )
except UserError as error:
    sys.exit(f"error: {error}")


rule claims:
    input:
        tables=expand(
            "<results>/tables/{table}.csv",
            table=[table for table in TABLES if table in CLAIM_TABLES],
        ),
        claims=CLAIMS_FILE,
        schema=CLAIMS_SCHEMA,
        code=code("hebae.claims.judge"),
    output:
        claims="<results>/tables/claims.csv",
        parts="<results>/tables/claim_parts.csv",
    log:
        "<logs>/tables/claims.log",
    benchmark:
        "<benchmarks>/tables/claims.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=small_memory,
    params:
        experiment=description,
        tables=lambda wildcards, output: os.path.dirname(output.claims),
    message:
        "Judging the claims"
    shell:
        "python -m hebae.claims.judge --experiment {params.experiment:q} --claims {input.claims:q}"
        " --schema {input.schema:q} --tables {params.tables:q} --output {output.claims:q}"
        " --parts {output.parts:q} > {log:q} 2>&1"
