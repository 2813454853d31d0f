"""Text is read and written as UTF-8 by name: the locale of a machine is not asked."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "envs", ".ci", "benchmarks")
PYTHON = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
PYTHON.append(ROOT / "tests/project.py")
RULES = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
TEXT = {"read_text", "write_text", "open", "TextIOWrapper", "run", "check_output", "Popen"}


def unnamed(source: str) -> Iterator[str]:
    """Calls that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        given = {word.arg for word in node.keywords}
        if name not in TEXT or "encoding" in given:
            continue
        if name in ("run", "check_output", "Popen"):
            asked = given & {"text", "universal_newlines"}
        elif name == "open":
            modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            called = ast.unparse(node.func)
            opens_text = called not in ("Image.open", "tarfile.open", "Trained.open", "os.open")
            asked = opens_text and not any("b" in str(mode) for mode in modes)
        else:
            asked = True
        if asked:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_files_name_the_encoding(path):
    assert list(unnamed(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_name_the_encoding(path):
    """They are no Python, so calls are looked for in their text."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\.(?:read|write)_text\((?![^)]*encoding=)", text) == []
    assert re.findall(r"(?<!\w)open\(|text=True", text) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", 1),
        ("path.read_text(encoding='utf-8')", 0),
        ("path.open('w')", 1),
        ("open(path)", 1),
        ("path.open('rb')", 0),
        ("subprocess.run(command, text=True)", 1),
        ("subprocess.run(command)", 0),
    ],
)
def test_such_calls_are_found(source, found):
    assert len(list(unnamed(source))) == found
