"""Measure the posterior of a trained run: ``python -m hebae.measures.measure --help``.

One job takes all measures that need only a posterior, because starting a job takes longer than most
of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from hebae.base.errors import UserError, command
from hebae.base.files import write_csv
from hebae.codes.posterior import Posterior, command_line
from hebae.config.registry import MEASURES, resolve
from hebae.config.run import read_run


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line(
        "Measure the posterior of a trained run.", "folder for MEASURE.csv of each"
    )
    parser.add_argument(
        "--protocols",
        type=json.loads,
        required=True,
        help="JSON: the measures to take, each with the keyword arguments of its protocol",
    )
    options = parser.parse_args(arguments)
    run, _ = read_run(options.run)
    posterior = Posterior.load(options.posterior)
    for name, protocol in options.protocols.items():
        rows = resolve(MEASURES[name].rows)
        try:
            measured = rows(posterior, run, options.threads, **protocol)
        except UserError as error:
            raise UserError(f"{options.posterior}: {error}") from None
        write_csv(options.output / f"{name}.csv", (run.identity | row for row in measured))


if __name__ == "__main__":
    command(main)
