# Checks that need the list of jobs; dry runs make them too.

from hebae.data import plan as data_plan
from hebae.workflow import closed, gpu


def check_executor(plugin):
    """End if jobs cannot be submitted; otherwise each would be tried, and tried again."""
    if plugin.name == "slurm" and not shutil.which("sbatch"):
        sys.exit(
            "error: jobs were to be sent to SLURM, but there is no sbatch here; run this on a"
            " machine that can submit jobs, or without --profile profiles/slurm"
        )


def check_open():
    """End if a folder with results is closed: Snakemake would take them for missing."""
    files = (file for job in workflow.dag.needrun_jobs() for file in job.output)
    if folder := closed.closed_folder(files):
        sys.exit(
            f"error: {folder} is closed for this user, so its files look missing although they are"
            f" not; open it: chmod u+rwx {shlex.quote(str(folder))}"
        )


def check_device():
    """End if jobs would later fail for want of a GPU on this machine; others are not checked."""
    # nodes is set if jobs are sent away; a dry run knows nothing else of the executor
    here = workflow.resource_settings.nodes is None and not with_conda()
    if EXECUTION.device != "cuda" or not here:
        return
    if any("gpu" in job.rule.resources for job in workflow.dag.needrun_jobs()):
        if reason := gpu.why_no_cuda():
            sys.exit(
                f"error: device: cuda was asked for, but {reason}; use device: auto or cpu"
            )


def check_raw_data():
    """Print what was found of the raw data of this plan's jobs, or end with one line."""
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
