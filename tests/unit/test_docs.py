"""What the documents name is there."""

import re
from pathlib import Path

import pytest

from hebae.base.sources import ROOT as SOURCE

ROOT = SOURCE.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/results/*.md", "config/*.md", "envs/*.md")
    for path in ROOT.glob(pattern)
    if path.name not in ("CONTRIBUTING.md", "CHANGELOG.md")  # of what is to come, and is gone
)


def is_there(name: str) -> bool:
    """Whether a dotted name is a package, a module, or something that a module defines."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        path = SOURCE.joinpath(*parts[:k])
        if (module := path.with_suffix(".py")).is_file():
            return k == len(parts) or parts[k] in module.read_text()
        if path.is_dir():
            return k == len(parts)
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_files_and_links_are_there(document):
    text = document.read_text()
    names = set(re.findall(r"\bhebae\.[a-z_]+(?:\.\w+)*", text))
    assert not {name for name in names if not is_there(name)}
    paths = set(re.findall(r"(?<![\w/])(?:src|workflow|tests|profiles)/[\w/.-]*\w", text))
    assert not {path for path in paths if not (ROOT / path).exists()}
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text))
    assert not {link for link in links if not Path(document.parent, link).exists()}


def test_a_name_that_is_gone_is_found():
    assert is_there("hebae.training") and is_there("hebae.base.device.set_up")
    assert not is_there("hebae.train") and not is_there("hebae.base.device.set_down")
