import importlib
import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("hindsight_toy")


@pytest.fixture
def events(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("toys.events")


def test_one_step_of_a_segment_is_paid(events):
    made = events.make_events(2, torch.Generator().manual_seed(0))
    assert made.states.shape == (2, 540, 2, 20, 4)
    assert ((made.states[..., 0] == 1).sum(-1) == 1).all()
    assert ((made.rewards != 0).sum(-1) <= 1).all()
    assert torch.equal(made.rewards.sum(-1), (made.states[..., 0] * made.states[..., 1]).sum(-1))
    assert made.rewards.abs().max() <= 1


@pytest.mark.many_updates
def test_the_prior_is_worth_as_much_as_its_importance(events):
    none = events.learn(0.0, seeds=3)
    oracle, random = (events.learn(10.0, kind, seeds=3) for kind in ("oracle", "random"))
    assert oracle.accuracy.mean() > none.accuracy.mean() + 0.1
    assert random.accuracy.mean() < none.accuracy.mean() + 0.05
    assert oracle.correlation.mean() > none.correlation.mean() + 0.2
    assert random.correlation.mean() < none.correlation.mean() + 0.1


def test_the_record_becomes_a_table(toy, events, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "UPDATES", 2)
    output, page = tmp_path / "record.json", tmp_path / "page.md"
    toy.main(seeds=2, output=output, page=page)
    record = json.loads(output.read_text())
    assert len(record["rows"]) == len(toy.REFERENCE)
    assert all(len(row["accuracy"]) == 2 for row in record["rows"])
    text = page.read_text()
    assert "| 10     | random     | detached " in text
    page.unlink()
    toy.main(seeds=5, output=output, page=page, page_only=True)
    assert page.read_text() == text  # of the record's two seeds


def test_a_line_of_the_table_by_hand(toy):
    given = {"weight": 10.0, "importance": "oracle", "detach": False}
    table = toy.table({"rows": [{**given, "accuracy": [0.7, 0.9], "correlation": [0.5, 0.5]}]})
    line = [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]
    assert line == [
        "10", "oracle", "not detached", "0.800 (0.141)", "0.500 (0.000)", "0.812, 0.790",
    ]  # fmt: skip
