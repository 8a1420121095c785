import json
from dataclasses import replace

import pytest

AXES = ("environments", "members", "seeds", "labels", "candidates", "replay steps")


@pytest.fixture
def program(load, monkeypatch):
    """The program at sizes that take no time."""
    growth, reward = load("speed.growth"), load("speed.reward")
    sizes = {
        "ENVIRONMENTS": (1, 2), "SEPARATE": (1, 2), "MEMBERS": (1, 3), "SEEDS": (1, 2),
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
    assert "| one pass of the reward over them |" in " ".join(text.split())
    assert "| learners that they feed at one update per step |" in " ".join(text.split())
    held = {name: value["bytes"] for name, value in record["memory"].items()}
    # Three int64 of two segments, a label and a weight; the store adds who, when and which query.
    assert held["label for a learner"] == 2 * 3 * 8 + 4 + 4
    assert held["label in the store"] > held["label for a learner"]
    # Two windows of five steps, but for those that begin at the same step.
    assert held["label whose steps are overwritten"] == pytest.approx(2 * 5 * (31 * 4 + 1), rel=0.2)
    assert held["step in the replay"] >= (24 + 6 + 1) * 4


def test_what_is_measured_later_takes_its_place_and_leaves_the_rest(program, tmp_path):
    output, figure, page = (tmp_path / f"growth.{kind}" for kind in ("json", "svg", "md"))
    one = {"axis": "labels", "unit": "times/s", "sizes": [5, 10], "rates": [7.0, 7.0], "slope": 0.0}
    names = ["writing the store", "recording one answer", "reading the store"]
    steps = one | {"axis": "replay steps", "name": "relabelling all"}
    record = {
        "machine": {"cpu": "any", "cores": 2}, "load_average": [1.0, 2.0], "threads": 1,
        "rounds": 1, "versions": {"pbrl": "0"}, "memory": {},
        "curves": [*(one | {"name": name} for name in names), steps],
    }  # fmt: skip
    output.write_text(json.dumps(record))
    anew = program.Options(update=True, output=output, figure=figure, page=page)
    program.main(replace(anew, axes=("labels",), name="recording"))
    program.main(replace(anew, axes=("labels",), name="drawing"))  # one that was not there
    new = json.loads(output.read_text())
    curves = {curve["name"]: curve["rates"] for curve in new.pop("curves")}
    assert list(curves) == [*names, "drawing 3 pairs", "relabelling all"]
    changed = [name for name, rates in curves.items() if rates != [7.0, 7.0]]
    assert changed == ["recording one answer", "drawing 3 pairs"]
    del record["curves"]
    assert new == record | {"measured_later": sorted(changed)}
    later = "Measured later than the rest: drawing 3 pairs; recording one answer."
    assert later in page.read_text()
    assert "reading the store" in figure.read_text()


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


def test_the_plan_by_hand(load):
    plan, curves = load("speed.plan"), load("speed.curves")
    rates = {
        ("environments", "mujoco.rollout"): (1, 256, 10.0, 20_000.0),
        ("environments", "dm_control"): (1, 64, 10_000.0, 9.0),
        ("environments", "storing"): (1, 256, 50_000.0, 2e6),
        ("members", "learning from pairs"): (1, 3, 9.0, 4.0),
        ("members", "relabelling"): (1, 3, 9.0, 2e5),
        ("seeds", "SAC"): (1, 16, 100.0, 9.0),
        ("labels", "a session"): (1, 10**6, 9.0, 0.5),
        ("labels", "recording"): (1, 10**6, 9.0, 10.0),
        ("labels", "writing"): (1, 10**6, 9.0, 0.5),
        ("labels", "reading"): (1, 10**6, 9.0, 5.0),
        ("labels", "k-center"): (1, 10**4, 9.0, 1.0),
        ("candidates", "disagreement"): (1, 10**5, 9.0, 2.0),
        ("replay steps", "relabelling"): (1, 10**6, 9.0, 0.2),
    }
    measured = [
        curves.Measured(
            axis=axis, name=name, unit="", sizes=list(row[:2]), rates=list(row[2:]), slope=0.0
        )
        for (axis, name), row in rates.items()
    ]
    names = {"label in the store": 88, "label in the file": 10, "label for a learner": 56,
             "label whose steps are overwritten": 12_400, "step in the replay": 132}  # fmt: skip
    memory = {name: {"bytes": value, "of": 1} for name, value in names.items()}
    found = {what: needs for what, needs, _ in plan.million_labels(plan.Rates(measured), memory)}
    assert found["the labels in memory"] == "88 MB, and 56 MB as a learner sees them"
    assert found["labels whose steps the replay has overwritten"] == "12.4 GB"
    assert found["recording them one by one"] == "28 hours"  # 0.1 s x 1e6
    assert found["one pass of the reward over them"] == "33 minutes"  # 0.25 s x 1e6 / 128
    assert found["a session of 50 passes"] == "27 hours"
    assert found["a pass over all so far in each of 1,000 sessions"] == "11 days"
    # 976,562 s / 100 and 1,000 starts of 1 s in the mean.
    assert found["a hundredth of a pass in each of 1,000 sessions"] == "3 hours"
    assert found["choosing 100 of 1,000 candidates by k-center"] == "1.7 minutes"
    found = {what: needs for what, needs, _ in plan.thousand_machines(plan.Rates(measured), memory)}
    assert found["learners that they feed at one update per step"] == "200"
    assert found["steps that a thousand make"] == "20 million, 2.6 GB per second"
    assert found["steps that one replay stores"] == "2.0 million per second"
    last = "a pass over a million labels, 128 pairs per update on each"
    assert found[last] == "2 s and 8 exchanges of gradients"


def test_a_part_of_the_axes_leaves_the_record_alone(program, load, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    program.main(program.Options(axes=("candidates",)))
    assert not (tmp_path / "results").exists()
    with pytest.raises(SystemExit, match="unknown sections"):
        program.main(program.Options(axes=("nonsense",)))
