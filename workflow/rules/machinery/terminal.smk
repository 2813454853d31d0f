# What Snakemake says of itself and of its jobs.

from snakemake import logging as snakemake_logging

from hebae.workflow import terminal

terminal.say_in_any_locale(snakemake_logging.logger.handlers)

failed_jobs = terminal.FailedJobs(snakemake_logging.logger)
snakemake_logging.logger.addFilter(failed_jobs)
snakemake_logging.show_logs = failed_jobs.last_lines
