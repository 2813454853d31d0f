"""Keeps from jobs all environment variables that could change what they compute."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hebae.base.checkout import CONFIG_FILES

# Variables that notebooks, a cluster's modules and shell profiles set. They choose another Python,
# language, number or placement of threads, instruction set or precision.
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
"""Variables that are set below, or by a conda environment, which is activated before."""

THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""The variable that Snakemake sets to the threads of a job, whatever it was before."""


def shell_prefix(source: Path, with_conda: bool, config_files: Sequence[Path] = ()) -> str:
    """The beginning of every job's command, for bash.

    Args:
        source: the folder of this package, which conda environments do not contain.
        with_conda: whether jobs run in conda environments. Otherwise they run the Python that runs
            this, whether or not its environment is activated.
        config_files: the config files of the experiment.
    """
    # "${!NAME@}" expands to the names of all variables that begin with NAME
    found = " ".join([*NAMES, *(f"${{!{prefix}@}}" for prefix in PREFIXES)])
    exports = {
        "PYTHONPATH": shlex.quote(str(source)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        CONFIG_FILES: shlex.quote(json.dumps([path.name for path in config_files])),
        **dict.fromkeys(THREADS, "$_threads"),
        # TMPDIR may name a missing folder; a font cache for each job would cost seconds
        "MPLCONFIGDIR": "${MPLCONFIGDIR:-"
        + shlex.quote(str(Path(tempfile.gettempdir(), "hebae-matplotlib")))
        + "}",
    }
    if with_conda:
        # put first: conda puts it in the place of an earlier environment, which may be behind .venv
        exports["PATH"] = '"${CONDA_PREFIX:?could not be activated}/bin:$PATH"'
    else:
        exports["PATH"] = shlex.quote(str(Path(sys.executable).parent)) + ':"$PATH"'
    return (
        # LC_ALL first, because bash complains about each missing locale. C exists everywhere,
        # C.UTF-8 does not, and Python uses UTF-8 without it.
        "set -euo pipefail; export LC_ALL=C; _threads=${OMP_NUM_THREADS:-1}; "
        f"for _name in {found}; do [[ $_name =~ ^({KEPT})$ ]] || unset $_name; done; "
        f"export {' '.join(f'{name}={value}' for name, value in exports.items())}; "
    )
