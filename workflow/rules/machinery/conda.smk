# Supports --use-conda: checks where environments may be made, lets one Snakemake at a time make
# them, and remembers what activating them does.

import re

from snakemake.dag import DAG
from snakemake.deployment.conda import Conda

from hebae.workflow import hooks

# envs/*.post-deploy.sh needs it, because Snakemake runs a copy of that script elsewhere
os.environ.update(HEBAE_ROOT=str(ROOT))


def check_conda_prefix():
    """End if conda environments would be made below a folder with a special character in its name.

    Neither conda nor Snakemake's call of a post-deploy script works there.
    """
    folder = Path(
        workflow.deployment_settings.conda_prefix or ".snakemake/conda"
    ).absolute()
    if with_conda() and (sign := re.search(r"[^\w./+@%:,=~-]", str(folder))):
        sys.exit(
            f"error: conda environments cannot be made in {folder}, because of the {sign[0]!r} in its name;"
            " add --conda-prefix DIR, with a DIR of letters, digits and hyphens"
        )


def environment_for_conda():
    """The environment variables with which Snakemake activates a job's environment."""
    theirs = ("R_LIBS", "PYTHONPATH", "PERLLIB", "PERL5LIB")
    return {name: value for name, value in os.environ.items() if name not in theirs}


def remember_activation(scripts):
    """Ask conda once how each environment is activated, and let jobs use the answer.

    Asking takes a third of a second of a core each time. `scripts` maps the prefix of each
    environment to the file for its answer.
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
            continue  # then each job asks conda itself
    ask_conda = Conda.shellcmd

    def shellcmd(self, prefix, command):
        script = scripts.get(str(prefix))
        if script is not None and script.exists():
            return f"source {shlex.quote(str(script))}; {command}"
        return ask_conda(self, prefix, command)

    Conda.shellcmd = shellcmd


check_conda_prefix()
if with_conda() and workflow.is_main_process:
    # another Snakemake would take a half-made environment for a broken one, and delete it
    DAG.create_conda_envs = hooks.alone(
        DAG.create_conda_envs,
        lambda: Path(workflow.persistence.conda_env_path, ".lock"),
    )
