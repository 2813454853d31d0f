"""Divergences between codes and the standard normal prior, shared by the objectives."""
