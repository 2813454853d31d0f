"""What of Snakemake's environment reaches its jobs: nothing that decides what they compute."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

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
KEPT = "MKL_INTERFACE_LAYER"
"""A conda environment sets it as it is activated, which is before."""

THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""What Snakemake sets to the threads of a job, whatever it was before."""


def shell_prefix(source: Path, with_conda: bool) -> str:
    """What the command of every job begins with, for bash.

    Args:
        source: the folder of this package. Jobs run it also in a conda environment, which does
            not have it.
        with_conda: whether jobs run in conda environments. Else they run the Python that runs
            this, whether or not it is activated.
    """
    # "${!NAME@}" are the names of the variables that begin so
    found = " ".join([*NAMES, *(f"${{!{prefix}@}}" for prefix in PREFIXES)])
    exports = {
        "PYTHONPATH": shlex.quote(str(source)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "LC_ALL": "C",  # C.UTF-8 is not everywhere, and bash says so; Python has UTF-8 already
        **dict.fromkeys(THREADS, "$_threads"),
        # TMPDIR may name a folder that is not there; a font cache for each job costs seconds
        "MPLCONFIGDIR": "${MPLCONFIGDIR:-"
        + shlex.quote(str(Path(tempfile.gettempdir(), "hebae-matplotlib")))
        + "}",
    }
    if not with_conda:
        exports["PATH"] = shlex.quote(str(Path(sys.executable).parent)) + ':"$PATH"'
    return (
        "set -euo pipefail; _threads=${OMP_NUM_THREADS:-1}; "
        f"for _name in {found}; do [[ $_name == {KEPT} ]] || unset $_name; done; "
        f"export {' '.join(f'{name}={value}' for name, value in exports.items())}; "
    )
