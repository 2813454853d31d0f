"""The finished trainings that are kept, and which are unused: ``python -m hebae.training.kept``."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hebae.base.errors import UserError, command
from hebae.base.lock import Held, hold
from hebae.base.text import counted
from hebae.training.finished import FOLDER, Finished, Store, read
from hebae.training.plan import read_plan

LEFT_SECONDS = 3600  # after which nobody still writes a folder that has no name yet


def referred(results: Path) -> set[str]:
    """The keys of what the experiments of a folder have in their places, or will put there.

    A record without its files counts, and so does what a job that was killed was to put back.
    """
    places = [*results.glob("*/runs/**/run.json"), *results.glob("*/features/*/*/features.json")]
    found = (read(path.parent, whole=False) for path in places)
    keys = {finished.key for finished in found if finished is not None}
    for path in results.glob("*/plan.json"):
        with contextlib.suppress(UserError):
            keys |= {instead.key for instead in read_plan(path).instead.values()}
    return keys


def listing(results: Path) -> list[tuple[Finished, bool]]:
    """All that is kept, and whether an experiment there has it in its place."""
    here = referred(results)
    return [(finished, finished.key in here) for finished in Store(results).all()]


def own_bytes(finished: Finished) -> int:
    """The bytes that are free once a training is kept no longer: of files without another name."""
    stats = [(finished.folder / name).stat() for name in finished.names]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def prune(results: Path) -> str:
    """Drop what no experiment there refers to; a line that says what was done.

    Raises:
        UserError: while one of them is being made.
    """
    with contextlib.ExitStack() as held:
        for path in results.glob("*/.lock"):
            try:
                held.enter_context(hold(path))
            except Held as holder:
                raise UserError(
                    f"{path.parent.name} is being made by {holder}; prune when that has ended"
                ) from None
        return _prune(results)


def _prune(results: Path) -> str:
    unused = [finished for finished, here in listing(results) if not here]
    freed = sum(map(own_bytes, unused))
    for finished in unused:
        Store(results).drop(finished.folder.name)
    for folder in Store(results).folder.glob(".*"):  # of processes that were killed
        if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.is_file():  # a lock
                folder.unlink(missing_ok=True)
    return f"{counted(len(unused), 'finished training')} dropped, {freed / 1e6:.1f} MB free"


def show(results: Path, say: Callable[[str], None] = print) -> None:
    """Say what is kept, a line each, and what pruning would drop."""
    kept = listing(results)
    for finished, here in kept:
        say(
            f"{finished.folder.name}  {'in use' if here else 'unused'}  {finished.label}  "
            f"{finished.seconds:.0f} s  {own_bytes(finished) / 1e6:.1f} MB"
        )
    unused = [finished for finished, here in kept if not here]
    freed = sum(map(own_bytes, unused))
    say(
        f"{counted(len(kept), 'finished training')} kept in {results / FOLDER}, {len(unused)} "
        f"unused by any experiment there ({freed / 1e6:.1f} MB; prune drops them)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.training.kept",
        description="List the finished trainings that are kept, or drop those that no experiment "
        "here has in its place.",
    )
    parser.add_argument("action", choices=("list", "prune"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise UserError(f"{options.results}: no such folder; say where the results are")
    if options.action == "list":
        show(options.results)
    else:
        print(prune(options.results))


if __name__ == "__main__":
    command(main)
