import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def sections(monkeypatch):
    """The module of the sections at sizes that take no time."""
    pytest.importorskip("ot", reason="POT is an extra")
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("speed.representation")
    monkeypatch.setattr(module, "ALIGNED", (4, 6))
    monkeypatch.setattr(module, "JUDGED", 6)
    measure = module.time_in_turns
    monkeypatch.setattr(module, "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9))
    return module


def test_every_section_has_its_rows(sections, tmp_path):
    output = tmp_path / "speed.json"
    program = importlib.import_module("speed_representation")
    program.main(program.SpeedOptions(rounds=1, output=output))
    rows = json.loads(output.read_text())["rows"]
    assert [row["case"] for row in rows[:2]] == ["4 x 4 segments", "6 x 6 segments"]
    assert [row["is_met"] for row in rows[:2]] == [None, True]
    assert [row["contender"] for row in rows[2:]] == [
        "SAC update", "reward step", "reward step with the prior", "world model update",
    ]  # fmt: skip
    assert rows[-1]["note"].startswith("adds ")


def test_the_share_that_is_added_by_hand(sections):
    config = sections.make_config(sections.ENV, "hindsight-prior")
    preferences = config.preferences
    learning = replace(preferences.learning, steps_per_label=None, passes=1)
    preferences = replace(preferences, learning=learning)
    seconds = {
        "SAC update": 1.0,
        "reward step": 2.0,
        "reward step with the prior": 5.0,
        "world model update": 10.0,
    }
    # 10 sessions of one step each, 1,000 + 9 * 200 updates of the world model, 100,000 of SAC.
    expected = (2_800 * 10 + 10 * 3) / (100_000 + 10 * 2)
    assert sections.added_share(config, preferences, seconds) == pytest.approx(expected)
