"""Figures, one module each: tables in, one matplotlib figure out, no torch."""
