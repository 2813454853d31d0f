"""Training a run, or several as one stack; resumed by calling it again."""

SOURCES = ("hebae.training.loop", "hebae.training.record")
"""The modules that decide, with those of the run, what a training computes and writes."""

RUN_FILES = ("weights.pt", "history.csv", "run.json")
"""What a training leaves; the last one says that the others are whole."""

CLASSIFIER_FILES = ("weights.pt", "features.json")
"""What the training of a classifier leaves; the last one says that the other is whole."""
