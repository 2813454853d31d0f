"""What only Snakemake needs: locks, messages, plans, the process that jobs are forked from."""
