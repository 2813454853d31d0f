"""Figures, one module each: tables in, one matplotlib figure out, no torch."""

import os

# A notebook's names one that matplotlib may not find here; it is read as that is imported.
os.environ["MPLBACKEND"] = "Agg"
