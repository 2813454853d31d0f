"""A run and its record."""

import json
from dataclasses import asdict

import pytest
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.config.run import Run, read_run

RUN = changed(latent_dim=3, weight="0.1", seed=7, parameters={"reparameterisation": "diagonal"})


def test_a_run_comes_back_from_its_record(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"run": asdict(RUN), "device": "cpu"}))
    run, record = read_run(path)
    assert run == RUN == Run.from_json(RUN.to_json())
    assert record["device"] == "cpu"
    assert list(run.identity.items()) == [
        ("dataset", "digits"), ("model", "HEBAE"), ("latent_dim", 3), ("weight", "0.1"), ("seed", 7)
    ]  # fmt: skip
    assert run.path == "digits/HEBAE/z3/w0.1/s7"
    assert run.modules == [
        "hebae.models.objectives.hebae",
        "hebae.models.networks.dense",
        "hebae.models.reconstruction",
    ]


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"run": 3}', '{"run": {"dataset": "digits"}}', "\xff"]
)
def test_what_is_no_record_is_named(tmp_path, text):
    path = tmp_path / "run.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"run\.json: ") as error:
        read_run(path)
    assert "\n" not in str(error.value)
