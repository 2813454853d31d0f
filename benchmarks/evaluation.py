"""What the evaluation of every epoch adds to it: ``python -m benchmarks.evaluation``.

The paper's dense networks for MNIST as :mod:`benchmarks.dense` has them, one thread: seconds of an
epoch's training on 60,000 images, and of the scoring of 10,000 test images that follows it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from benchmarks import dense, harness

TEST = 10_000
PARTS = ("training", "evaluation")


def measure(part: str, objective: str, precision: str, steps: int) -> float:
    """Seconds of a part of an epoch, once all is warm."""
    training, evaluation = dense.ours(objective, precision, 1, None)
    size = steps if part == "training" else steps * dense.BATCH * TEST // dense.SPLIT
    work = training if part == "training" else evaluation
    work(size)
    harness.wait_for_start()
    started = time.perf_counter()
    work(size)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.command_line(__doc__)
    parser.add_argument("--steps", type=int, default=dense.SPLIT // dense.BATCH)
    parser.add_argument("--measure", help="for the benchmark's own processes")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps({"seconds": measure(**json.loads(options.measure))}))
        return

    def seconds(**what: str) -> float:
        given = json.dumps({**what, "steps": options.steps})
        (done,) = harness.together(["-m", "benchmarks.evaluation", "--measure", given])
        return done["seconds"]

    rows, printed = [], []
    for objective in ("VAE", "WAE-MMD"):
        for precision in harness.precisions():
            sides = {
                part: lambda part=part, objective=objective, precision=precision: seconds(
                    part=part, objective=objective, precision=precision
                )
                for part in PARTS
            }
            case = f"{objective}, {precision}"
            printed.append(case)
            rows += harness.in_turn(case, sides, options.turns, "seconds")
    table = harness.save("evaluation", rows, options.output)
    harness.draw("evaluation", table, options.output)
    for case in printed:
        share = 100 * harness.ratios(table, case, "evaluation", "training")
        print(f"{case}: evaluation takes {harness.spread(share)} % of the time of training")


if __name__ == "__main__":
    sys.exit(main())
