# What is checked when something is about to be made, and not by dry runs, reports and the like.

from hebae.workflow import hooks, workspace


def tell(line):
    print(line, file=sys.stderr, flush=True)


def drop_default_rate_limit():
    """Have no limit on the jobs a second where nobody asked for one.

    With its default, 100/1s, each round of Snakemake's scheduler begins a timer for another round
    a second later. Every job that ends begins one more such chain: hundreds of rounds a second
    in the end, each of which looks at the inputs of every job that is ready.
    """
    settings = workflow.scheduling_settings
    limit = settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        settings.max_jobs_per_timespan = None


def prepare_to_make():
    """Claim the results, or end in one line."""
    drop_default_rate_limit()
    results = Path("results", EXPERIMENT.name)
    figures = Path("figures", EXPERIMENT.name)
    try:
        workspace.check_writable(results)
        workspace.check_writable(figures)
        if workflow.execution_settings.lock:
            # kept: closing it would give it back
            workflow.claim = workspace.claim(EXPERIMENT.name, results)
            locks = Path(".snakemake/locks")
            if workspace.remove_stale_locks(locks, [results, figures]):
                tell("A Snakemake that made this was killed: going on.")
        if dated := workspace.date_now([results, figures, ROOT / "src"]):
            tell(f"{dated} files from the future are dated now.")
        if not EXECUTION.replace:
            workspace.check_same_config(
                results,
                every_run(EXPERIMENT),
                {name: data.source for name, data in EXPERIMENT.datasets.items()},
            )
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


workflow.execute = hooks.guarded(workflow, prepare_to_make)


def forget_ended_trainings():
    # Outputs may be whole and yet not noted: of a training that outlived a killed Snakemake.
    noted = [
        Path(job.output.run).parent
        for job in workflow.dag.jobs
        if job.rule.name == "train"
        and (workflow.dag.finished(job) or not workflow.dag.needrun(job))
    ]
    results = Path("results", EXPERIMENT.name)
    workspace.sweep(results / "checkpoints", results / "runs", noted)


onsuccess:
    forget_ended_trainings()


onerror:
    forget_ended_trainings()
