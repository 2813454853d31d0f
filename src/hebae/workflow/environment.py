"""What of Snakemake's environment reaches its jobs: nothing that decides what they compute."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hebae.base.checkout import CONFIG_FILES

# What notebooks, a cluster's modules and shell profiles set: another Python, another language,
# other numbers and places of threads, other instructions, another precision.
PREFIXES = (
    *("PYTHON", "LC_"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "VECLIB_", "NUMEXPR_"),
    *("DNNL_", "ONEDNN_", "ATEN_", "NPY_"),
)
NAMES = (
    *("LANG", "LANGUAGE", "MPLBACKEND", "MATPLOTLIBRC"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
KEPT = "LC_ALL|MKL_INTERFACE_LAYER"
"""Set below; and by a conda environment, which is activated before."""

THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""What Snakemake sets to the threads of a job, whatever it was before."""


def shell_prefix(source: Path, with_conda: bool, config_files: Sequence[Path] = ()) -> str:
    """What the command of every job begins with, for bash.

    Args:
        source: the folder of this package. Jobs run it also in a conda environment, which does
            not have it.
        with_conda: whether jobs run in conda environments. Else they run the Python that runs
            this, whether or not it is activated.
        config_files: what the experiment came from.
    """
    # "${!NAME@}" are the names of the variables that begin so
    found = " ".join([*NAMES, *(f"${{!{prefix}@}}" for prefix in PREFIXES)])
    exports = {
        "PYTHONPATH": shlex.quote(str(source)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        CONFIG_FILES: shlex.quote(json.dumps([path.name for path in config_files])),
        **dict.fromkeys(THREADS, "$_threads"),
        # TMPDIR may name a folder that is not there; a font cache for each job costs seconds
        "MPLCONFIGDIR": "${MPLCONFIGDIR:-"
        + shlex.quote(str(Path(tempfile.gettempdir(), "hebae-matplotlib")))
        + "}",
    }
    if with_conda:
        # conda puts it where an environment was active before, which .venv may stand before
        exports["PATH"] = '"${CONDA_PREFIX:?could not be activated}/bin:$PATH"'
    else:
        exports["PATH"] = shlex.quote(str(Path(sys.executable).parent)) + ':"$PATH"'
    return (
        # LC_ALL first: bash complains of each locale that is not there. C is everywhere, C.UTF-8
        # is not, and Python has UTF-8 without.
        "set -euo pipefail; export LC_ALL=C; _threads=${OMP_NUM_THREADS:-1}; "
        f"for _name in {found}; do [[ $_name =~ ^({KEPT})$ ]] || unset $_name; done; "
        f"export {' '.join(f'{name}={value}' for name, value in exports.items())}; "
    )
