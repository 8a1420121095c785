"""Small datasets in every format, and what came of them."""

import json
from dataclasses import dataclass

import h5py
import numpy as np
import torch

from pbrl.offline.dataset import OfflineDataset
from pbrl.segments import SegmentIndex

MINARI_SPACES = (
    '{"type": "Box", "dtype": "float32", "shape": [3], "low": [-9, -9, -9], "high": [9, 9, 9]}',
    '{"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]}',
)


@dataclass
class Episode:
    """One episode of a dataset, as numpy arrays."""

    observations: np.ndarray  # with the last one
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool

    def __len__(self) -> int:
        return len(self.rewards)


def episodes_of(dataset: OfflineDataset) -> list[Episode]:
    """Return everything that a dataset's replay buffer holds."""
    replay = dataset.replay
    columns = replay.state_dict()["episodes"]["columns"]
    episodes = []
    for number in replay.completed_episodes():
        ids = number.reshape(1)
        length = replay.episode_lengths(ids)
        segments = replay.gather(SegmentIndex(ids, torch.zeros_like(ids), length))
        last = columns["_last_observation"][int(number)]
        episodes.append(
            Episode(
                observations=torch.cat([segments.observations[0], last[None]]).numpy(),
                actions=segments.actions[0].numpy(),
                rewards=segments.true_rewards[0].numpy(),
                terminated=bool(columns["_terminated"][int(number)]),
            )
        )
    return episodes


def make_episodes(lengths, terminated, *, observation_dim=3, action_dim=2, seed=0) -> list[Episode]:
    """Return random episodes."""
    rng = np.random.default_rng(seed)
    return [
        Episode(
            observations=rng.standard_normal((length + 1, observation_dim)).astype(np.float32),
            actions=rng.uniform(-1, 1, (length, action_dim)).astype(np.float32),
            rewards=rng.standard_normal(length).astype(np.float32),
            terminated=is_terminated,
        )
        for length, is_terminated in zip(lengths, terminated, strict=True)
    ]


def assert_same_episodes(found: list[Episode], expected: list[Episode]) -> None:
    assert [len(episode) for episode in found] == [len(episode) for episode in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.terminated == other.terminated
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_array_equal(one.rewards, other.rewards)


def d4rl_arrays(episodes: list[Episode]) -> dict[str, np.ndarray]:
    """Return the arrays of a D4RL file; every end is a terminal or a time-out."""
    lengths = [len(episode) for episode in episodes]
    ends = np.cumsum(lengths) - 1
    terminals, timeouts = np.zeros(sum(lengths), bool), np.zeros(sum(lengths), bool)
    terminals[ends] = [episode.terminated for episode in episodes]
    timeouts[ends] = ~terminals[ends]
    return {
        "observations": np.concatenate([episode.observations[:-1] for episode in episodes]),
        "next_observations": np.concatenate([episode.observations[1:] for episode in episodes]),
        "actions": np.concatenate([episode.actions for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def write_hdf5(path, arrays, **attributes) -> None:
    """Write arrays by their names, slashes make groups; None leaves one out."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array)
        for name, value in attributes.items():
            group, _, key = name.partition("__")
            file[group].attrs[key] = value


def write_robomimic(path, episodes: list[Episode], *, next_observations=True) -> None:
    """Write a Robomimic file whose observation is `low` and `high` side by side."""
    arrays = {}
    for number, episode in enumerate(episodes):
        demo = f"data/demo_{number}"
        done = np.zeros(len(episode), np.int64)
        done[-1] = episode.terminated
        arrays[f"{demo}/actions"] = episode.actions.astype(np.float64)
        arrays[f"{demo}/rewards"] = episode.rewards.astype(np.float64)
        arrays[f"{demo}/dones"] = done
        parts = {"obs": episode.observations[:-1]}
        if next_observations:
            parts["next_obs"] = episode.observations[1:]
        for group, observations in parts.items():
            arrays[f"{demo}/{group}/low"] = observations[:, :1].astype(np.float64)
            arrays[f"{demo}/{group}/high"] = observations[:, 1:].astype(np.float64)
            arrays[f"{demo}/{group}/image"] = np.zeros((len(observations), 4, 4, 3), np.uint8)
    write_hdf5(path, arrays, data__env_args='{"env_name": "Lift"}')


def write_minari(folder, episodes) -> None:
    """Write the two files of a Minari dataset."""
    (folder / "data").mkdir(parents=True)
    arrays = {}
    for number, episode in enumerate(episodes):
        is_last = np.arange(len(episode)) == len(episode) - 1
        fields = {name: getattr(episode, name) for name in ("observations", "actions", "rewards")}
        fields["terminations"] = is_last & episode.terminated
        fields["truncations"] = is_last & (not episode.terminated)
        arrays |= {f"episode_{number}/{name}": array for name, array in fields.items()}
    write_hdf5(folder / "data" / "main_data.hdf5", arrays)
    spaces = dict(zip(("observation_space", "action_space"), MINARI_SPACES, strict=True))
    metadata = {"data_format": "hdf5", "total_episodes": len(episodes), **spaces}
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
