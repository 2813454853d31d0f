"""What Snakemake says, and where."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from hebae.base.errors import print_in_any_locale


def say_in_any_locale(handlers: Iterable[logging.Handler]) -> None:
    """Print what Snakemake says in whatever locale, and write its log files in UTF-8."""
    print_in_any_locale()
    for handler in handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.stream.reconfigure(encoding="utf-8")
