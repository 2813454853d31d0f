"""One word for one thing."""

import ast
from collections import defaultdict
from pathlib import Path

from hebae.base.sources import ROOT

# a network has one in each of the modules that a config chooses from
ROLES = {"Encoder", "Decoder"}


def test_no_two_classes_share_a_name():
    places: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((ROOT / "hebae").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(ROOT))
    assert len(places) > 30
    assert not {
        name: paths for name, paths in places.items() if len(paths) > 1 and name not in ROLES
    }
