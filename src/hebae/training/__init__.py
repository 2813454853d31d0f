"""Trains a run, or several as one stack. Calling it again resumes a training."""

SOURCES = ("hebae.training.loop", "hebae.training.record")
"""The modules that, with those of the run, decide what a training computes and writes."""

RUN_FILES = ("weights.pt", "history.csv", "run.json")
"""The files of a finished training. The last one is written last, so the others are whole."""

CLASSIFIER_FILES = ("weights.pt", "features.json")
"""The files of a trained classifier. The last one is written last, so the other is whole."""
