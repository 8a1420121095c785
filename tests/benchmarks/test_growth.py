import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
AXES = ("environments", "members", "seeds", "labels", "candidates", "replay steps")


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a module of the benchmark, as the script sees it."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def program(load, monkeypatch):
    """The program at sizes that take no time."""
    growth, reward = load("speed.growth"), load("speed.reward")
    sizes = {
        "ENVIRONMENTS": (1, 2), "SEPARATE": (1, 2), "MEMBERS": (1, 2), "SEEDS": (1, 2),
        "LABELS": (5, 10), "SPREAD_LABELS": (5, 10), "CANDIDATES": (10, 20),
        "SPREAD_CANDIDATES": (10, 20), "STEPS": (1_000, 2_000), "SEGMENT_STEPS": 5,
        "PAIRS_OF_MEMBERS": 2, "RELABELLED": 1, "EPISODES": 1, "MANY_EPISODES": 1, "PICKED": 2,
        "LABELLED": 2, "DRAWN": 3, "BATCH": 4, "CAPACITY": 10, "RETAINED": 20,
        "SEED_SIZE": replace(growth.SEED_SIZE, hidden_sizes=(8, 8), pairs=2, steps=4),
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(growth, name, value)
    monkeypatch.setattr(reward, "HIDDEN_SIZES", (8, 8))
    curves = load("speed.curves")
    measure = curves.time_in_turns
    monkeypatch.setattr(curves, "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9))
    return load("growth")


def test_every_axis_has_its_curves_figure_and_table(program, tmp_path):
    output, figure, page = (tmp_path / f"growth.{kind}" for kind in ("json", "svg", "md"))
    page.write_text("# Scaling\n\nThe plan.\n")
    program.main(program.Options(output=output, figure=figure, page=page))
    record = json.loads(output.read_text())
    assert tuple(dict.fromkeys(curve["axis"] for curve in record["curves"])) == AXES
    assert all(len(curve["rates"]) == len(curve["sizes"]) == 2 for curve in record["curves"])
    assert all(rate > 0 for curve in record["curves"] for rate in curve["rates"])
    text = page.read_text()
    assert text.startswith("# Scaling\n\nThe plan.\n")
    assert "| replay steps | relabelling all | 1,000 | 2,000 |" in " ".join(text.split())
    assert "slope" in figure.read_text()
    held = {name: value["bytes"] for name, value in record["memory"].items()}
    # Three int64 of two segments, a label and a weight; the store adds who, when and which query.
    assert held["label for a learner"] == 2 * 3 * 8 + 4 + 4
    assert held["label in the store"] > held["label for a learner"]
    # Two windows of five steps, but for those that begin at the same step.
    assert held["label whose steps are overwritten"] == pytest.approx(2 * 5 * (31 * 4 + 1), rel=0.2)
    assert held["step in the replay"] >= (24 + 6 + 1) * 4


def test_a_slope_is_that_of_the_last_points(load):
    curves = load("speed.curves")
    sizes = (1, 10, 100, 1_000)
    assert curves.slope(sizes, [7.0, 100.0, 10.0, 1.0]) == pytest.approx(-1.0)
    assert curves.slope(sizes, [1.0, 3.0, 3.0, 3.0]) == pytest.approx(0.0)


def test_a_curve_counts_its_units(load, monkeypatch):
    curves = load("speed.curves")
    times = load("speed.measure").Times(wall=9.0, cpu=0.5)
    monkeypatch.setattr(curves, "time_in_turns", lambda runs, _: dict.fromkeys(runs, times))
    curve = curves.Curve(
        axis="a", name="n", unit="x/s", sizes=(1, 2), make=lambda size: (lambda: None, 10.0 * size)
    )
    measured = curves.measure_curve(curve, 1)
    assert measured.rates == [20.0, 40.0]
    assert measured.slope == pytest.approx(1.0)


def test_a_part_of_the_axes_leaves_the_record_alone(program, load, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    program.main(program.Options(axes=("candidates",)))
    assert not (tmp_path / "results").exists()
    with pytest.raises(SystemExit, match="unknown sections"):
        program.main(program.Options(axes=("nonsense",)))
