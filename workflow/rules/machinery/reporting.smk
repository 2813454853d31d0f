# What is done where a report is made, and by no other call: its captions state what is in files.

from hebae.workflow import hooks


def check_made(files):
    """Snakemake would end at the first that is missing, without saying what to do."""
    for file in files:
        if not Path(file).exists():
            make = "make it first, with the same config: snakemake --cores 2 pages"
            sys.exit(f"error: the report needs {file}; {make}")


def prepare_to_report(settings):
    """What only a report needs: its look, and what its captions state, which is in files."""
    from hebae.report.facts import report_facts

    if not workflow.dag_settings.targets:
        workflow.default_target = "pages"
        check_made(rules.pages.input)
    if getattr(settings, "stylesheet_path", "") is None:
        settings.stylesheet_path = ROOT / "workflow/report/style.css"
    try:
        config["report"] = report_facts(EXPERIMENT, Path("results", EXPERIMENT.name))
    except UserError as error:
        sys.exit(f"error: {error}")


workflow.create_report = hooks.reporting(workflow, prepare_to_report)
