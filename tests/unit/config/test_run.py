"""A run and its record."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from tests.runs import changed

from hebae.base.errors import UserError
from hebae.config.fields import from_fields, from_json, to_json
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


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float
    steps: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    shape: tuple[int, int]
    known: Mapping[str, Inner]
    free: dict[str, Any]
    ready: bool = False
    least: Inner | float | None = None


FIELDS = {
    "name": "a",
    "inner": {"rate": 1, "steps": [[2, 0.5], [3, 4]]},
    "shape": [2, 3],
    "known": {"b": {"rate": 0.5}},
    "free": {"c": [1, {"d": None}]},
}


def test_dataclasses_come_from_what_json_makes_of_them():
    made = from_fields(Outer, FIELDS)
    inner = Inner(1, ((2, 0.5), (3, 4)))
    assert made == Outer("a", inner, (2, 3), {"b": Inner(0.5)}, {"c": [1, {"d": None}]})
    for least in ({"rate": 2.5}, 2.5, None):
        again = from_fields(Outer, FIELDS | {"least": least, "ready": True})
        assert from_json(Outer, to_json(again)) == again
        assert again.least == (Inner(2.5) if isinstance(least, dict) else least)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": 3}, "name: 3 is no str"),
        ({"inner": 3}, "inner: 3 where its fields should be"),
        ({"inner": {"rate": "1"}}, "inner: rate: '1' is no float"),
        ({"inner": {"rate": True}}, "inner: rate: True is no float"),
        ({"inner": {}}, "inner: "),
        ({"inner": {"rate": 1, "steps": [[1]]}}, "inner: steps: "),
        ({"shape": [1, 2, 3]}, "shape: "),
        ({"shape": "12"}, "shape: '12' is no tuple"),
        ({"shape": [1.5, 2]}, "shape: 1.5 is no int"),
        ({"known": {"b": 1}}, "known: 1 where its fields should be"),
        ({"free": []}, "free: [] is no dict"),
        ({"ready": 1}, "ready: 1 is no bool"),
        ({"least": "x"}, "least: 'x' is none of "),
        ({"more": 1}, "unknown: more"),
    ],
)
def test_what_is_no_such_dataclass_is_said_in_one_line(fields, message):
    with pytest.raises(UserError) as error:
        from_fields(Outer, FIELDS | fields)
    said = str(error.value)
    assert said.startswith(f"not the description of a Outer: {message}") and "\n" not in said
