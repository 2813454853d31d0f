# One rule a figure, named as in the paper. What differs between them is in the registry.

from hebae.report.names import placed


def figure_code(figure):
    """What the code of a figure and its style are, which it reads, as a function of a job."""
    found = registry.drawn_by(figure), registry.captioned_by(figure)
    modules = "hebae.figures.draw", *map(module_of, found)
    style = ROOT / "src/hebae/figures/paper.mplstyle"
    return lambda wildcards: code(*modules) + files.sha256(style)


def figure_dataset(figure):
    """The dataset a figure shows in this experiment."""
    if figure not in EXPERIMENT.figures:
        drawn = ", ".join(EXPERIMENT.figures)
        raise WorkflowError(
            f"{EXPERIMENT.name} has no figure {figure}; its figures: {drawn}"
        )
    return EXPERIMENT.figures[figure]


def figure_tables(figure):
    """The tables a figure is drawn from, as an input function."""

    def tables(wildcards):
        figure_dataset(figure)
        return [
            f"<results>/tables/{table}.csv" for table in registry.FIGURES[figure].tables
        ]

    return tables


def figure_images(figure):
    """The images a figure shows, one file a model, as an input function."""

    entry = registry.FIGURES[figure]

    def images(wildcards):
        dataset = figure_dataset(figure)
        runs = EXPERIMENT.main_runs(dataset) if entry.needs_images else []
        return [f"<results>/runs/{run.path}/images.npz" for run in runs]

    return images


def figure_distortions(figure):
    """The distances of distorted images that a figure shows, as an input function."""

    def distortions(wildcards):
        dataset = figure_dataset(figure)
        if not registry.FIGURES[figure].needs_distortions:
            return []
        return f"<results>/{registry.distortions_of(dataset)}"

    return distortions


def all_figures():
    """Every file of every figure of the experiment."""
    return [
        f"<figures>/{figure}.{suffix}"
        for figure in EXPERIMENT.figures
        for suffix in ("pdf", "png")
    ]


for figure, entry in registry.FIGURES.items():

    rule:
        name:
            figure
        input:
            tables=figure_tables(figure),
            distortions=figure_distortions(figure),
            images=figure_images(figure),
            runs="<results>/tables/runs.csv",
        output:
            pdf=f"<figures>/{figure}.pdf",
            png=report(
                f"<figures>/{figure}.png",
                caption="../report/figure.rst",
                **placed(EXPERIMENT, figure),
            ),
            provenance=f"<figures>/{figure}.json",
        log:
            f"<logs>/figures/{figure}.log",
        benchmark:
            f"<benchmarks>/figures/{figure}.tsv"
        group:
            "drawing"
        conda:
            "../../envs/figures.yaml"
        resources:
            mem_mb=small_memory,
        params:
            code=figure_code(figure),
            experiment=description,
            figure=figure,
            width=EXECUTION.figure_width,
            results=lambda wildcards, input: str(Path(input.runs).parents[1]),
        message:
            f"{entry.title}: {entry.shows}"
        shell:
            "python -m hebae.figures.draw --figure {params.figure} --experiment {params.experiment:q}"
            " --results {params.results:q} --output {output.pdf:q} {output.png:q}"
            " --provenance {output.provenance:q} --width {params.width} > {log:q} 2>&1"
