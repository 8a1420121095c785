import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pbrl.offline.checks import DatasetError
from pbrl.offline.load import find_kind, load_dataset
from pbrl.replay import ReplayBuffer
from pbrl.training.checkpoint import save_checkpoint
from pbrl.training.run import train
from tests.offline.dataset_files import Episode, assert_same_episodes, episodes_of

NUM_ENVS = 3


def fill(replay: ReplayBuffer, num_rows: int, seed: int = 0) -> list[Episode]:
    """Add steps whose episodes end by chance; return the episodes in the order of their start."""
    rng = np.random.default_rng(seed)
    episodes, open_episodes = [], [[] for _ in range(NUM_ENVS)]
    observations = rng.standard_normal((NUM_ENVS, 2)).astype(np.float32)
    for row in range(num_rows):
        actions = rng.uniform(-1, 1, (NUM_ENVS, 1)).astype(np.float32)
        rewards = rng.standard_normal(NUM_ENVS).astype(np.float32)
        following = rng.standard_normal((NUM_ENVS, 2)).astype(np.float32)
        terminated, truncated = rng.random((2, NUM_ENVS)) < 0.1
        arrays = (observations, actions, np.zeros_like(rewards), rewards, following)
        replay.add(*map(torch.from_numpy, (*arrays, terminated, truncated)))
        for env in range(NUM_ENVS):
            if not open_episodes[env]:
                episodes.append((row, env, open_episodes[env]))
            step = (observations[env], actions[env], rewards[env], following[env], terminated[env])
            open_episodes[env].append(step)
            if terminated[env] or truncated[env]:
                open_episodes[env] = []
        reset = rng.standard_normal((NUM_ENVS, 2)).astype(np.float32)
        observations = np.where((terminated | truncated)[:, None], reset, following)
    return [
        (
            row,
            Episode(
                observations=np.stack([*(step[0] for step in steps), steps[-1][3]]),
                actions=np.stack([step[1] for step in steps]),
                rewards=np.stack([step[2] for step in steps]),
                terminated=bool(steps[-1][4]),
            ),
        )
        for row, _, steps in episodes
    ]


def save_run(folder, replay) -> None:
    folder.mkdir()
    config = {"env": "dmc/walker-walk", "agent": "pebble", "seed": 3}
    config["environment"] = {"goal_visible": True}
    (folder / "config.json").write_text(json.dumps(config))
    state = {"loop": {"replay": replay.state_dict()}}
    save_checkpoint(folder / "checkpoint", state, step=60, fingerprint={})


@pytest.mark.parametrize("capacity", [10_000, 60])
def test_the_whole_episodes_of_a_replay_come_back(tmp_path, capacity):
    replay = ReplayBuffer(capacity, 2, 1, num_envs=NUM_ENVS)
    episodes = fill(replay, 50)
    save_run(tmp_path / "run", replay)
    dataset = load_dataset(tmp_path / "run")
    oldest_row = max(0, 50 - capacity // NUM_ENVS)
    whole = [episode for row, episode in episodes if row >= oldest_row]

    def in_order(found):
        return sorted(found, key=lambda episode: episode.observations[0, 0])

    assert_same_episodes(in_order(episodes_of(dataset)), in_order(whole))
    info = dataset.info
    assert (info.name, info.family, info.env) == ("run", "run", "dmc/walker-walk")
    assert info.goal_visible
    assert info.metadata["agent"] == "pebble"
    num_overwritten = int(info.metadata["episodes_overwritten"])
    assert (num_overwritten > 0) == (capacity == 60)
    assert find_kind(tmp_path / "run") == "run"


def test_the_checksum_tells_datasets_apart(tmp_path):
    sums = []
    for number, seed in enumerate([0, 0, 1]):
        replay = ReplayBuffer(1000, 2, 1, num_envs=NUM_ENVS)
        fill(replay, 20, seed)
        save_run(tmp_path / str(number), replay)
        sums.append(load_dataset(tmp_path / str(number)).info.checksum)
    assert sums[0] == sums[1] != sums[2]


def test_a_run_of_our_own_is_a_dataset(tmp_path, tiny_config):
    config = replace(tiny_config, agent="sac", preferences=None, steps=100, eval_every=100)
    train(config, tmp_path / "run")
    dataset = load_dataset(tmp_path / "run")
    assert dataset.replay.num_steps == config.steps
    assert dataset.info.env == tiny_config.env
    lengths = {len(episode) for episode in episodes_of(dataset)}
    assert lengths == {20}


def test_folders_without_a_replay_are_refused(tmp_path):
    replay = ReplayBuffer(1000, 2, 1, num_envs=NUM_ENVS)
    save_run(tmp_path / "empty", replay)
    with pytest.raises(DatasetError, match="empty is no run with .* no episode is whole"):
        load_dataset(tmp_path / "empty")
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.json").write_text("{}")
    with pytest.raises(DatasetError, match="young is no run with .* there is no checkpoint"):
        load_dataset(tmp_path / "young")
    (tmp_path / "young" / "config.json").write_text("{")
    with pytest.raises(DatasetError, match="young is no run with .* not a JSON file"):
        load_dataset(tmp_path / "young")
    save_checkpoint(tmp_path / "young" / "checkpoint", {"agent": 1}, step=1, fingerprint={})
    (tmp_path / "young" / "config.json").write_text("{}")
    with pytest.raises(DatasetError, match="young is no run with"):
        load_dataset(tmp_path / "young")
    with pytest.raises(DatasetError, match="nowhere is no run"):
        load_dataset(f"run:{tmp_path / 'nowhere'}")
