"""Peers side by side: one command each, see docs/performance.md."""
