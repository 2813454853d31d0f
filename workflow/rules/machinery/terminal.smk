# Decides what is printed about Snakemake and its jobs.

from snakemake import logging as snakemake_logging

from hebae.workflow import closing, forecast, hooks, screen, terminal, views
from hebae.workflow.estimate import Estimate, read_earlier
from hebae.workflow.jobs import job_of
from hebae.workflow.run_progress import RunProgress

terminal.say_in_any_locale(snakemake_logging.logger.handlers)

failed_jobs = terminal.FailedJobs(snakemake_logging.logger)
snakemake_logging.logger.addFilter(failed_jobs)
snakemake_logging.show_logs = failed_jobs.last_lines


def in_own_words():
    """Whether hebae.workflow.screen reports this run: yes, unless other output was asked for."""
    asked = workflow.output_settings
    other = asked.verbose, asked.debug_dag, asked.printshellcmds, asked.quiet
    other += asked.log_handler_settings, asked.stdout, asked.dryrun
    return workflow.is_main_process and not any(other)


def planning_only():
    """Whether this is the dry run of hebae.workflow.dry_run."""
    return workflow.output_settings.dryrun and forecast.VARIABLE in os.environ


if in_own_words() or planning_only():
    # Snakemake says this before it is known whether anything will be made
    screen.keep_quiet_about(
        snakemake_logging.logger, "Assuming unrestricted shared filesystem"
    )


def begin_to_tell(executor):
    """Replace Snakemake's handler if something will be made."""
    workflow.screen = None
    if planning_only():
        handler = screen.Warnings(views.Lines())
    elif in_own_words() and not executor.touch_exec:
        colours = not workflow.output_settings.nocolor
        view = views.view_of(sys.stderr, colours)
        handler = workflow.screen = screen.Screen(view, failed_jobs, count_jobs)
    else:
        return
    screen.replace_handler(snakemake_logging.logger, handler)
    if planning_only():
        # the plan says so itself
        screen.keep_quiet_about(snakemake_logging.logger, "Nothing to be done")


def job_to_tell(job, trained):
    """A job of Snakemake's as it is reported; None if it only asks for other jobs."""
    if job.rule.name == "train":
        run = run_of(job.wildcards)
        taken = f"runs/{run.path}" not in trained
        return job_of(job, workflow.dag.jobid(job), run.training.epochs, taken)
    if job.rule.name in registry.TRAINED_FEATURES:
        taken = f"features/{job.wildcards.dataset}/{job.rule.name}" not in trained
        return job_of(job, workflow.dag.jobid(job), taken=taken)
    return job_of(job, workflow.dag.jobid(job))


def jobs_to_tell(jobs, trained):
    """Those jobs that make something, as they are reported."""
    told = (job_to_tell(job, trained) for job in jobs)
    return [job for job in told if job is not None]


def estimate_now():
    """An estimate from earlier runs of how long jobs take, and how many run at once."""
    cores = workflow.cores if workflow.local_exec else None
    return Estimate(read_earlier(Path("results"), EXPERIMENT.name)), cores


def count_jobs():
    """The progress of the jobs that are about to be done."""
    jobs = jobs_to_tell(workflow.dag.needrun_jobs(), workflow.decided.trained)
    return RunProgress(jobs, *estimate_now())


def print_plan():
    """Print what would be done, instead of Snakemake's dry run."""
    todo = set(workflow.dag.needrun_jobs(exclude_finished=False))
    jobs = jobs_to_tell(todo, workflow.decided.trained)
    there = jobs_to_tell(set(workflow.dag.jobs) - todo, ())
    configs = " ".join(os.path.relpath(path) for path in workflow.configfiles)
    said = forecast.trainings(jobs, workflow.decided.replaced) + workflow.decided.said
    lines = forecast.plan_lines(
        EXPERIMENT.name, configs, jobs, there, said, *estimate_now()
    )
    print("\n".join(lines), flush=True)


def asked_files():
    """The files that the user asked for in this call."""
    dag = workflow.dag
    files = set(map(str, dag.targetfiles))
    asked = set(dag.targetrules)  # Snakemake's lint takes "if a rule in …" for a rule
    for job in dag.targetjobs:
        if asked.intersection([job.rule]):
            files.update(map(str, job.output or job.input))
    return files


def end_telling(error):
    """Print how the run ended, and where its results are."""
    if workflow.screen is None:
        return
    places, following = [], None
    if error is None:
        asked = workflow.dag_settings
        in_part = asked.until or asked.omit_from or asked.batch
        places = closing.where(asked_files(), EXPERIMENT.name)
        if not in_part and "all" in [each.name for each in workflow.dag.targetrules]:
            following = closing.next_command(
                EXPERIMENT.name,
                workflow.configfiles,
                workflow.config_settings.config_args or (),
                "config/demo.yaml",
                Path("Makefile").exists() and not with_conda(),
            )
    workflow.screen.end(error, places, following)


workflow.execute = hooks.told(
    workflow, begin_to_tell, end_telling, print_plan if planning_only() else None
)
