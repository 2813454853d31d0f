# Which runs are trained together (hebae.training.stack). Not as rules and inputs: what is trained would be
# trained again where packs change.

from hebae.training import packs

PACKS = f"results/{EXPERIMENT.name}/packs.json"


def plan_packs():
    """Write down which of the runs that are to be trained are trained together."""
    path = Path(PACKS)
    path.unlink(missing_ok=True)
    # jobs that are sent away run side by side, and would wait for the one that works
    if EXECUTION.pack > 1 and workflow.local_exec:
        waiting = {
            run_of(job.wildcards).path
            for job in workflow.dag.needrun_jobs()
            if job.rule.name == "train"
        }
        packs.write(path, packs.plan(every_run(EXPERIMENT), EXECUTION.pack), waiting)
