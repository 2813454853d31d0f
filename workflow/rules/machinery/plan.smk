# What trainings are told of the plan: a file, not rules and inputs, which would train again what is
# trained where packs change.

from hebae.training import packs
from hebae.training.plan import Plan

PLAN = f"results/{EXPERIMENT.name}/plan.json"


def plan_of(decision):
    """Which runs are trained together (hebae.training.stack), and what is taken, not trained."""
    together = []
    # jobs that are sent away run side by side, and would wait for the one that works
    if EXECUTION.pack > 1 and workflow.local_exec:
        waiting = {label.removeprefix("runs/") for label in decision.trained}
        together = packs.packs(every_run(EXPERIMENT), EXECUTION.pack, waiting)
    return Plan(
        tuple(map(tuple, together)),
        decision.instead,
        train=EXECUTION.word != Word.RESTORE,
        runs=tuple(run.path for run in every_run(EXPERIMENT)),
    )
