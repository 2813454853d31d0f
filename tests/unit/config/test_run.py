"""A run and its record."""

import dataclasses
import json
from dataclasses import asdict

import pytest
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.config.run import Run, read_run

RUN = changed(latent_dim=3, lam=0.1, seed=7, parameters={"reparameterisation": "diagonal"})


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


OLD_RECORD = """{"run": {"dataset": "digits", "model": "HEBAE", "latent_dim": 3, "weight": "0.1",
"seed": 7, "objective": "hebae", "parameters": {"reparameterisation": "diagonal"},
"network": "dense", "network_parameters": {"encoder_widths": [64, 32], "decoder_widths": [32, 32]},
"reconstruction": "bernoulli", "reconstruction_parameters": {}, "n_train": null, "training":
{"epochs": 12, "batch_size": 128, "learning_rate": 0.001, "learning_rate_decay": 0.995,
"learning_rate_steps": [[20, 2], [30, 5.0]], "adam_beta1": 0.9, "precision": "float32"}},
"device": "cpu"}"""


def test_records_of_earlier_versions_are_read(tmp_path):
    """They have λ as text, under "weight"."""
    path = tmp_path / "run.json"
    path.write_text(OLD_RECORD)
    training = dataclasses.replace(RUN.training, learning_rate_steps=((20, 2), (30, 5.0)))
    run, _ = read_run(path)
    assert run == dataclasses.replace(RUN, training=training)
    assert run.to_json() == dataclasses.replace(RUN, training=training).to_json()
    assert run.identity == RUN.identity and run.path == RUN.path
    assert json.loads(run.to_json())["lam"] == 0.1


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
