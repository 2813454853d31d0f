# The report's first page, and its page of claims.
#
# snakemake --cores 2 pages               makes everything that the report shows
# snakemake --report report-demo.html     writes the report

from hebae.report.names import CLAIMS, categories


report: "../report/workflow.rst"


rule claims_page:
    input:
        claims=report(
            "<results>/tables/claims.csv",
            category=categories(EXPERIMENT)[CLAIMS],
            labels={"what": "Table of the verdicts (claims.csv)"},
            caption="../report/claims.rst",
        ),
        parts=report(
            "<results>/tables/claim_parts.csv",
            category=categories(EXPERIMENT)[CLAIMS],
            labels={"what": "Table of the tests’ parts (claim_parts.csv)"},
            caption="../report/claim_parts.rst",
        ),
    output:
        page=report(
            "<results>/report/claims.html",
            category=categories(EXPERIMENT)[CLAIMS],
            labels={"what": "All claims and their verdicts"},
            caption="../report/claims.rst",
        ),
    log:
        "<logs>/report/claims_page.log",
    benchmark:
        "<benchmarks>/report/claims_page.tsv"
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=lambda wildcards: code("hebae.report.claims_page"),
        experiment=description,
    message:
        "The page of claims and verdicts"
    shell:
        "python -m hebae.report.claims_page --experiment {params.experiment:q}"
        " --claims {input.claims:q} --parts {input.parts:q} --output {output.page:q}"
        " > {log:q} 2>&1"


rule pages:
    input:
        rules.all.input,
        rules.claims_page.output,
    message:
        "Everything that the report shows is made"
