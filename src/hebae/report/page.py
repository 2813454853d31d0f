"""Self-contained HTML pages: they run no script, fetch nothing and escape all text."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hebae.base import files

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Browsers enforce it, so a page fetches and runs nothing even if something is injected."""

# Colours of Okabe and Ito, told apart under the common forms of colour blindness.
STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1.5rem 2rem 3rem; max-width: 90rem;
  background: #fff; color: #1a1f26; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.12rem; margin: 2.2rem 0 .5rem; }
h2 .aside { font-weight: normal; color: #56606b; }
p { margin: .5rem 0; max-width: 62rem; }
.lead { color: #3c4650; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { box-sizing: border-box; }
th { text-align: left; font-weight: 600; color: #56606b; border-bottom: 2px solid #c9d1d9;
  padding: .35rem .7rem; white-space: nowrap; }
td { border-top: 1px solid #e4e8ec; padding: .45rem .7rem; vertical-align: top; }
table.claims { table-layout: fixed; min-width: 66rem; }
table.claims > thead th:nth-child(1) { width: 23%; }
table.claims > thead th:nth-child(2) { width: 7.5%; }
table.claims > thead th:nth-child(4) { width: 20%; }
table.claims > thead th:nth-child(5) { width: 6%; }
table.claims > thead th:nth-child(6) { width: 19%; }
tr.first td { border-top: 1px solid #c9d1d9; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tfoot td { font-weight: 600; border-top: 2px solid #c9d1d9; border-bottom: 0; }
.small { font-size: .85rem; color: #56606b; }
.verdict { display: inline-block; border: 1px solid; border-left-width: 5px; border-radius: 3px;
  padding: .05rem .5rem; white-space: nowrap; font-weight: 600; }
.verdict .symbol { display: inline-block; min-width: 1.1em; }
.holds { color: #004f7d; background: #e5f1f9; border-color: #0072b2; }
.fails { color: #8f3e00; background: #fdeee4; border-color: #d55e00; }
.undecided { color: #6b4a00; background: #fdf4df; border-color: #e69f00; }
.notrun { color: #4a525b; background: #f1f3f5; border-color: #8b949e; }
.withdrawn { color: #7a2f5d; background: #f9edf4; border-color: #cc79a7; border-style: dashed; }
tr.parts td { border: 0; padding-top: 0; padding-bottom: .35rem; }
.more { font-size: .85rem; font-weight: normal; color: #56606b; margin-top: .15rem; }
.counts { width: auto; margin: .8rem 0 1rem; }
.counts td, .counts th { padding: .3rem .9rem .3rem 0; border: 0; }
details { font-size: .85rem; }
summary { cursor: pointer; color: #0a5a94; }
details table { width: auto; margin: .3rem 0 .6rem; }
details td, details th { padding: .15rem .6rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } details { display: none; } }
"""

Content = Element | str


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """An element of a page; ``class_`` means class, and ``_`` within a name means ``-``."""
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    made = Element(tag, {names[name]: value for name, value in attributes.items()})
    last = None
    for part in content:
        if isinstance(part, Element):
            made.append(part)
            last = part
        elif last is None:
            made.text = (made.text or "") + part
        else:
            last.tail = (last.tail or "") + part
    return made


def table(head: list[Content], rows: list[Element], foot: list[Element] = (), **attributes: str):
    """A table, in a frame that scrolls where the table is wider than the window."""
    cells = [cell if isinstance(cell, Element) else element("th", cell) for cell in head]
    parts = [element("thead", element("tr", *cells)), element("tbody", *rows)]
    if foot:
        parts.append(element("tfoot", *foot))
    return element("div", element("table", *parts, **attributes), class_="scroll")


def document(title: str, *content: Content) -> str:
    """A whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", STYLE),
    )
    body = element("body", element("h1", title), *content)
    page = element("html", head, body, lang="en")
    return "<!doctype html>\n" + ElementTree.tostring(page, "unicode", "html") + "\n"


def write(path: Path, page: str) -> None:
    """Write a page, whole or not at all."""
    files.write_bytes(path, page.encode())
