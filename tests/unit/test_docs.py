"""What the documents name is there, and README says of the experiments what their configs say."""

import re
import subprocess
from pathlib import Path

import pytest

from hebae.base.sources import ROOT as SOURCE
from hebae.publish.results import PUBLISHED, read_experiment
from hebae.tables.collect import every_run

ROOT = SOURCE.parent
README = ROOT / "README.md"
PLACES = ("*.md", "docs/**/*.md", "config/*.md", "envs/*.md")
DOCUMENTS = sorted(
    path
    for pattern in PLACES
    for path in ROOT.glob(pattern)
    if path.name not in ("CONTRIBUTING.md", "CHANGELOG.md")  # of what is to come, and is gone
)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
IMAGE = re.compile(r"(?:href|src)=\"([^\":]+)\"")


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


def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings of a document."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_files_and_links_are_there(document):
    text = document.read_text()
    names = set(re.findall(r"\bhebae\.[a-z_]+(?:\.\w+)*", text))
    assert not {name for name in names if not is_there(name)}
    paths = set(re.findall(r"(?<![\w/])(?:src|workflow|tests|profiles)/[\w/.-]*\w", text))
    assert not {path for path in paths if not (ROOT / path).exists()}
    links = {*LINK.findall(text), *((path, "") for path in IMAGE.findall(text))}
    to = {(document.parent / path if path else document, anchor) for path, anchor in links}
    assert not {path for path, _ in to if not path.exists()}
    assert not {(path, anchor) for path, anchor in to if anchor and anchor not in anchors(path)}


def test_a_name_that_is_gone_is_found():
    assert is_there("hebae.training") and is_there("hebae.base.device.set_up")
    assert not is_there("hebae.train") and not is_there("hebae.base.device.set_down")


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 130


def test_readme_lists_every_experiment():
    """With its runs and epochs, and a page where it is published."""
    section = README.read_text().partition("## Experiments\n")[2].partition("\n## ")[0]
    rows = {}
    for line in section.splitlines():
        if link := re.match(r"\| \[`([\w-]+)`\]\(config/\1\.yaml\) \|", line):
            rows[link[1]] = [cell.strip() for cell in line.split("|")[1:-1]]
    command = ["git", "ls-files", "config/*.yaml"]  # not a reader's own
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        assert rows.keys() == {Path(name).stem for name in done.stdout.split()} - {"claims"}
    assert rows
    for name in rows:
        runs = list(every_run(read_experiment(ROOT / f"config/{name}.yaml")))
        epochs = sorted({run.training.epochs for run in runs})
        span = "–".join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))
        assert rows[name][3] == f"{len(runs)} × {span}"
        page = f"{PUBLISHED.as_posix()}/{name}/README.md"
        assert (f"[yes]({page})" == rows[name][5]) == (ROOT / page).exists()
