# What is refused as soon as it is known which jobs there are, by dry runs too.

from hebae.data import plan as data_plan
from hebae.workflow import closed, gpu


def check_executor(plugin):
    """End where jobs cannot be sent: each would be tried, and tried again."""
    if plugin.name == "slurm" and not shutil.which("sbatch"):
        sys.exit(
            "error: jobs were to be sent to SLURM, and there is no sbatch here; run this where"
            " jobs are submitted, or without --profile profiles/slurm"
        )


def check_open():
    """End where results are behind a closed folder: Snakemake takes them for missing."""
    files = (file for job in workflow.dag.needrun_jobs() for file in job.output)
    if folder := closed.closed_folder(files):
        sys.exit(
            f"error: {folder} is closed for this user, and what it holds is not missing; "
            f"open it: chmod u+rwx {shlex.quote(str(folder))}"
        )


def check_device():
    """End where jobs would, later: on a GPU that is not there. What other machines have is unknown."""
    # nodes: how many jobs are sent away at once; a dry run knows no more of the executor
    here = workflow.resource_settings.nodes is None and not with_conda()
    if EXECUTION.device != "cuda" or not here:
        return
    if any("gpu" in job.rule.resources for job in workflow.dag.needrun_jobs()):
        if reason := gpu.why_no_cuda():
            sys.exit(
                f"error: device: cuda was asked for, but {reason}; say device: auto or cpu"
            )


def check_raw_data():
    """Say what the raw data of this plan's jobs is, or end in one line."""
    jobs = workflow.dag.needrun_jobs()
    used = {(job.rule.name, job.wildcards.get("dataset")) for job in jobs}
    data_dir = Path(EXECUTION.data_dir).expanduser()
    try:
        for label in EXPERIMENT.datasets:
            if ("prepare", label) in used:
                source = EXPERIMENT.datasets[label].source
                folder = Path("results", EXPERIMENT.name, "data", label)
                data_plan.check(label, source, data_dir, folder, settled(label))
                for line in data_plan.downloads(source, data_dir, settled(label)):
                    tell(f"{label}: {line}")
        if any(name == "inception" for name, _ in used):
            data_plan.check_data_dir(data_dir)
    except UserError as error:
        sys.exit(f"error: {error}")
    for label in EXPERIMENT.datasets:
        if any(label == dataset for _, dataset in used):
            for note in settled(label).notes:
                tell(f"{label}: {note}")
