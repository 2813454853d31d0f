"""docs/claims.md is enough to recompute every verdict: ``second.py`` does, and both agree."""

from __future__ import annotations

import ast
import copy
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.claims import second
from tests.unit.claims.test_claims import (
    CONFIG,
    NOISES,
    OF_NOISE,
    SCHEMA,
    experiment,
    noise_tables,
    parse,
    world,
)
from tests.unit.claims.test_claims import DOCUMENT as ALL

from hebae.claims.judge import judge_claims
from hebae.config.parse import parse as parse_config

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = sorted(path.parent.name for path in (ROOT / "docs/results").glob("*/config.yaml"))
CONFIG_SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
PAGE = (ROOT / "docs/claims.md").read_text().partition("## The measures")[2].partition("\n## ")[0]
DEFINED = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
"""The measures that the page defines; one that a user adds is not among them."""
DOCUMENT = ALL | {"claims": [c for c in ALL["claims"] if set(c["measures"]) <= DEFINED]}
Cut = Callable[[dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]
KEY = ("claim", "dataset", "measure", "latent_dim")
TEST = ("verdict", "n_seeds", "seeds_needed")
PART = {"n": "n_seeds", "estimate": "estimate", "low": "ci_low", "high": "ci_high"}
PART |= {name: name for name in ("effect", "test", "p_above", "p_below")}


def published(name: str) -> tuple[dict, dict[str, pd.DataFrame]]:
    """The config and tables of docs/results."""
    folder = ROOT / "docs/results" / name
    tables = {path.name.split(".")[0]: pd.read_csv(path) for path in folder.glob("tables/*.csv*")}
    return yaml.safe_load((folder / "config.yaml").read_text()), tables


def simple(value):
    """A number that can be compared; None and nan are the same."""
    if value is None or isinstance(value, str):
        return value
    return None if math.isnan(value) else pytest.approx(float(value), rel=1e-6, abs=1e-11)


def keyed(row: dict) -> tuple:
    return tuple(row[name] for name in KEY)


def agree(claims: dict, config: dict, tables: dict[str, pd.DataFrame]) -> list[dict]:
    """Judge twice and compare everything; the tests of the second implementation."""
    made = parse_config(copy.deepcopy(config), CONFIG_SCHEMA).experiment
    rows, parts = judge_claims(parse(copy.deepcopy(claims), SCHEMA), made, tables)
    tests = second.judge(claims, config, tables)
    rows = [row for row in rows if row["verdict"] != "not run here"]
    assert [keyed(test) for test in tests] == [keyed(row) for row in rows]
    parts = iter(parts)
    for test, row in zip(tests, rows, strict=True):
        where = keyed(test)
        assert {name: test[name] for name in TEST} == {name: simple(row[name]) for name in TEST}, (
            where
        )
        assert bool(row["withdrawn"]) == test["withdrawn"], where
        shown = [test["decides"][name] for name in ("estimate", "low", "high")]
        assert shown == [simple(row[name]) for name in ("estimate", "ci_low", "ci_high")], where
        for own in test["parts"]:
            part = next(parts)
            assert keyed(part) == where
            assert {name: own[name] for name in PART} == {
                name: simple(part[column]) for name, column in PART.items()
            }, (where, part["part"])
            assert test["p_holm"] == simple(part["p_holm"]), where
    assert next(parts, None) is None
    return tests


def verdicts(tests: list[dict]) -> set[str]:
    return {test["verdict"] for test in tests}


def test_it_imports_nothing_of_this_project():
    tree = ast.parse((Path(__file__).parent / "second.py").read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).split(".")[0])
    assert names == {"__future__", "itertools", "math", "typing", "numpy", "pandas", "scipy"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_results(name):
    assert agree(DOCUMENT, *published(name))


def test_results_in_parts():
    """Of twelve seeds that are asked for ten are there; or all but one of a grid."""
    config, tables = published("digits")
    more = config | {"seeds": [*config["seeds"], 10, 11]}
    assert verdicts(agree(DOCUMENT, more, tables)) == {"undecided"}
    fid = tables["fid"]
    lost = (fid["model"] == "WAE") & (fid["seed"] == 3) & (fid["weight"] == 100)
    found = agree(DOCUMENT, config, tables | {"fid": fid[~lost]})
    waiting = {test["measure"] for test in found if test["p_holm"] is None}
    assert {"fid_range", "fid_best"} <= waiting and waiting.isdisjoint({"elbo", "fid_prior"})


def family_size(tests: list[dict]) -> float:
    """By which number Holm's procedure multiplied the smallest p that is not 0."""
    judged = sorted((test["p"], test["p_holm"]) for test in tests if test["p_holm"] is not None)
    before, (p, p_holm) = next((k, pair) for k, pair in enumerate(judged) if pair[0])
    return p_holm / p + before


def without(name: str, keep: Callable[[pd.DataFrame], pd.Series]) -> Cut:
    """What a table is before other rows of it arrive."""
    return lambda tables: tables | {name: tables[name][keep(tables[name])]}


def of_all(keep: Callable[[pd.DataFrame], pd.Series]) -> Cut:
    """The same of every table of runs."""
    return lambda tables: {
        name: table[keep(table)] for name, table in tables.items() if "seed" in table
    }


LABELS = "the first of two labels of the same runs"
SMALL = 250  # digits has diagnostics of runs on so many training images too
ARRIVALS: dict[str, list[Cut]] = {
    "a table": [
        lambda tables: {name: table for name, table in tables.items() if name != "fid"},
        without("fid", lambda rows: (rows["seed"] != 4) & (rows["model"] == "VAE")),
        without("fid", lambda rows: rows["seed"] != 4),
    ],
    "the grid of weights": [
        without("elbo_by_weight", lambda rows: rows["weight"].isin([1, 10]) & (rows["seed"] != 4)),
        without("elbo_by_weight", lambda rows: rows["weight"] != 0.01),
    ],
    "a latent dimension": [
        of_all(lambda rows: rows["latent_dim"] == 2),
        of_all(lambda rows: rows["latent_dim"] != 4),
    ],
    LABELS: [
        of_all(lambda rows: rows["dataset"] != "digits"),
        of_all(lambda rows: (rows["dataset"] != "digits") | (rows["seed"] == 0)),
    ],
    "the second of them": [of_all(lambda rows: rows["dataset"] != "digits-noise")],
    "runs on all images after those on few": [
        without("diagnostics", lambda rows: rows["n_train"] == SMALL),
        without("diagnostics", lambda rows: (rows["n_train"] == SMALL) | (rows["latent_dim"] == 8)),
    ],
}


@pytest.mark.parametrize(
    ("arrives", "fewer"),
    [*((name, None) for name in ARRIVALS), (LABELS, "digits"), (LABELS, "digits-noise")],
)
def test_no_verdict_changes_when_what_was_missing_arrives(arrives, fewer):
    """The family has the tests that wait too; with fewer seeds of a label than decide, as well."""
    config, tables = published("digits")
    assert SMALL in set(tables["diagnostics"]["n_train"])
    if fewer:
        config["datasets"][fewer]["seeds"] = [0, 1, 2]
        tables = of_all(lambda rows: (rows["dataset"] != fewer) | (rows["seed"] < 3))(tables)
    chain = [cut(tables) for cut in ARRIVALS[arrives]]
    steps = [agree(DOCUMENT, config, part) for part in (*chain, tables)]
    n_judged = [sum(test["p_holm"] is not None for test in step) for step in steps]
    assert fewer or n_judged[-2] < n_judged[-1]
    for before, after in itertools.pairwise(steps):
        assert family_size(before) == pytest.approx(family_size(after))
        later = {keyed(test): test for test in after}
        for test in before:
            if test["verdict"] != "undecided":
                assert later[keyed(test)]["verdict"] == test["verdict"]
            if test["p_holm"] is not None:
                assert later[keyed(test)]["p_holm"] <= test["p_holm"]


def test_a_planted_world():
    tests = agree(DOCUMENT, CONFIG, world(experiment(), noise=0.1))
    # all of its claims but those of other data and models
    assert {test["claim"] for test in tests} == {
        claim["id"]
        for claim in DOCUMENT["claims"]
        if "datasets" not in claim and {*second.models_of(claim)} <= {*CONFIG["models"]}
    }


def test_a_planted_world_of_noises_and_divergences():
    claims = DOCUMENT | {"claims": [c for c in DOCUMENT["claims"] if c["id"] in OF_NOISE]}
    assert len(agree(claims, NOISES, noise_tables({}))) == 9


# Worlds in which everything that is awkward happens

MODELS = ("VAE", "HEBAE", "WAE", "InfoVAE")
MEASURES = ("elbo", "elbo_epochs", "elbo_spread", "elbo_lost", "fid_range", "fid_near_zero")
MEASURES += ("fid_mixture", "index_code_information", "noise_deviation", "tic")


def draw(random: np.random.Generator, size: int) -> np.ndarray:
    """Values above 0: with ties, without spread, in two or three groups, or none of these."""
    kind = random.integers(6)
    if kind == 0:
        return np.full(size, random.choice([1.0, 1.3]))
    if kind == 1:
        return random.choice([1.1, 1.2, 1.3, 2.3], size)
    if kind == 2:
        return np.where(random.random(size) < 0.3, 3.0, 1.0) + 0.03 * random.random(size)
    if kind == 3:
        return np.where(np.arange(size) == 0, 1.0, 1.3) + 1e-13 * random.random(size)
    return random.choice([1.0, 1.1]) + random.choice([0.01, 0.3]) * random.random(size)


def awkward_claims(random: np.random.Generator, measures: tuple[str, ...]) -> dict:
    claims = []
    for measure in measures:
        for kind in ("order", "threshold", "absolute", "relative", "contrast"):
            a, b, c, d = map(str, random.permutation(MODELS))
            ratio = measure in second.RATIO
            claim = {"id": f"{kind}-{len(claims)}", "statement": "s", "where": "w"}
            claim |= {"figures": ["fig1a"], "measures": [measure]}
            if kind == "order":
                claim |= {"order": random.choice([[[a, b], [b, c]], [[a, b], [a, c]]]).tolist()}
                claim |= {"margin": float(random.choice([0, 0, 0.1, -0.1, -0.5]))}
            elif kind == "threshold":
                claim |= {"above": {a: 1.1}, "below": {b: float(random.choice([1.3, 2]))}}
            elif kind == "contrast" or (kind == "absolute" and ratio):
                claim |= {"contrast": [a, b, c, d], "margin": float(random.choice([0, 0.1]))}
            else:
                claim |= {"equal": [[a, b]], "tolerance": {kind: float(random.choice([0.1, 0.5]))}}
            if random.random() < 0.1:
                claim["seeds"] = int(random.choice([2, 6]))
            claims.append(claim)
    return {"level": 0.05, "seeds": 4, "claims": claims}


def awkward_config(random: np.random.Generator) -> dict:
    """The default λ may be at an end of the grid or beside it; the runs may have two labels."""
    config = copy.deepcopy(CONFIG)
    data = config["datasets"]["digits"]
    grids = ([0.01, 0.1, 1, 10], [0.1, 1], [1, 10], [0.01, 10], [1], [])
    data["models"] = {
        model: {"weight": 1, "weights": list(grids[random.choice(6, p=[0.75] + [0.05] * 5)])}
        for model in MODELS
    }
    if random.random() < 0.3:
        config["datasets"]["again"] = copy.deepcopy(data) | {"source": "digits"}
        config["datasets"]["again"]["training"]["adam_beta1"] = float(random.choice([0.9, 0.5]))
        config["figures"] = dict.fromkeys(
            config["figures"], str(random.choice(["again", "digits"]))
        )
    return config


def awkward_tables(random: np.random.Generator, config: dict) -> dict[str, pd.DataFrame]:
    """All seeds of a table in disorder; some runs are missing, and some values are not finite."""
    tables = {}
    n_seeds = int(random.integers(4, 11))

    def table(name: str, at_default: bool, **columns) -> None:
        of_models = []
        for label, data in config["datasets"].items():
            for model, own in data["models"].items():
                weights = {own["weight"]} if at_default else {own["weight"], *own["weights"]}
                for dim in data["latent_dims"]:
                    seeds = np.arange(n_seeds - int(random.integers(6) == 0) * random.integers(4))
                    for weight in weights:
                        identity = {"dataset": label, "model": model, "latent_dim": dim}
                        values = {column: draw(random, len(seeds)) for column in columns}
                        rows = pd.DataFrame(
                            identity | {"weight": float(weight), "seed": seeds} | values
                        )
                        of_models.append(rows)
        found = pd.concat(of_models)
        for column, constants in columns.items():
            missing = random.random(len(found)) < random.choice([0, 0, 0.02])
            found.loc[missing, column] = random.choice([np.nan, np.inf, -np.inf])
            found = found.assign(**constants)
        tables[name] = found[random.random(len(found)) > random.choice([0, 0.02])].sample(
            frac=1, random_state=int(random.integers(1000))
        )

    table("elbo_by_weight", False, elbo={})
    table("fid", False, fid={"features": "f", "sampling": "prior"})
    prior = tables["fid"]
    table("fid", True, fid={"features": "f", "sampling": "mixture"})
    tables["fid"] = pd.concat([prior, tables["fid"]])
    table("index_code_information", True, nats={})
    table("active_units", True, noise_variance={"dimension": 0})
    ties = "broken" if random.random() < 0.7 else np.nan
    table("mutual_information", True, tic={"protocol": "indices_draws", "ties": ties})
    table("elbo_by_epoch", True, pace={"split": "test"})
    curves = tables["elbo_by_epoch"].merge(pd.DataFrame({"epoch": range(1, 9)}), how="cross")
    # some have diverged, in part of their epochs or to the end
    lost = curves["epoch"].isin(random.choice(range(1, 9), 3)) & (curves["seed"] == 2)
    bounds = (-8 * curves["pace"] / curves["epoch"]).mask(lost)
    tables["elbo_by_epoch"] = curves.assign(elbo=bounds)
    return tables


def test_awkward_worlds():
    found = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        config = awkward_config(random)
        claims = awkward_claims(random, MEASURES[seed % 4 :: 4])
        found += agree(claims, config, awkward_tables(random, config))
    # everything that can happen has happened
    assert verdicts(found) == {"holds", "does not hold", "undecided"}
    assert {part["test"] for test in found for part in test["parts"]} == {
        "t",
        "rank",
        "tie",
        "none",
    }
    assert {test["dataset"] for test in found} == {"digits", "again"}
    assert {test["withdrawn"] for test in found} == {True, False}
    needed = {test["seeds_needed"] for test in found}
    assert {None, math.inf, 4, 6} <= needed and len(needed) > 10
