"""The JSON beside a figure: its caption, and what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_record(path: Path) -> dict[str, Any]:
    """What a figure's JSON says; its caption, where it has one, is a text.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for a file that is not JSON, or not the JSON of a figure.
    """
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("not the JSON of a figure")
    if not isinstance(record.get("caption", ""), str):
        raise ValueError("the caption is not a text")
    return record
