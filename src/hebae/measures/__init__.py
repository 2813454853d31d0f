"""Measures of the posteriors of trained runs. They use numpy only, so that they start fast."""
