"""Results for others: archives, docs/results, README's table."""
