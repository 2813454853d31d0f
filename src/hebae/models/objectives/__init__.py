"""Objectives, one file a family: pure functions on tensors, with the equation numbers."""
