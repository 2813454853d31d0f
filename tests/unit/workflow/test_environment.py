"""The lock, the conda environments and the builder of `.venv` say the same."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import yaml
from tests.environments import (
    CONDA_NAMES,
    CONDA_ONLY,
    ENVS,
    ROOT,
    canonical,
    conda_dependencies,
    disagreements,
    locked_versions,
    packages_of,
    pinned_packages,
    post_deploy_requirements,
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
def test_conda_environments_pin_what_the_lock_pins(path):
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    packages = conda_dependencies(environment)
    assert packages["python"] == "3.11"
    assert disagreements(packages, VERSIONS) == []
    names = {canonical(CONDA_NAMES.get(name, name)) for name in packages}
    assert names - CONDA_ONLY <= set(VERSIONS)  # nothing that .venv does not have


@each_environment
def test_what_is_added_with_pip_is_the_locks_file(path):
    for name, version in post_deploy_requirements(path).items():
        assert VERSIONS[name] == version
        assert "pip" in conda_dependencies(yaml.safe_load(path.read_text()))
        script = path.with_suffix(".post-deploy.sh").read_text()
        assert hashes_of(name, script) == hashes_of(name, LOCK)


def hashes_of(name, requirements):
    """Of the one version that is required."""
    (block,) = re.findall(rf"^{name}==[^=]*(?:--hash=\S+[\s\\]*)+", requirements, re.MULTILINE)
    return set(re.findall(r"sha256:([0-9a-f]{64})", block))


def test_the_two_torch_environments_differ_in_the_build_alone():
    cpu, gpu = (
        conda_dependencies(yaml.safe_load((ENVS / f"{name}.yaml").read_text()))
        for name in ("torch", "torch-gpu")
    )
    assert cpu.pop("pytorch-cpu") == gpu.pop("pytorch-gpu")
    assert cpu == gpu
    scripts = {path.read_bytes() for path in ENVS.glob("torch*.post-deploy.sh")}
    assert len(scripts) == 1 and len(list(ENVS.glob("torch*.post-deploy.sh"))) == 2


PINS = """\
# platform: linux-64
@EXPLICIT
https://conda.example/conda-forge/linux-64/numpy-2.0.1-py311h64a7726_0.conda#5eb8c4a2
https://conda.example/conda-forge/noarch/my-pkg-1.5-pyhd8ed1ab_0.tar.bz2

pytorch-2.3.0-cuda120_py311_0
_openmp_mutex-4.5-2_gnu
tzdata-2024a-h0c530f3_0
"""


def test_pin_files_are_compared_with_the_lock():
    """On made-up pins; those of this checkout, if any, are compared below."""
    pins = pinned_packages(PINS)
    assert pins == {
        "numpy": "2.0.1",
        "my-pkg": "1.5",
        "pytorch": "2.3.0",
        "_openmp_mutex": "4.5",
        "tzdata": "2024a",
    }
    assert disagreements(pins, {"numpy": "2.0.1", "torch": "2.3.0", "tzdata": "2024.1"}) == []
    assert disagreements(pins, {"numpy": "2.0.1", "torch": "2.4.0", "my-pkg": "1.4"}) == [
        "my-pkg: 1.5, locked 1.4",
        "pytorch: 2.3.0, locked 2.4.0",
    ]


@pytest.mark.parametrize(
    "path", sorted(ENVS.glob("*.pin.txt")) or [None], ids=lambda path: path and path.name
)
def test_pin_files_pin_what_the_lock_pins(path):
    if path is None:
        pytest.skip("no pin file in envs/: envs/README.md says how to make them")
    pins = pinned_packages(path.read_text())
    assert disagreements(pins, VERSIONS) == []
    asked_for = conda_dependencies(
        yaml.safe_load((ENVS / f"{path.name.partition('.')[0]}.yaml").read_text())
    )
    assert set(asked_for) <= set(pins)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def rules(request, tmp_path_factory):
    output = tmp_path_factory.mktemp("rules") / "rules.json"
    return request.param, read_rules(ROOT, output, device=request.param)


def test_every_rule_has_an_environment_with_what_its_module_imports(rules):
    _, rules = rules
    assert [rule.name for rule in rules if rule.module is None] == ["all", "pages"]
    for rule in rules:
        if rule.module is not None:
            assert rule.env is not None, f"rule {rule.name} has no conda environment"
            needed = third_party_packages(rule.module)
            missing = {name: needed[name] for name in set(needed) - packages_of(rule.env)}
            assert not missing, f"rule {rule.name}: {rule.env.name} lacks {missing}"


def test_jobs_on_a_gpu_ask_for_the_cuda_build_and_no_others_do(rules):
    device, rules = rules
    on_gpu = {rule.name for rule in rules if rule.env and rule.env.name == "torch-gpu.yaml"}
    networks = {"train", "encode", "encode_both", "bounds", "images", "classifier", "reference"}
    networks.add("fid")
    assert on_gpu == (networks if device == "cuda" else set())
    on_cpu = {rule.name for rule in rules if rule.env and rule.env.name == "torch.yaml"}
    assert on_cpu == {"prepare", "inception"} | (networks - on_gpu)


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
    """Of an environment elsewhere that is finished, an empty folder and one of somebody's files."""
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
