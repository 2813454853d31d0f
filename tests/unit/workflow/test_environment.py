"""The lock, the conda environments and the builder of `.venv` say the same."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from tests.environments import (
    ENVS,
    ROOT,
    canonical,
    locked_versions,
    packages_of,
    read_rules,
    third_party_packages,
)

LOCK = (ROOT / "requirements.lock").read_text()
VERSIONS = locked_versions(LOCK)

each_environment = pytest.mark.parametrize(
    "path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.name
)


def test_lock_pins_and_hashes_everything_and_names_no_address():
    assert "://" not in LOCK
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.split("\n", 2)[2])
    assert len(blocks) > 50
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


def test_the_lock_is_read_for_one_python():
    lock = (
        "# comment\nNum_Py==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:0\n"
        "num-py==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:1\n"
    )
    assert locked_versions(lock) == {"num-py": "1.0"}
    assert locked_versions(lock, "3.12") == {"num-py": "2.0"}
    assert {"torch", "numpy", "minepy"} <= set(VERSIONS)


@each_environment
def test_a_conda_environment_asks_conda_for_nothing_that_could_be_missing(path):
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge"]
    assert set(environment["dependencies"]) - {"c-compiler"} == {"python=3.11", "pip"}
    assert ("c-compiler" in environment["dependencies"]) == ("minepy" in packages_of(path))


@each_environment
def test_a_post_deploy_script_is_what_make_lock_writes(path, monkeypatch):
    monkeypatch.syspath_prepend(ENVS)
    writer = importlib.import_module("write_scripts")
    script = path.with_suffix(".post-deploy.sh").read_text()
    assert script == writer.script(packages_of(path))
    # the lock is the only place of a version
    assert not re.search(r"==|\d+\.\d+", script)


@each_environment
def test_a_post_deploy_script_installs_what_its_packages_need_and_no_more(path):
    """By the metadata of the packages themselves."""
    listed = set(packages_of(path))
    assert listed <= set(VERSIONS) | set(names_in_lock())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed, left = set(), [*project["dependency-groups"][path.stem]]
    while left:
        requirement = Requirement(left.pop())
        extras = requirement.extras or {""}
        name = canonical(requirement.name)
        if (name, *extras) in needed:
            continue
        needed.add((name, *extras))
        left += [
            text
            for text in metadata.requires(name) or []
            for marker in [Requirement(text).marker]
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        ]
    here = {name for name, *_ in needed}
    assert here <= listed
    # the others are for other systems
    assert all(re.search(rf"^{name}==\S+ ;", LOCK, re.MULTILINE) for name in listed - here)


def names_in_lock():
    return re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE)


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return read_rules(ROOT, tmp_path_factory.mktemp("rules") / "rules.json")


def test_every_rule_has_an_environment_with_what_its_module_imports(rules):
    assert [rule.name for rule in rules if rule.module is None] == ["all", "pages"]
    for rule in rules:
        if rule.module is not None:
            assert rule.env is not None, f"rule {rule.name} has no conda environment"
            needed = third_party_packages(rule.module)
            missing = {name: needed[name] for name in set(needed) - set(packages_of(rule.env))}
            assert not missing, f"rule {rule.name}: {rule.env.name} lacks {missing}"


def make_env(tmp_path, **changes):
    """Run the builder for a folder that has no environment yet."""
    return subprocess.run(
        [sys.executable, ROOT / "envs/make_env.py", "--venv", tmp_path / "venv"],
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
    )


def load_builder():
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "envs/make_env.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    return builder


def test_without_a_compiler_nothing_is_downloaded(tmp_path):
    done = make_env(tmp_path, PATH=str(tmp_path), CC="")
    assert done.returncode == 1
    assert "no C compiler found" in done.stderr and "build-essential" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_finished_environment_is_left_alone_and_a_changed_one_is_not(tmp_path):
    builder = load_builder()
    stamp = tmp_path / "venv/.complete"
    stamp.parent.mkdir()
    stamp.write_text(builder.fingerprint(tmp_path / "venv"))
    done = make_env(tmp_path, PATH=str(tmp_path), CC="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "up to date" in done.stdout

    # moved elsewhere, or made from another lock: without a compiler it gets as far as wanting one
    stamp.write_text(builder.fingerprint(tmp_path / "elsewhere"))
    assert "no C compiler" in make_env(tmp_path, PATH=str(tmp_path), CC="").stderr


def test_what_a_link_leads_to_is_never_erased(tmp_path):
    """The link may lead to a finished environment, an empty folder or somebody's files."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / "venv").symlink_to(target)
    assert "no C compiler" in make_env(tmp_path, PATH=str(tmp_path), CC="").stderr  # it would begin
    (target / "thesis.tex").write_text("years of work")
    done = make_env(tmp_path, PATH=str(tmp_path), CC="")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"venv is a link to {target}, which would be erased" in done.stderr
    assert (target / "thesis.tex").read_text() == "years of work"
    (target / ".complete").write_text(load_builder().fingerprint(target))
    assert "up to date" in make_env(tmp_path, PATH=str(tmp_path), CC="").stdout
