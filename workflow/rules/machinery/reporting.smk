# Runs only where a report is made: its first page and captions state what files say.

from hebae.workflow import hooks


def check_made(files):
    """End with what to do where a file is missing; Snakemake would only name the file."""
    for file in files:
        if not Path(file).exists():
            make = "make it first, with the same config: snakemake --cores 2 pages"
            sys.exit(f"error: the report needs {file}; {make}")


def prepare_to_report(settings):
    """Set what only a report needs: its style, and the facts that its texts state."""
    from hebae.report.facts import report_facts

    if not workflow.dag_settings.targets:
        workflow.default_target = "pages"
        check_made(rules.pages.input)
    if getattr(settings, "stylesheet_path", "") is None:
        settings.stylesheet_path = ROOT / "workflow/report/style.css"
    try:
        results, figures = (
            Path(folder, EXPERIMENT.name) for folder in ("results", "figures")
        )
        config["report"] = report_facts(EXPERIMENT, results, figures)
    except UserError as error:
        sys.exit(f"error: {error}")


workflow.create_report = hooks.reporting(workflow, prepare_to_report)
