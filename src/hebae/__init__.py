"""Hierarchical empirical Bayes autoencoders: models, training, measures and figures.

Only :mod:`hebae.workflow` knows of Snakemake. Each step of the workflow is a module that can be run
by itself (``python -m hebae.training.train --help``): a thin command around functions that can be
imported.
"""

__version__ = "0.1.0"
