"""Whether the papers' claims hold: measures, statistics, verdicts."""
