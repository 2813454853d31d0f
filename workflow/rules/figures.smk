# One rule a figure, named as in the paper.


rule fig1a:
    input:
        tables=figure_tables("fig1a"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig1a"),
    output:
        pdf="<figures>/fig1a.pdf",
        png=report("<figures>/fig1a.png", **in_report("fig1a")),
        provenance="<figures>/fig1a.json",
    log:
        "<logs>/figures/fig1a.log",
    benchmark:
        "<benchmarks>/figures/fig1a.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=small_memory,
    params:
        experiment=description,
        figure=lambda wildcards, output: Path(output.pdf).stem,
        results=lambda wildcards, input: str(Path(input.runs).parents[1]),
    message:
        "Figure 1a: the bound against epochs and weights"
    shell:
        "python -m hebae.figures.{params.figure} --experiment {params.experiment:q}"
        " --results {params.results:q} --output {output.pdf:q} {output.png:q}"
        " --provenance {output.provenance:q} > {log:q} 2>&1"


use rule fig1a as fig2a with:
    input:
        tables=figure_tables("fig2a"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig2a"),
    output:
        pdf="<figures>/fig2a.pdf",
        png=report("<figures>/fig2a.png", **in_report("fig2a")),
        provenance="<figures>/fig2a.json",
    log:
        "<logs>/figures/fig2a.log",
    benchmark:
        "<benchmarks>/figures/fig2a.tsv"
    message:
        "Figure 2a: covariance and correlation of the codes"


use rule fig1a as fig2c with:
    input:
        tables=figure_tables("fig2c"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig2c"),
    output:
        pdf="<figures>/fig2c.pdf",
        png=report("<figures>/fig2c.png", **in_report("fig2c")),
        provenance="<figures>/fig2c.json",
    log:
        "<logs>/figures/fig2c.log",
    benchmark:
        "<benchmarks>/figures/fig2c.tsv"
    message:
        "Figure 2c: MIC and TIC between images and codes"


use rule fig1a as appendix_c with:
    input:
        images=figure_images("appendix_c"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.appendix_c"),
    output:
        pdf="<figures>/appendix_c.pdf",
        png=report("<figures>/appendix_c.png", **in_report("appendix_c")),
        provenance="<figures>/appendix_c.json",
    log:
        "<logs>/figures/appendix_c.log",
    benchmark:
        "<benchmarks>/figures/appendix_c.tsv"
    message:
        "Appendix C: interpolations, reconstructions and samples"


use rule fig1a as fig1b with:
    input:
        tables=figure_tables("fig1b"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig1b"),
    output:
        pdf="<figures>/fig1b.pdf",
        png=report("<figures>/fig1b.png", **in_report("fig1b")),
        provenance="<figures>/fig1b.json",
    log:
        "<logs>/figures/fig1b.log",
    benchmark:
        "<benchmarks>/figures/fig1b.tsv"
    message:
        "Figure 1b: Fréchet distance against weights"


use rule fig1a as fig2b with:
    input:
        tables=figure_tables("fig2b"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig2b"),
    output:
        pdf="<figures>/fig2b.pdf",
        png=report("<figures>/fig2b.png", **in_report("fig2b")),
        provenance="<figures>/fig2b.json",
    log:
        "<logs>/figures/fig2b.log",
    benchmark:
        "<benchmarks>/figures/fig2b.tsv"
    message:
        "Figure 2b: covariance and correlation of the codes, faces"


use rule fig1a as fig2d with:
    input:
        tables=figure_tables("fig2d"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig2d"),
    output:
        pdf="<figures>/fig2d.pdf",
        png=report("<figures>/fig2d.png", **in_report("fig2d")),
        provenance="<figures>/fig2d.json",
    log:
        "<logs>/figures/fig2d.log",
    benchmark:
        "<benchmarks>/figures/fig2d.tsv"
    message:
        "Figure 2d: MIC and TIC between images and codes, faces"


use rule fig1a as fig3 with:
    input:
        images=figure_images("fig3"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.fig3"),
    output:
        pdf="<figures>/fig3.pdf",
        png=report("<figures>/fig3.png", **in_report("fig3")),
        provenance="<figures>/fig3.json",
    log:
        "<logs>/figures/fig3.log",
    benchmark:
        "<benchmarks>/figures/fig3.tsv"
    message:
        "Figure 3: interpolations, reconstructions and samples, faces"


use rule fig1a as infovae_diagnostics with:
    input:
        tables=figure_tables("infovae_diagnostics"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.infovae_diagnostics"),
    output:
        pdf="<figures>/infovae_diagnostics.pdf",
        png=report(
            "<figures>/infovae_diagnostics.png", **in_report("infovae_diagnostics")
        ),
        provenance="<figures>/infovae_diagnostics.json",
    log:
        "<logs>/figures/infovae_diagnostics.log",
    benchmark:
        "<benchmarks>/figures/infovae_diagnostics.tsv"
    message:
        "InfoVAE's diagnostics: distance of the codes to the prior"


use rule fig1a as infovae_decoder with:
    input:
        tables=figure_tables("infovae_decoder"),
        images=figure_images("infovae_decoder"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.infovae_decoder"),
    output:
        pdf="<figures>/infovae_decoder.pdf",
        png=report("<figures>/infovae_decoder.png", **in_report("infovae_decoder")),
        provenance="<figures>/infovae_decoder.json",
    log:
        "<logs>/figures/infovae_decoder.log",
    benchmark:
        "<benchmarks>/figures/infovae_decoder.tsv"
    message:
        "InfoVAE's information preference, by the kind of decoder"


use rule fig1a as infovae_samples with:
    input:
        images=figure_images("infovae_samples"),
        runs="<results>/tables/runs.csv",
        style=STYLE,
        code=code("hebae.figures.infovae_samples"),
    output:
        pdf="<figures>/infovae_samples.pdf",
        png=report("<figures>/infovae_samples.png", **in_report("infovae_samples")),
        provenance="<figures>/infovae_samples.json",
    log:
        "<logs>/figures/infovae_samples.log",
    benchmark:
        "<benchmarks>/figures/infovae_samples.tsv"
    message:
        "InfoVAE's random samples beside test images"
