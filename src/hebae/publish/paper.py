"""The short paper of this reproduction: ``python -m hebae.publish.paper`` writes it.

``docs/reproduction.template.md`` is its text, a Jinja2 template. It has no measured number of its
own and no verdict that it does not check: both come from ``docs/results``, by the public methods of
:class:`~hebae.publish.paper_facts.PaperFacts`, which are the template's functions. ``--check``
compares and writes nothing. :mod:`hebae.publish.pdf` makes the PDF.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2

from hebae.base import files
from hebae.base.errors import UserError, command
from hebae.publish.paper_facts import PaperFacts
from hebae.publish.results import PUBLISHED, checkout_claims

TEMPLATE = Path("docs/reproduction.template.md")
OUTPUT = Path("docs/reproduction.md")
NOTE = "<!-- Written by `python -m hebae.publish.paper` from reproduction.template.md. -->\n"
CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|```.*?```|`[^`]*`|<!--.*?-->", re.DOTALL)
NAMED = re.compile(
    r"\]\([^)]*\)"  # where a link leads to
    r"|\b(?:Eqs?|Secs?|Figs?|App)\. \w+(?:(?:, | and | to )\d+\w?)*"
    r"|\b(?:Theorem|Section) \d+|N\(0, I\)"
    r"|\b[zλ] = [\d.]+(?:(?:, | and )\d\b)*"
    r"|\barXiv \d{4}\.\d{5}|\b(?:[A-Z]\w+|al\.),? (?:19|20)\d\d(?=[),;])"  # (Cheng et al. 2020)
    r"|\b95 % intervals?"  # the kind that all tables have
    r"|\b[A-Za-z_]\w*"  # bfloat16
)
"""Numbers that name something."""
TYPED = re.compile(r"\d[\d.,]*|\b(?:four|five|six|seven|eight|nine|ten|eleven|twelve|hundred)\b")
REFERENCES = "\n## References\n"


def typed_numbers(template: str) -> list[str]:
    """The numbers that a template has in its prose, which would not follow the results.

    Not those in code and in the references, and not those that name something: an equation, a
    setting such as z = 8, a year.
    """
    prose = CODE.sub(" ", template.partition(REFERENCES)[0])
    return TYPED.findall(NAMED.sub(_unless_a_number, prose))


def _unless_a_number(found: re.Match[str]) -> str:
    return found[0] if TYPED.fullmatch(found[0]) else " "


def rendered(template: Path, published: Path) -> str:
    """The paper, as the results have it.

    Raises:
        UserError: for a number typed by hand, a result that is not there or not as the template
            takes it to be, and for a template that is none.
    """
    text = template.read_text(encoding="utf-8")
    if typed := typed_numbers(text):
        raise UserError(f"{template}: numbers come from {published}; typed: {', '.join(typed)}")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    facts = PaperFacts(published, checkout_claims())
    functions = {name: getattr(facts, name) for name in dir(facts) if not name.startswith("_")}
    try:
        title, line, rest = environment.from_string(text).render(functions).partition("\n")
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{template}: line {error.lineno}: {error.message}") from None
    except (jinja2.UndefinedError, TypeError) as error:
        raise UserError(f"{template}: {error}") from None
    return f"{title}{line}{line}{NOTE}{rest}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the paper of this reproduction.")
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="its text")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="folder of all results")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the page to write")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args(arguments)
    text = rendered(options.template, options.published)
    if not options.check:
        files.write_bytes(options.output, text.encode())
    elif not options.output.is_file() or options.output.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{options.output}: not what {options.published} says; run this to write it"
        )


if __name__ == "__main__":
    command(main)
