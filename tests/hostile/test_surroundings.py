"""What a notebook, a cluster's module or a shell profile sets reaches no job."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from tests.project import TINY, complain, copy_project, plan, snakemake

HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "64",
    "OMP_PROC_BIND": "close",
    "KMP_AFFINITY": "granularity=fine,compact",
    "GOMP_CPU_AFFINITY": "0",
    "MKL_NUM_THREADS": "64",
    "PYTHONWARNINGS": "ignore",
    "PYTHONHASHSEED": "7",
    "LANGUAGE": "fr",
}
# Written into a copy: each step notes its environment, and whether it is a child of the process
# that has PyTorch.
PROBE = """

def _noting(main, run=command):
    import json, os, pathlib
    parent = pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8")
    noted = dict(os.environ), "fork_server" in parent
    path = pathlib.Path("noted", sys.modules["__main__"].__spec__.name + f".{os.getpid()}")
    path.write_text(json.dumps(noted), encoding="utf-8")
    run(main)


command = _noting
"""


@pytest.fixture
def project(tmp_path):
    copy_project(tmp_path)
    config = json.loads(json.dumps(TINY)) | {"seeds": [0], "figures": {"fig2a": "digits"}}
    digits = config["datasets"]["digits"]
    digits["models"] = {"HEBAE": {"weight": 1}, "WAE": {"weight": 10}}
    digits["title"] = "Ziffern · 数字"
    digits.pop("fid")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    return tmp_path


def built_locale(folder, name: str, charmap: str) -> dict[str, str]:
    """The variables of a locale that is none of UTF-8; C, where none can be built."""
    if shutil.which("localedef"):
        folder.mkdir()
        command = ["localedef", "-i", name, "-f", charmap, folder / f"{name}.{charmap}"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return {"LOCPATH": str(folder), "LC_ALL": f"{name}.{charmap}"}
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def set_all(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_notebooks_environment_in_a_locale_of_latin_letters(project, tmp_path, monkeypatch):
    errors = project / "src/hebae/base/errors.py"
    errors.write_text(errors.read_text("utf-8") + PROBE, "utf-8")
    (project / "noted").mkdir()
    locale = built_locale(tmp_path / "locales", "en_US", "ISO-8859-1")
    set_all(monkeypatch, HOSTILE | locale)
    done = snakemake(project)
    output = done.stdout + done.stderr
    assert "Logging error" not in output and "Traceback" not in output
    # whichever is the first
    assert re.search(r"Training \w+ on digits \(z = 3, \\u03bb = 10?, seed 0\)", output)
    (log,) = (project / ".snakemake/log").iterdir()
    assert "z = 3, λ = 1" in log.read_text("utf-8")
    assert (project / "figures/tiny/fig2a.pdf").read_bytes().startswith(b"%PDF")

    noted = {path.name: json.loads(path.read_text("utf-8")) for path in project.glob("noted/*")}
    forked = {name for name, (_, forked) in noted.items() if forked}
    assert {name.rpartition(".")[0] for name in forked} >= {
        "hebae.training.train",
        "hebae.codes.encode",
    }
    assert len(noted) > 10
    for name, (environment, _) in noted.items():
        assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] != "64", name
        assert environment["PYTHONPATH"] == str(project / "src")
        # draw.py sets it, whatever it was
        if not name.startswith("hebae.figures"):
            assert "MPLBACKEND" not in environment
        assert not {"PYTHONHASHSEED", "KMP_AFFINITY", "LANGUAGE"} & set(environment), name
        assert not {"OMP_PROC_BIND", "GOMP_CPU_AFFINITY"} & set(environment), name
        assert (environment["LC_ALL"], environment["PYTHONUTF8"]) == ("C", "1")
    assert plan(project) == {}


@pytest.mark.parametrize("locale", [("zh_CN", "GBK"), None], ids=["GBK", "ASCII"])
def test_plans_and_errors_in_other_locales(project, tmp_path, monkeypatch, locale):
    """Signs that a locale lacks are written otherwise, and are no error."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    set_all(monkeypatch, built_locale(tmp_path / "locales", *locale) if locale else ascii_only)
    done = snakemake(project, "--dry-run")
    assert "Logging error" not in done.stdout + done.stderr
    assert plan(project)["train"] == 2
    config = yaml.safe_load((project / "tiny.yaml").read_text("utf-8"))
    config["datasets"]["digits"]["latent_dims"] = ["λ"]
    (project / "bad.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    assert "error: config: datasets.digits.latent_dims.0: " in complain(project, config="bad.yaml")
