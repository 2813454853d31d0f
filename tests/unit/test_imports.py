"""What the steps without networks import: a second of it would be most of what they take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hebae

PACKAGE = Path(hebae.__file__).parent
HEAVY = {"torch", "torchvision", "scipy", "sklearn", "seaborn", "matplotlib.pyplot", "snakemake"}
RUNS_NETWORKS = {"__init__", "bounds", "smoothness", "stability"}
DRAWS = HEAVY - {"scipy", "seaborn", "matplotlib.pyplot"}  # seaborn imports the other two
NO_PLOTS = HEAVY | {"pandas", "matplotlib", "PIL"}


def modules(folder: str) -> list[str]:
    paths = sorted((PACKAGE / folder).glob("*.py"))
    return [f"hebae.{folder}.{path.stem}" for path in paths if path.stem not in RUNS_NETWORKS]


@pytest.mark.parametrize(
    ("imported", "needless"),
    [
        (modules("figures"), DRAWS),
        (modules("measures"), NO_PLOTS),
        (["hebae.tables.collect"], NO_PLOTS | {"numpy"}),
        (["hebae.report.claims_page"], NO_PLOTS | {"numpy"}),
        (["hebae.claims.read"], NO_PLOTS | {"numpy"}),
        (["hebae.data.prepare"], NO_PLOTS),
        (["hebae.publish.archive"], NO_PLOTS | {"numpy"}),
        (["hebae.workflow.planning", "hebae.training.kept"], NO_PLOTS | {"numpy"}),
        (["hebae.training.status"], NO_PLOTS | {"numpy", "tqdm", "yaml"}),
    ],
    ids=lambda value: value[0].split(".")[1] if isinstance(value, list) else "",
)
def test_steps_import_nothing_needless(imported, needless):
    assert imported
    code = f"import sys, {', '.join(imported)}; print(*{needless!r}.intersection(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
