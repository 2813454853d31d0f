"""Redraws every figure of the HEBAE paper from raw data.

snakemake --cores 8                                       the demo (config/demo.yaml)
snakemake --cores 8 --configfile config/paper.yaml        the paper: mnist.yaml and celeba.yaml
snakemake --cores 2 figures/demo/fig2a.pdf                one figure; or by name: fig2a
"""

from snakemake.utils import min_version

min_version("9.27")


# Only where no config is given: Snakemake would merge the second into the first.
if not workflow.configfiles:

    configfile: "config/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/machinery/terminal.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/machinery/plan.smk"
include: "workflow/rules/machinery/guard.smk"
include: "workflow/rules/machinery/early.smk"
include: "workflow/rules/machinery/conda.smk"
include: "workflow/rules/machinery/preload.smk"
include: "workflow/rules/machinery/reporting.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/fid.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/figures.smk"


onstart:
    preload()


rule all:
    default_target: True
    input:
        figures=all_figures(),
        tables=expand("<results>/tables/{table}.csv", table=[*TABLES, "claims"]),
    message:
        "Every figure and table is drawn, and the claims are judged"


include: "workflow/rules/report.smk"
