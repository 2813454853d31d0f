# Writes the plan of trainings to a file that they read. If packs were in rules and inputs, a changed
# pack would train finished runs again.

from hebae.training import packs
from hebae.training.plan import Plan

PLAN = f"results/{EXPERIMENT.name}/plan.json"


def plan_of(decision):
    """Which runs are trained together (hebae.training.stack), and which are taken as they are."""
    together = []
    # jobs on other machines run side by side, and all but one would wait
    if EXECUTION.pack > 1 and workflow.local_exec:
        waiting = {label.removeprefix("runs/") for label in decision.trained}
        together = packs.packs(every_run(EXPERIMENT), EXECUTION.pack, waiting)
    return Plan(
        tuple(map(tuple, together)),
        decision.instead,
        train=EXECUTION.word != Word.RESTORE,
        runs=tuple(run.path for run in every_run(EXPERIMENT)),
    )
