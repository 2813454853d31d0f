# What Snakemake says of itself and of its jobs.

from snakemake.logging import logger

from hebae.workflow import terminal

terminal.say_in_any_locale(logger.handlers)
