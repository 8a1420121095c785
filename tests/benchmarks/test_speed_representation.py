import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def sections(monkeypatch):
    """The module of the sections at sizes that take no time."""
    pytest.importorskip("ot", reason="POT is an extra")
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("speed.representation")
    monkeypatch.setattr(module, "ALIGNED", (4, 6))
    monkeypatch.setattr(module, "JUDGED", 6)
    taco = importlib.import_module("speed.taco")
    monkeypatch.setattr(taco, "CONFIG", small_taco(taco))
    for name, value in (("BATCH", 4), ("NUM_STORED", 40), ("EPISODE", 10)):
        monkeypatch.setattr(taco, name, value)
    measure = module.time_in_turns
    for one in (module, taco):
        monkeypatch.setattr(one, "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9))
    return module


def small_taco(module):
    encoder = replace(module.CONFIG.encoder, image_shape=(9, 16, 16), num_filters=2)
    objective = replace(module.CONFIG.taco, hidden_size=8)
    return replace(module.CONFIG, encoder=encoder, hidden_size=8, taco=objective)


def test_every_section_has_its_rows(sections, tmp_path):
    output = tmp_path / "speed.json"
    program = importlib.import_module("speed_representation")
    program.main(program.SpeedOptions(rounds=1, output=output))
    rows = json.loads(output.read_text())["rows"]
    assert [row["case"] for row in rows[:2]] == ["4 x 4 segments", "6 x 6 segments"]
    assert [row["is_met"] for row in rows[:2]] == [None, True]
    assert [row["contender"] for row in rows[2:]] == [
        "SAC update", "reward step", "reward step with the prior", "world model update",
        "plain torch", "pbrl", "augmentation", "encoder", "objective", "draw",
    ]  # fmt: skip
    assert rows[5]["note"].startswith("adds ")
    assert rows[7]["aim"] == "1.5x plain torch"
    assert rows[8]["note"].endswith("of an update")


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


def test_the_plain_update_has_as_many_parameters_as_ours(sections):
    taco = importlib.import_module("speed.taco")
    plain = taco.PlainTaco(taco.CONFIG, taco.ACTION_DIM)
    ours = taco.DrQv2(taco.CONFIG, 9 * 16 * 16, taco.ACTION_DIM, generator=torch.Generator())
    number = sum(
        len(group["params"]) and sum(part.numel() for part in group["params"])
        for name in ("taco", "actor", "critic")
        for group in plain.optimizers[name].param_groups
    )
    token = sum(part.numel() for part in plain.token.parameters())
    modules = (ours.taco, ours.actor, ours.critic)
    assert number - token == sum(part.numel() for one in modules for part in one.parameters())
