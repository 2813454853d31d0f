"""The planted experiments' results and figures, made once."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.unit.figures import planted

from hebae.config.experiment import Experiment


@pytest.fixture(scope="session")
def demo() -> Experiment:
    return planted.experiment()


@pytest.fixture(scope="session")
def faces() -> Experiment:
    return planted.experiment("toyfaces")


@pytest.fixture(scope="session")
def results(tmp_path_factory, demo, faces) -> Path:
    """Of the demo; those of the faces lie in the folder `faces` in it."""
    folder = planted.write_results(tmp_path_factory.mktemp("results"), demo)
    planted.write_results(folder / "faces", faces, 64, 3)
    return folder


@pytest.fixture(scope="session")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}


@pytest.fixture(scope="session")
def drawn(results, demo, faces) -> dict[str, tuple[Path, Experiment]]:
    """Every figure's results and experiment."""
    of_demo = dict.fromkeys(demo.figures, (results, demo))
    return of_demo | dict.fromkeys(faces.figures, (results / "faces", faces))


@pytest.fixture(scope="session")
def figures(drawn) -> dict[str, Figure]:
    return {name: planted.draw(name, *drawn[name]) for name in drawn}
