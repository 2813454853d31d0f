# One rule a figure, named as in the paper.


rule fig1a:
    input:
        tables=figure_tables("fig1a"),
        style=STYLE,
        code=code("hebae.figures.fig1a"),
    output:
        pdf="<figures>/fig1a.pdf",
        png="<figures>/fig1a.png",
    log:
        "<logs>/figures/fig1a.log",
    benchmark:
        "<benchmarks>/figures/fig1a.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=small_memory,
    params:
        experiment=DESCRIPTION,
        figure=lambda wildcards, output: Path(output.pdf).stem,
        results=f"results/{EXPERIMENT.name}",
    message:
        "Figure 1a: the bound against epochs and weights"
    shell:
        "python -m hebae.figures.{params.figure} --experiment {params.experiment:q}"
        " --results {params.results:q} --output {output.pdf:q} {output.png:q} > {log:q} 2>&1"


use rule fig1a as fig2a with:
    input:
        tables=figure_tables("fig2a"),
        style=STYLE,
        code=code("hebae.figures.fig2a"),
    output:
        pdf="<figures>/fig2a.pdf",
        png="<figures>/fig2a.png",
    log:
        "<logs>/figures/fig2a.log",
    benchmark:
        "<benchmarks>/figures/fig2a.tsv"
    message:
        "Figure 2a: covariance and correlation of the codes"


use rule fig1a as fig2c with:
    input:
        tables=figure_tables("fig2c"),
        style=STYLE,
        code=code("hebae.figures.fig2c"),
    output:
        pdf="<figures>/fig2c.pdf",
        png="<figures>/fig2c.png",
    log:
        "<logs>/figures/fig2c.log",
    benchmark:
        "<benchmarks>/figures/fig2c.tsv"
    message:
        "Figure 2c: MIC and TIC between images and codes"


use rule fig1a as appendix_c with:
    input:
        images=figure_images("appendix_c"),
        style=STYLE,
        code=code("hebae.figures.appendix_c"),
    output:
        pdf="<figures>/appendix_c.pdf",
        png="<figures>/appendix_c.png",
    log:
        "<logs>/figures/appendix_c.log",
    benchmark:
        "<benchmarks>/figures/appendix_c.tsv"
    message:
        "Appendix C: interpolations, reconstructions and samples"


use rule fig1a as fig1b with:
    input:
        tables=figure_tables("fig1b"),
        style=STYLE,
        code=code("hebae.figures.fig1b"),
    output:
        pdf="<figures>/fig1b.pdf",
        png="<figures>/fig1b.png",
    log:
        "<logs>/figures/fig1b.log",
    benchmark:
        "<benchmarks>/figures/fig1b.tsv"
    message:
        "Figure 1b: Fréchet distance against weights"


use rule fig1a as fig2b with:
    input:
        tables=figure_tables("fig2b"),
        style=STYLE,
        code=code("hebae.figures.fig2b"),
    output:
        pdf="<figures>/fig2b.pdf",
        png="<figures>/fig2b.png",
    log:
        "<logs>/figures/fig2b.log",
    benchmark:
        "<benchmarks>/figures/fig2b.tsv"
    message:
        "Figure 2b: covariance and correlation of the codes, faces"


use rule fig1a as fig2d with:
    input:
        tables=figure_tables("fig2d"),
        style=STYLE,
        code=code("hebae.figures.fig2d"),
    output:
        pdf="<figures>/fig2d.pdf",
        png="<figures>/fig2d.png",
    log:
        "<logs>/figures/fig2d.log",
    benchmark:
        "<benchmarks>/figures/fig2d.tsv"
    message:
        "Figure 2d: MIC and TIC between images and codes, faces"


use rule fig1a as fig3 with:
    input:
        images=figure_images("fig3"),
        style=STYLE,
        code=code("hebae.figures.fig3"),
    output:
        pdf="<figures>/fig3.pdf",
        png="<figures>/fig3.png",
    log:
        "<logs>/figures/fig3.log",
    benchmark:
        "<benchmarks>/figures/fig3.tsv"
    message:
        "Figure 3: interpolations, reconstructions and samples, faces"


use rule fig1a as infovae_diagnostics with:
    input:
        tables=figure_tables("infovae_diagnostics"),
        style=STYLE,
        code=code("hebae.figures.infovae_diagnostics"),
    output:
        pdf="<figures>/infovae_diagnostics.pdf",
        png="<figures>/infovae_diagnostics.png",
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
        style=STYLE,
        code=code("hebae.figures.infovae_decoder"),
    output:
        pdf="<figures>/infovae_decoder.pdf",
        png="<figures>/infovae_decoder.png",
    log:
        "<logs>/figures/infovae_decoder.log",
    benchmark:
        "<benchmarks>/figures/infovae_decoder.tsv"
    message:
        "InfoVAE's information preference, by the kind of decoder"


use rule fig1a as infovae_samples with:
    input:
        images=figure_images("infovae_samples"),
        style=STYLE,
        code=code("hebae.figures.infovae_samples"),
    output:
        pdf="<figures>/infovae_samples.pdf",
        png="<figures>/infovae_samples.png",
    log:
        "<logs>/figures/infovae_samples.log",
    benchmark:
        "<benchmarks>/figures/infovae_samples.tsv"
    message:
        "InfoVAE's random samples beside test images"
