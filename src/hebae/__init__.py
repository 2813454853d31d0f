"""Hierarchical empirical Bayes autoencoders: models, training, measures and figures.

The package knows nothing of Snakemake. Each step of the workflow is a module that can be
run by itself (``python -m hebae.train --help``), and each is a thin command around functions
that can be imported.
"""

import os

__version__ = "0.1.0"

if "HEBAE_PRELOADED" in os.environ:
    from hebae import preloaded

    preloaded.hand_over()
