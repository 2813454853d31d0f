# What is checked when something is about to be made, and not by dry runs, reports and the like.

from hebae import workspace


def guarded(execute):
    """Workflow.execute, the first place where Snakemake knows whether it will make anything."""

    def run(executor_plugin, **settings):
        if workflow.is_main_process and not executor_plugin.common_settings.dryrun_exec:
            prepare_to_make(locking=workflow.execution_settings.lock)
        return execute(executor_plugin=executor_plugin, **settings)

    return run


def prepare_to_make(locking):
    """Claim the results, or end in one line."""
    results = Path("results", EXPERIMENT.name)
    figures = Path("figures", EXPERIMENT.name)
    try:
        workspace.check_writable(results)
        workspace.check_writable(figures)
        if locking:
            # kept: closing it would give it back
            workflow.claim = workspace.claim(EXPERIMENT.name, results)
            locks = Path(".snakemake/locks")
            if workspace.remove_stale_locks(locks, [results, figures]):
                print(
                    "A Snakemake that made this was killed: going on.", file=sys.stderr
                )
        if not EXPERIMENT.replace:
            workspace.check_same_config(EXPERIMENT.name, results, EXPERIMENT.runs())
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


workflow.execute = guarded(workflow.execute)


def forget_ended_trainings():
    workspace.sweep(Path("results", EXPERIMENT.name, "checkpoints"))


onsuccess:
    forget_ended_trainings()


onerror:
    forget_ended_trainings()
