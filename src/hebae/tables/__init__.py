"""The tidy tables of an experiment: collected from its runs, and read."""
