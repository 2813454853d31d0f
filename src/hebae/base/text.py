"""How pages, figures and messages write words and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

DIGITS = 3
"""Significant digits of a measured number."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 seed, 3 seeds."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(items: Iterable[object]) -> str:
    """Names as a list in words: VAE, HEBAE and WAE; empty if there are none."""
    texts = list(map(str, items))
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))


def number(value: float) -> str:
    """A measured number, rounded: 1,235; −0.0124; 1.23e−08."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    decimals = max(0, DIGITS - 1 - size)
    text = f"{value:,.{decimals}f}" if -6 <= size < 9 else f"{value:.{DIGITS - 1}e}"
    return text.replace("-", "−")


def interval(low: float, high: float) -> str:
    """The ends of an interval, with "to" between them, because − is a sign here."""
    return f"{number(low)} to {number(high)}"


def with_interval(estimate: float, low: float, high: float) -> str:
    """1.46 (0.964 to 2.21). An estimate that differs from 0 by rounding only is written 0."""
    width = high - low
    if abs(estimate) < 1e-12 and width <= 1e-9 * abs(estimate):  # equal values that are rounding
        return "0 (0 to 0)"
    nothing = math.isfinite(width) and abs(estimate) < 1e-9 * width
    return f"{number(0 if nothing else estimate)} ({interval(low, high)})"


def duration(seconds: float) -> str:
    """A duration in words: 1 h 02 min, 3 min 04 s, 5.1 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def lasted(seconds: float) -> str:
    """Like :func:`duration`, in whole seconds: 12 s, 3 min 04 s."""
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


def escape_rst(text: str) -> str:
    """Escape a text, so that reStructuredText shows it literally, in one line."""
    return re.sub(r"([^\w\s]|_)", r"\\\1", " ".join(text.split()))


def list_table(rows: Iterable[Sequence[str]]) -> str:
    """A table in reStructuredText; each cell is one line of reStructuredText."""
    lines = ["   * - " + "\n     - ".join(row) for row in rows]
    return "\n".join([".. list-table::", "   :widths: auto", "", *lines])
