"""The finished trainings that are kept, and which are unused: ``python -m hebae.training.kept``."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hebae.base.errors import UserError, command
from hebae.base.text import counted
from hebae.training.finished import FOLDER, Finished, Store, read

LEFT_SECONDS = 3600  # after which nobody still writes a folder that has no name yet


def referred(results: Path) -> set[str]:
    """The keys of what the experiments of a folder have in their places."""
    places = [*results.glob("*/runs/**/run.json"), *results.glob("*/features/*/*/features.json")]
    return {finished.key for path in places if (finished := read(path.parent))}


def listing(results: Path) -> list[tuple[Finished, bool]]:
    """All that is kept, and whether an experiment there has it in its place."""
    here = referred(results)
    return [(finished, finished.key in here) for finished in Store(results).all()]


def own_bytes(finished: Finished) -> int:
    """The bytes that are free once a training is kept no longer: of files without another name."""
    stats = [(finished.folder / name).stat() for name in finished.names]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def prune(results: Path) -> str:
    """Drop what no experiment there refers to; a line that says what was done."""
    unused = [finished for finished, here in listing(results) if not here]
    freed = sum(map(own_bytes, unused))
    for finished in unused:
        Store(results).drop(finished.folder.name)
    for folder in Store(results).folder.glob(".*"):  # of processes that were killed
        if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
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
