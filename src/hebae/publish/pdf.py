"""The paper of this reproduction as a PDF: ``make paper``.

pandoc translates ``docs/reproduction.md`` into Typst, ``docs/reproduction.typ`` says how it looks,
and Typst sets it, with the fonts that it brings. Neither is part of ``.venv`` until ``make paper``
installs them from ``envs/paper.lock``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.publish.paper import OUTPUT

LOOK = OUTPUT.with_suffix(".typ")
PDF = Path("reproduction.pdf")
FORMAT = (
    "markdown_strict+pipe_tables+backtick_code_blocks+all_symbols_escapable"
    "+escaped_line_breaks+smart"
)
"""What of Markdown the page uses; of a wide table, the dashes give the widths of the columns."""


def typst_of(page: Path, look: Path) -> str:
    """A page in Typst.

    Raises:
        UserError: without pandoc, or where it fails.
    """
    try:
        import pypandoc
    except ImportError:
        raise UserError("pandoc and Typst are not in this environment: make paper") from None
    options = ["--shift-heading-level-by=-1", f"--template={look}", "--wrap=preserve"]
    try:
        return pypandoc.convert_file(page, "typst", format=FORMAT, extra_args=options)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{page}: {' '.join(str(error).split())}") from None


def pdf_of(typst: str, folder: Path) -> bytes:
    """A PDF of a text in Typst, whose images are in a folder.

    Raises:
        UserError: without Typst, or for what it cannot set, such as a missing image.
    """
    try:
        import typst as compiler
    except ImportError:
        raise UserError("Typst is not in this environment: make paper") from None
    try:
        return compiler.compile(
            typst.encode(), root=str(folder), ignore_system_fonts=True, timestamp=0
        )
    except (compiler.TypstError, RuntimeError) as error:
        raise UserError(f"Typst: {' '.join(str(error).split())}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Set the paper of this reproduction as a PDF.")
    parser.add_argument("--output", type=Path, default=PDF, help="the PDF")
    options = parser.parse_args(arguments)
    files.write_bytes(options.output, pdf_of(typst_of(OUTPUT, LOOK), OUTPUT.parent))
    print(options.output)


if __name__ == "__main__":
    command(main)
