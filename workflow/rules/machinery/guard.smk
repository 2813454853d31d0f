# Checks before anything is made; the plan of trainings is settled in dry runs too.

from hebae.training import finished
from hebae.training.plan import write_plan
from hebae.workflow import hooks, planning, workspace


def tell(line):
    print(line, file=sys.stderr, flush=True)


def drop_default_rate_limit():
    """Remove the limit on jobs per second, unless the user set one.

    With the default limit, 100/1s, each round of Snakemake's scheduler starts a timer for another
    round a second later. Every job that ends starts one more such chain. In the end there are
    hundreds of rounds a second, each of which looks at the inputs of every job that is ready.
    """
    settings = workflow.scheduling_settings
    limit = settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        settings.max_jobs_per_timespan = None


def prepare_to_make(executor_plugin):
    """Claim the results, or end with one line."""
    check_executor(executor_plugin)
    drop_default_rate_limit()
    results = Path("results", EXPERIMENT.name)
    figures = Path("figures", EXPERIMENT.name)
    try:
        workspace.check_writable(results)
        workspace.check_writable(figures)
        if workflow.execution_settings.lock:
            # kept, because closing the file would release the claim
            workflow.claim = workspace.claim(EXPERIMENT.name, results)
            locks = Path(".snakemake/locks")
            if workspace.remove_stale_locks(locks, [results, figures]):
                tell("An earlier Snakemake was killed here. Its locks were removed.")
        if dated := workspace.date_now([results, figures]):
            tell(f"{dated} files were dated in the future. They are dated now.")
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


def trainings():
    """The trainings of the plan, each with what decides it."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "train":
            run = run_of(job.wildcards)
            decides = finished.of_run(run, settled(run.dataset).checksum, machine())
            yield planning.Asked(f"runs/{run.path}", decides)
        elif job.rule.name in registry.TRAINED_FEATURES:
            name, dataset = job.rule.name, job.wildcards.dataset
            decides = finished.of_features(name, settled(dataset).checksum, machine())
            yield planning.Asked(f"features/{dataset}/{name}", decides)


def force_others():
    """Ask for every run whose place holds another run, even if Snakemake takes it for finished.

    Snakemake may have lost its notes, or the user may have kept another run before. Versions and
    device do not count here; they count when the training itself is decided on.
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
    """Find out about raw data and finished trainings; end if one would be replaced unasked."""
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
