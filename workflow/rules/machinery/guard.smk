# What is checked when something is about to be made, and not by dry runs, reports and the like.

from hebae.training import finished
from hebae.training.plan import write_plan
from hebae.workflow import hooks, planning, workspace


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


def prepare_to_make(executor_plugin):
    """Claim the results, or end in one line."""
    check_executor(executor_plugin)
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
        if dated := workspace.date_now([results, figures]):
            tell(f"{dated} files from the future are dated now.")
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


def trainings():
    """The trainings that the plan asks for, each with what decides it."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "train":
            run = run_of(job.wildcards)
            decides = finished.of_run(run, settled(run.dataset).checksum, machine())
            yield planning.Asked(f"runs/{run.path}", decides)
        elif job.rule.name == "classifier":
            dataset = job.wildcards.dataset
            decides = finished.of_classifier(settled(dataset).checksum, machine())
            yield planning.Asked(f"features/{dataset}/classifier", decides)


def force_others():
    """Have runs trained in whose places there are others, whatever Snakemake knows of them.

    It may have lost what it noted, or have been told that a run is to be kept. What they were
    computed with counts where they are asked for, not for asking.
    """
    results = Path("results", EXPERIMENT.name)
    unknown = finished.Machine(None, None, None)
    for run in every_run(EXPERIMENT):
        place = finished.read(results / "runs" / run.path)
        if place is None:
            continue
        asked = finished.of_run(run, settled(run.dataset).checksum, unknown)
        other = finished.unlike(place.decides, asked)
        if EXECUTION.word == Word.REPLACE:
            other = other or "kept" in place.record
        elif place.agreed(asked):
            other = False
        if other:
            workflow.dag.forcefiles.add(str(place.folder / "weights.pt"))


def settle_plan(dryrun):
    """See what raw data is and which trainings are there; end where one would be replaced."""
    check_open()
    check_device()
    check_raw_data()
    results = Path("results", EXPERIMENT.name)
    asked = list(trainings())
    try:
        decision = planning.decide(asked, results, EXECUTION.word, keep=not dryrun)
        for line in () if planning_only() else decision.said:
            tell(line)
        if not dryrun:
            write_plan(Path(PLAN), plan_of(decision))
        workflow.decided = decision
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


workflow.execute = hooks.guarded(workflow, prepare_to_make, force_others, settle_plan)
