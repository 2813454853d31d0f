"""Run by profiles/default, before Snakemake reads configs: what it says of one that it cannot
read names neither file nor line. Nothing of ours is imported: it may be of another checkout."""

import runpy
import sys
from pathlib import Path

from snakemake.common import configfile
from snakemake.settings import types

check_readable = runpy.run_path(str(Path(__file__).parents[1] / "config/read.py"))["check_readable"]


def checked(path, load=configfile.load_configfile):
    """Snakemake's ``load_configfile``, of a file that has been checked."""
    try:
        check_readable(path)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return load(path)


configfile.load_configfile = types.load_configfile = checked
