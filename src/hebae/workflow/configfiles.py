"""Checks configs before Snakemake reads them; profiles/default runs it.

Snakemake's own messages about an unreadable config name neither the file nor the line. Nothing of
ours is imported, because that might come from another checkout.
"""

import runpy
import sys
from pathlib import Path

from snakemake.common import configfile
from snakemake.settings import types

check_readable = runpy.run_path(str(Path(__file__).parents[1] / "config/read.py"))["check_readable"]


def checked(path, load=configfile.load_configfile):
    """Snakemake's ``load_configfile`` for a file that has been checked."""
    try:
        check_readable(path)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return load(path)


configfile.load_configfile = types.load_configfile = checked
