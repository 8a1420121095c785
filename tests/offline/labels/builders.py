"""Small label files and datasets for the tests of this folder."""

import pickle
from pathlib import Path

import numpy as np
import torch

from pbrl.offline.dataset import DatasetInfo, OfflineDataset, RowNumbers
from pbrl.replay import ReplayBuffer

HEX = "0123456789abcdef0123456789abcdef"


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, 4))


def preference_transformer(
    folder: Path,
    labels=(0, 1, -1),
    first=(0, 5, 10, 15),
    second=(20, 25, 30, 35),
    name="num4_q5",
) -> Path:
    """Write a folder in the manner of Preference Transformer."""
    dump(folder / f"indices_{name}", np.array(first))
    dump(folder / f"indices_2_{name}", np.array(second))
    dump(folder / "label_human", list(labels))
    return folder


def clean_offline_rlhf(
    folder: Path, labels=(0, 1, -1), first=(0, 5, 10), second=(20, 25, 30), count=3
) -> Path:
    """Write a folder in the manner of Clean-Offline-RLHF; two columns of labels are scripted."""
    rest = f"domain_mujoco_env_hopper-medium-v2_num_{count}_len_5_{HEX}.pkl"
    labels = np.array(labels)
    dump(folder / f"{'human' if labels.ndim == 1 else 'fake'}_label_{rest}", labels)
    dump(folder / f"indices_1_{rest}", np.array(first))
    dump(folder / f"indices_2_{rest}", np.array(second))
    return folder


def pair_arrays(num_queries=3, length=4, seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {
        **{f"obs_{i}": rng.normal(size=(num_queries, length, 2)) for i in (1, 2)},
        **{f"action_{i}": rng.uniform(-1, 1, size=(num_queries, length, 1)) for i in (1, 2)},
    }
    return arrays | {"label": np.resize([1.0, 0.0, 0.5], num_queries)}


def pairs_file(path: Path, **changes: np.ndarray) -> Path:
    """Write pairs in the manner of IPL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(pair_arrays() | changes))
    return path


def cpl_file(path: Path, num_segments=6, **changes: np.ndarray) -> Path:
    """Write scored segments in the manner of CPL."""
    rng = np.random.default_rng(0)
    arrays = {
        "obs": rng.normal(size=(num_segments, 4, 2)).astype(np.float32),
        "action": rng.uniform(-1, 1, size=(num_segments, 4, 1)).astype(np.float32),
        "reward": rng.normal(size=(num_segments, 4)).astype(np.float32),
        "rl_sum": np.arange(num_segments, dtype=np.float32),
        "rl_dir": -np.arange(num_segments, dtype=np.float32),
    }
    np.savez(path, **(arrays | changes))
    return path


def make_dataset(
    lengths=(20, 20), *, name="hopper-medium-v2", family="d4rl", with_rows=True, seed=0
) -> OfflineDataset:
    """Return episodes of these lengths; every step of each has a row."""
    generator = torch.Generator().manual_seed(seed)
    num_steps = sum(lengths)
    replay = ReplayBuffer.from_episodes(
        observations=torch.randn(num_steps, 2, generator=generator),
        actions=torch.rand(num_steps, 1, generator=generator) * 2 - 1,
        true_rewards=torch.randn(num_steps, generator=generator),
        last_observations=torch.zeros(len(lengths), 2),
        lengths=torch.tensor(lengths),
        terminated=torch.zeros(len(lengths), dtype=torch.bool),
    )
    rows = RowNumbers(
        np.repeat(np.arange(len(lengths)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
    )
    info = DatasetInfo(name=name, family=family)
    return OfflineDataset(info, replay, rows=rows if with_rows else None)
