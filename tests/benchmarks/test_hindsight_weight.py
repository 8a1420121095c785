import json

import pytest
import torch

from pbrl.replay import ReplayBuffer

EPISODES, EPISODE_STEPS = 3, 60


@pytest.fixture
def program(load, monkeypatch):
    module = load("hindsight_weight")
    monkeypatch.setattr(module, "NUM_UNSEEN", 10)
    monkeypatch.setattr(module, "NUM_LABELS", 4)
    monkeypatch.setattr(module, "LEARNING", module.replace(module.LEARNING, steps_per_label=1.0))
    return module


@pytest.fixture
def replay():
    draws = torch.Generator().manual_seed(0)
    buffer = ReplayBuffer(EPISODES * EPISODE_STEPS, 2, 1)
    for step in range(EPISODES * EPISODE_STEPS):
        seen, rewards = torch.randn(1, 2, generator=draws), torch.rand(1, generator=draws)
        is_last = torch.tensor([(step + 1) % EPISODE_STEPS == 0])
        buffer.add(seen, seen[:, :1].tanh(), rewards, rewards, seen, torch.tensor([False]), is_last)
    return buffer


def test_shares_that_are_given(program, replay):
    index = replay.sample_segments(3, program.STEPS, torch.Generator().manual_seed(1))
    uniform = program.make_prior(replay, (1.0, "uniform"), torch.Generator())
    assert torch.allclose(uniform.importance(index, replay), torch.tensor(1 / program.STEPS))
    true = program.make_prior(replay, (1.0, "true"), torch.Generator())
    paid = replay.gather(index).true_rewards
    assert torch.allclose(true.importance(index, replay) * paid.sum(-1, keepdim=True), paid)


def test_a_record_and_a_table_are_written(program, replay, tmp_path, monkeypatch):
    class Loaded:
        pass

    Loaded.replay = replay
    monkeypatch.setattr(program, "load_dataset", lambda name: Loaded)
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    options = program.Options(
        runs=(tmp_path / "walk",), seeds=2, updates=2, record=record, page=page
    )
    program.main(options)
    rows = json.loads(record.read_text())["rows"]
    assert len(rows) == 2 * len(program.ARMS)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert len({row["reward/correlation"] for row in rows}) > len(program.ARMS)
    assert "| walk | 10     | true       | " in page.read_text()
