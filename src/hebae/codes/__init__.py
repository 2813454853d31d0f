"""Posteriors, reconstructions and samples of trained runs."""
