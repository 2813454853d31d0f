"""Hierarchical empirical Bayes autoencoders: models, training, measures and figures.

The package knows nothing of Snakemake. Each step of the workflow is a module that can be run by
itself (``python -m hebae.training.train --help``), and a thin command around functions that can be
imported.
"""

__version__ = "0.1.0"
