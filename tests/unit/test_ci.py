"""GitHub's workflow runs the parts of .ci/run: all of them, as they stand there, and no other."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def parts_of(text: str) -> set[str]:
    """The commands of a script that make or check something."""
    return set(re.findall(r"^(?:make|\.venv/bin/python) .+$", text, re.MULTILINE))


def steps(text: str) -> list[str]:
    """The commands of a workflow, with the actions of this repository, a matrix spelled out."""
    found = []
    for job in yaml.safe_load(text)["jobs"].values():
        own = job["steps"]
        for step in job["steps"]:
            if step.get("uses", "").startswith("./"):
                action = (ROOT / step["uses"] / "action.yml").read_text(encoding="utf-8")
                own = own + yaml.safe_load(action)["runs"]["steps"]
        for step in own:
            for part in job.get("strategy", {}).get("matrix", {}).get("part", [""]):
                found.append(step.get("run", "").replace("${{ matrix.part }}", part))
    return list(filter(None, found))


def test_the_workflow_has_each_part_of_ci():
    script = parts_of((ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert len(script) > 10 and "make soak KILLS=8" in script
    workflow = parts_of("\n".join(steps(WORKFLOW.read_text(encoding="utf-8"))))
    assert workflow == script | {"make doctor"}


def test_each_target_is_one_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in steps(WORKFLOW.read_text(encoding="utf-8")):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command


def test_the_workflow_may_only_read_and_ends():
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
