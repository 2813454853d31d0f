"""What Snakemake alone needs of us."""
