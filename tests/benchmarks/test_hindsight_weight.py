import json
from dataclasses import replace

import pytest
import torch

from pbrl.training.presets import make_config
from pbrl.training.run import train


@pytest.fixture
def program(load, monkeypatch):
    module = load("hindsight_weight")
    monkeypatch.setattr(module, "NUM_UNSEEN", 10)
    monkeypatch.setattr(module, "STEPS", 20)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = make_config("gym/Pendulum-v1", "pebble")
    sampler = replace(config.preferences.sampler, segment_length=20)
    schedule = replace(
        config.preferences.schedule, budget=6, session_size=3, first_step=400, interval=100,
        total_steps=600,
    )  # fmt: skip
    learning = replace(config.preferences.learning, steps_per_label=2.0)
    preferences = replace(config.preferences, sampler=sampler, schedule=schedule, learning=learning)
    folder = tmp_path_factory.mktemp("runs") / "swing"
    config = replace(
        config, steps=600, updates_per_step=0.01, eval_every=600, eval_episodes=1,
        preferences=preferences,
    )  # fmt: skip
    train(config, folder)
    return folder


def test_shares_that_are_given(program, run):
    replay = program.load_loop(run).replay
    index = replay.sample_segments(3, program.STEPS, torch.Generator().manual_seed(1))
    uniform = program.make_prior(replay, (1.0, "uniform"), torch.Generator())
    assert torch.allclose(uniform.importance(index, replay), torch.tensor(1 / program.STEPS))
    true = program.make_prior(replay, (1.0, "true"), torch.Generator())
    unpaid = true.importance(index, replay)  # a pendulum's rewards are not above 0
    assert torch.allclose(unpaid, torch.tensor(1 / program.STEPS))
    replay.all_true_rewards().abs_()
    paid = replay.gather(index).true_rewards
    assert torch.allclose(true.importance(index, replay) * paid.sum(-1, keepdim=True), paid)


def test_a_record_and_a_table_are_written(program, run, tmp_path):
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    options = program.Options(runs=(run,), seeds=2, updates=2, record=record, page=page)
    program.main(options)
    rows = json.loads(record.read_text())["rows"]
    assert len(rows) == 2 * len(program.ARMS)
    assert all(0 <= row["all/accuracy"] <= 1 for row in rows)
    assert len({row["late/correlation"] for row in rows}) > len(program.ARMS)
    assert "| swing | 10     | true       | " in page.read_text()
