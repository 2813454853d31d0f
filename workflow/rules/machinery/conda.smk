# What --use-conda needs beside the environments' files: where they may be made, by one Snakemake at
# a time, and what activating them does.

import re

from snakemake.dag import DAG
from snakemake.deployment.conda import Conda

from hebae.workflow import hooks

# for envs/*.post-deploy.sh, of which Snakemake runs a copy
os.environ.update(HEBAE_ROOT=str(ROOT))


def check_conda_prefix():
    """End where conda environments would be made below a folder with a space or the like in its name.

    Neither conda nor Snakemake's call of a post-deploy script can be used there.
    """
    folder = Path(
        workflow.deployment_settings.conda_prefix or ".snakemake/conda"
    ).absolute()
    if with_conda() and (sign := re.search(r"[^\w./+@%:,=~-]", str(folder))):
        sys.exit(
            f"error: conda environments cannot be made in {folder}, for the {sign[0]!r} in its name;"
            " add --conda-prefix DIR, with a DIR of letters, digits and hyphens"
        )


def environment_for_conda():
    """The environment variables with which Snakemake activates a job's environment."""
    theirs = ("R_LIBS", "PYTHONPATH", "PERLLIB", "PERL5LIB")
    return {name: value for name, value in os.environ.items() if name not in theirs}


def remember_activation(scripts):
    """Have jobs do what conda says of activating environments, and not ask it again.

    It takes a third of a second of a core each time. `scripts` is where to remember it, by prefix.
    """
    for prefix, script in scripts.items():
        try:
            said = subprocess.run(
                [Path(Conda().bin_path(), "conda"), "shell.posix", "activate", prefix],
                env=environment_for_conda(),
                capture_output=True,
            )
            if said.returncode == 0 and said.stdout:
                script.parent.mkdir(parents=True, exist_ok=True)
                script.write_bytes(said.stdout)
        except OSError:
            continue  # each job asks it
    ask_conda = Conda.shellcmd

    def shellcmd(self, prefix, command):
        script = scripts.get(str(prefix))
        if script is not None and script.exists():
            return f"source {shlex.quote(str(script))}; {command}"
        return ask_conda(self, prefix, command)

    Conda.shellcmd = shellcmd


check_conda_prefix()
if with_conda() and workflow.is_main_process:
    # another Snakemake would take what is half made for broken, and delete it
    DAG.create_conda_envs = hooks.alone(
        DAG.create_conda_envs,
        lambda: Path(workflow.persistence.conda_env_path, ".lock"),
    )
