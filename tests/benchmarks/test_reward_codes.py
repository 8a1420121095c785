import json
from dataclasses import replace

import pytest
import torch

from pbrl.offline.episode_arrays import EpisodeArrays
from pbrl.offline.npz_episodes import save_episodes

STEPS = 80


@pytest.fixture
def codes(load, monkeypatch):
    module = load("reward_codes")
    monkeypatch.setattr(module, "TASKS", ("walk",))
    monkeypatch.setattr(module, "UNSEEN", 50)
    return module


@pytest.fixture
def data(tmp_path):
    draws = torch.Generator().manual_seed(0)
    episodes = []
    for _ in range(6):
        places = torch.randn(STEPS + 1, 3, generator=draws).cumsum(0).numpy()
        actions = torch.rand(STEPS, 2, generator=draws).numpy()
        episodes.append(
            EpisodeArrays(
                observations=places, actions=actions, rewards=places[1:, 0], terminated=False
            )
        )
    save_episodes(tmp_path / "walk-v0.npz", episodes)
    return tmp_path


def test_a_record_and_a_table_are_written(codes, data, tmp_path, monkeypatch):
    load_dataset = codes.load_dataset
    monkeypatch.setattr(codes, "load_dataset", lambda name: load_dataset(f"{name}.npz"))
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    options = codes.Options(data=data, labels=(4,), seeds=2, updates=2, record=record, page=page)
    codes.main(options)
    rows = json.loads(record.read_text())["rows"]
    assert [row["arm"] for row in rows] == ["none", "learned", "as drawn"] * 2
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert all(row["codes_loss"] > 0 for row in rows)
    text = page.read_text()
    assert "| walk | 4      | 0." in text
    page.unlink()
    codes.main(replace(options, updates=3, page_only=True))
    assert page.read_text() == text  # of the record's two updates
    with pytest.raises(FileNotFoundError, match="measure first, without --page-only"):
        codes.main(replace(options, record=tmp_path / "none.json", page_only=True))
