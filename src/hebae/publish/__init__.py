"""Results for others: archives, docs/results, the tables of verdicts in documents."""
