"""Which files a step depends on: enough, and no more."""

import subprocess
import sys

import pytest

from hebae.base import sources


def names(*modules):
    return {
        path.relative_to(sources.ROOT / "hebae").as_posix() for path in sources.closure(modules)
    }


def test_training_depends_on_what_it_runs_and_on_no_other_objective():
    found = names(
        "hebae.training.train", "hebae.models.objectives.vae", "hebae.models.networks.dense"
    )
    assert {"training/train.py", "training/checkpoint.py", "base/seeds.py"} <= found
    assert {"models/objectives/vae.py", "models/networks/dense.py"} <= found
    assert "models/divergences/gaussian.py" in found
    assert not found & {"models/objectives/hebae.py", "models/objectives/wae.py"}
    assert not found & {"config/experiment.py", "data/prepare.py", "config/registry.py"}
    assert "models/objectives/__init__.py" in found
    assert not found & {"base/errors.py", "__init__.py"}
    # how a description is read, what is kept or planned, and which files are junk
    assert not found & {"config/fields.py", "training/finished.py", "training/plan.py"}
    assert not found & {"data/found.py", "data/raw.py"}
    assert not any(name.startswith(("figures/", "measures/")) for name in found)


def test_a_module_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"no such module: hebae\.trian"):
        sources.closure(["hebae.training.train", "hebae.trian"])


def test_a_figure_depends_on_no_other_figure():
    found = names("hebae.figures.fig1a")
    assert {"figures/fig1a.py", "figures/common.py"} <= found
    assert not found & {"figures/fig2a.py", "figures/fig2c.py", "figures/appendix_c.py"}


def test_everything_imported_is_found():
    """Against the interpreter: what a step really imports is in its closure or exempt."""
    modules = [
        "hebae.training.train",
        "hebae.codes.encode",
        "hebae.codes.images",
        "hebae.tables.collect",
        "hebae.data.prepare",
    ]
    modules += ["hebae.measures.covariance", "hebae.figures.fig1a"]
    for module in modules:
        code = f"import sys, {module}; print(*(m for m in sys.modules if m.startswith('hebae')))"
        imported = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        exempt = sources.NOT_A_SOURCE.intersection(imported)
        behind = {name for each in exempt for name in sources._imports(each)}
        found = sources.closure([module])
        for name in set(imported) - sources.NOT_A_SOURCE - behind:
            assert sources._path(name) in found, (module, name)


def test_a_fingerprint_follows_content_and_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "hebae"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from hebae import b\nimport hebae.c\n")
    (package / "b.py").write_text("x = 1\n")
    (package / "c.py").write_text("def f():\n    from hebae.d import g\n")
    (package / "d.py").write_text("g = 1\n")
    (package / "e.py").write_text("g = 1\n")
    monkeypatch.setattr(sources, "ROOT", tmp_path)

    def fingerprint():
        clear()
        return sources.fingerprint(["hebae.a"])

    first = fingerprint()
    assert [path.name for path in sources.closure(["hebae.a"])] == ["a.py", "b.py", "c.py", "d.py"]
    for path in package.iterdir():
        path.touch()
    (package / "e.py").write_text("g = 2\n")
    assert fingerprint() == first
    (package / "d.py").write_text("g = 2\n")  # imported by an import inside a function
    assert fingerprint() != first
    clear()


def clear() -> None:
    """Clear caches, so that edited files are read again."""
    for cached in (sources._tree, sources._imports, sources._digest, sources._digests):
        cached.cache_clear()


MODULE = '''"""A docstring."""
import math


@dataclass
class Rate:
    """Another."""

    first: float = 1e-3
    """What an epoch begins with."""

    def __call__(self, epoch: int) -> float:
        return self.first * math.exp(-epoch) if epoch else None
'''
SAME = {
    "a comment": MODULE.replace("import math", "import math  # of the library\n# a comment"),
    "another docstring": MODULE.replace('"""Another."""', '"""Others."""'),
    "no docstring": MODULE.replace('    """Another."""\n', ""),
    "formatting": MODULE.replace(
        "self.first * math.exp(-epoch)", "(self.first*math.exp(\n-epoch))"
    ),
    "blank lines": MODULE.replace("\n\n", "\n\n\n"),
    "another quotation mark": MODULE.replace('"""Another."""', "'Another.'"),
}
OTHER = {
    "a number": MODULE.replace("1e-3", "1e-4"),
    "a name": MODULE.replace("math.exp", "math.log"),
    "None in place of False": MODULE.replace("else None", "else False"),
    "a default that is gone": MODULE.replace(" = 1e-3", ""),
    "an annotation": MODULE.replace("first: float", "first: int"),
    "a decorator": MODULE.replace("@dataclass\n", ""),
    "a statement moved out": MODULE.replace("\n    def", "\ndef").replace(
        "        return", "    return"
    ),
    "a sign": MODULE.replace("-epoch", "epoch"),
}


@pytest.mark.parametrize("edit", [*SAME, *OTHER])
def test_what_a_module_computes_is_what_counts(edit, tmp_path):
    digests = []
    for number, text in enumerate((MODULE, {**SAME, **OTHER}[edit])):
        path = tmp_path / f"{number}.py"
        path.write_text(text, encoding="utf-8")
        digests.append(sources._digest(path))
    assert (digests[0] == digests[1]) == (edit in SAME)
    assert {**SAME, **OTHER}[edit] != MODULE
