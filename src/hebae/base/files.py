"""Files that are whole or absent: each is written beside its place, then renamed into it."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

# in the names of temporary files: processes of another machine cannot be asked whether they live
HOST = re.sub("[^A-Za-z0-9-]", "-", platform.node())


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends without an error.

    Until then `path` is untouched. Afterwards it has the whole content, on the disk. The earlier
    content is moved to `keep`, if that is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # an error in writing does not name the file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{HOST}.*.part"):
        process = leftover.name.removesuffix(".part").rpartition(".")[2]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except (ValueError, OSError):
            continue  # of someone else


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one go (see :func:`replacing`)."""
    with replacing(path) as stream:
        stream.write(content)


def json_bytes(document: Any) -> bytes:
    """JSON in the form of our files: indented, keys in the given order."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, document: Any) -> None:
    """Write JSON (see :func:`json_bytes`)."""
    write_bytes(path, json_bytes(document))


def csv_text(rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """Rows as CSV text. The first row names the columns; None becomes an empty field.

    Floats are written with ``repr``, so that reading them gives the same number back.
    """
    buffer = io.StringIO()
    _write_rows(buffer, rows, header)
    return buffer.getvalue()


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a tidy table (see :func:`csv_text`), holding one row in memory at a time."""
    with replacing(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        _write_rows(text, rows)
        text.detach()  # flushes, and leaves the stream open


def _write_rows(stream: TextIO, rows: Iterable[Mapping[str, Any]], header: bool = True) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    writer = csv.DictWriter(stream, fieldnames=list(first), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow(first)
    writer.writerows(rows)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
