"""Lists or prunes the store of finished trainings: ``python -m hebae.training.kept``."""

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

LEFT_SECONDS = 3600  # after this time no process still writes a temporary folder


def referred(results: Path) -> set[str]:
    """The keys of the trainings that the experiments of a folder use, or are about to use.

    A record without its files counts. So does a training that a killed job was about to put back.
    """
    places = [*results.glob("*/runs/**/run.json"), *results.glob("*/features/*/*/features.json")]
    found = (read(path.parent, whole=False) for path in places)
    keys = {finished.key for finished in found if finished is not None}
    for path in results.glob("*/plan.json"):
        with contextlib.suppress(UserError):
            keys |= {instead.key for instead in read_plan(path).instead.values()}
    return keys


def listing(results: Path) -> list[tuple[Finished, bool]]:
    """All trainings in the store, and whether an experiment there uses each."""
    here = referred(results)
    return [(finished, finished.key in here) for finished in Store(results).all()]


def own_bytes(finished: Finished) -> int:
    """The bytes that removing a training frees: those of files without another hard link."""
    stats = [(finished.folder / name).stat() for name in finished.names]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def prune(results: Path) -> str:
    """Remove the trainings that no experiment there uses; return a line that says so.

    Raises:
        UserError: while an experiment there is being made.
    """
    with contextlib.ExitStack() as held:
        for path in results.glob("*/.lock"):
            try:
                held.enter_context(hold(path))
            except Held as holder:
                raise UserError(
                    f"{path.parent.name} is being made by {holder}; prune after it has ended"
                ) from None
        return _prune(results)


def _prune(results: Path) -> str:
    unused = [finished for finished, here in listing(results) if not here]
    freed = sum(map(own_bytes, unused))
    for finished in unused:
        Store(results).drop(finished.folder.name)
    for folder in Store(results).folder.glob(".*"):  # left by processes that were killed
        if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.is_file():  # a lock
                folder.unlink(missing_ok=True)
    return f"{counted(len(unused), 'finished training')} dropped, {freed / 1e6:.1f} MB free"


def show(results: Path, say: Callable[[str], None] = print) -> None:
    """Print a line for each training in the store, and what pruning would remove."""
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
        f"of them used by no experiment there ({freed / 1e6:.1f} MB; prune drops them)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hebae.training.kept",
        description="List the finished trainings in the store, or drop those that no experiment "
        "here uses.",
    )
    parser.add_argument("action", choices=("list", "prune"), help="prune drops the unused ones")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of all results"
    )
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise UserError(
            f"{options.results}: no such folder; give the folder of results with --results"
        )
    if options.action == "list":
        show(options.results)
    else:
        print(prune(options.results))


if __name__ == "__main__":
    command(main)
