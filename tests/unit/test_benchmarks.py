"""The benchmarks run, on sizes too small to say anything, and fit what was planted."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from benchmarks import gpu, growth, information, workflow


def test_the_exponent_of_a_power_law_is_found():
    sizes = np.array([10, 20, 40, 80, 160])
    slope, error = growth.exponent(sizes, 3e-5 * sizes**2.5)
    assert slope == pytest.approx(2.5) and error < 1e-6
    noise = np.exp([0.05, -0.05, 0.02, 0.03, -0.05])
    slope, error = growth.exponent(sizes, 3e-5 * sizes**2.5 * noise)
    assert abs(slope - 2.5) < 2 * error < 0.2


def test_fits_are_of_the_largest_sizes_and_of_peaks_that_can_be_told():
    sizes = [1, 10, 20, 40, 80]
    rows = [
        dict(case="a", against="x", size=n, seconds=1.0 if n == 1 else n**2, peak_mib=n / 10)
        for n in sizes
    ]
    (seconds, memory) = growth.fits(pd.DataFrame([*rows, rows[0] | {"size": 160, "peak_mib": 16}]))
    assert (seconds["smallest"], seconds["largest"]) == (20, 160)
    assert (memory["smallest"], memory["largest"]) == (40, 160)
    (seconds,) = growth.fits(pd.DataFrame(rows))
    assert seconds["exponent"] == pytest.approx(2)
    assert (seconds["smallest"], seconds["largest"]) == (10, 80)


@pytest.mark.parametrize("case", growth.CASES)
def test_every_work_of_the_growth_can_be_done(case):
    prepare, against, sizes, fixed = growth.CASES[case]
    arguments = {name: growth.TINY[name] for name in growth.taken(prepare)}
    assert against in arguments and against not in fixed and list(sizes) == sorted(sizes)
    prepare(**{**fixed, **arguments})()


def test_growth_writes_its_tables_and_figure(tmp_path):
    growth.main(["--output", str(tmp_path), "--cases", "MIC/TIC, 1,000 images", "--points", "1"])
    (row,) = pd.read_csv(tmp_path / "growth.csv").to_dict("records")
    assert row["size"] == 2 and row["seconds"] > 0
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"growth.csv", "growth.json", "growth.png", "growth_exponents.csv"}


def test_growth_draws_its_exponents(tmp_path):
    rows = [
        dict(case="a", against="images", size=n, seconds=n**2, peak_mib=n) for n in (10, 20, 40)
    ]
    table = pd.DataFrame(rows)
    growth.draw(table, pd.DataFrame(growth.fits(table), columns=growth.FIT), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


SIZES = dict(images=60, d=2, wide=3, sets=1, codes=20)


@pytest.mark.parametrize("number", range(len(information.cases(**SIZES))))
def test_both_sides_of_information_find_the_same(number):
    case, (function, posterior) = list(information.cases(**SIZES).items())[number]
    given = posterior()
    ours, plain = (function(side, posterior=given, threads=1) for side in ("hebae", "plain"))
    np.testing.assert_allclose(ours, plain, rtol=0 if case.startswith("MIC") else 1e-11)


def test_information_stops_where_sides_differ(monkeypatch):
    results = iter([0.5, 0.6])
    monkeypatch.setattr(
        information.harness,
        "together",
        lambda command, copies: [dict(seconds=1.0, values=[next(results)])] * copies,
    )
    sides = information.Sides("a case", 1e-10, SIZES)
    assert sides.seconds("hebae", copies=2) == 0.5
    with pytest.raises(SystemExit, match="a case: loop has other values"):
        sides.seconds("loop")


def test_a_measured_process_prints_its_seconds_and_values(monkeypatch, capsys):
    monkeypatch.setattr(information.harness, "wait_for_start", lambda: None)
    case = next(iter(information.cases(**SIZES)))
    what = dict(case=case, side="hebae", threads=2, sizes=SIZES)
    information.main(["--measure", json.dumps(what)])
    printed = json.loads(capsys.readouterr().out)
    assert printed["seconds"] > 0 and np.shape(printed["values"]) == (2, 2)


def test_what_is_measured_on_a_gpu_runs_on_a_cpu(tmp_path, capsys):
    sizes = dict(epochs=1, pack=3, images=300, faces=200, width=0.02, turns=1)
    given = {"device": "cpu", "output": tmp_path, **sizes}
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    gpu.main([*arguments, "--precisions", "float32", "tf32"])
    table = pd.read_csv(tmp_path / "gpu.csv")
    assert len(table) == 6 and (table.value > 0).all()
    assert "3 runs together, tf32: " in capsys.readouterr().out


def test_what_counts_as_work_is_there():
    """The share of work is taken by these names: one that is no module's counts as overhead."""
    for name in workflow.WORK:
        assert importlib.util.find_spec(f"hebae.{name}"), name
