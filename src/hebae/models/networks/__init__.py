"""Encoder and decoder pairs (paper, App. B)."""
