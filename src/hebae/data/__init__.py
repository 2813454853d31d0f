"""Datasets: prepared once from raw files, then read from the disk."""
