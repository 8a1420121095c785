"""Robomimic's HDF5 files (Mandlekar et al. 2021)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from pbrl.offline.checks import DatasetError, sha256
from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.episode_arrays import EpisodeArrays, join_episodes
from pbrl.offline.episodes import build_dataset, fit_actions, number_rows, without_unknown_ends
from pbrl.offline.hdf5 import find, has, open_hdf5, read_flags, read_floats, reading
from pbrl.offline.options import LoadOptions

OBSERVATION_KEYS = (
    "object",
    "robot0_joint_pos",
    "robot0_joint_pos_cos",
    "robot0_joint_pos_sin",
    "robot0_joint_vel",
    "robot0_eef_pos",
    "robot0_eef_quat",
    "robot0_gripper_qpos",
    "robot0_gripper_qvel",
)
_KINDS = ("ph", "mh", "mg", "paired")


def load_robomimic(path: Path, options: LoadOptions) -> OfflineDataset:
    """Load a Robomimic file of low-dimensional observations: one group `data/demo_N` per episode.

    The episodes come in the order of the demonstrations' names as text (demo_0, demo_1, demo_10),
    and an observation is the concatenation of `observation_keys`; both are as in Preference
    Transformer (Kim et al. 2023), whose labels number the transitions without the last one of each
    demonstration. An episode terminated if its last step is `done`. Where the file has no next_obs,
    a demonstration that did not terminate loses its last step, whose outcome nobody knows.
    Robosuite clips actions, and so does this; they are counted in the metadata.

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    keys = options.observation_keys or OBSERVATION_KEYS
    with open_hdf5(path) as file:
        groups = _demonstrations(path, file)
        episodes = [_read_episode(path, group, keys) for group in groups]
        env_name = _env_name(path, file)
    steps, bounds, last_observations = join_episodes(str(path), episodes)
    metadata = fit_actions(f"{path}: actions", steps.actions, is_clipped_by_env=True)
    rows = np.delete(np.arange(len(steps)), bounds.last)
    if last_observations is None:
        bounds = without_unknown_ends(bounds)
        last_observations = steps.observations[bounds.last + ~bounds.terminated]
    if len(bounds) == 0:
        raise DatasetError(f"{path} holds no transition: every episode is one step that was cut")
    info = DatasetInfo(
        name=options.name or _name(path),
        family="robomimic",
        env=options.env,
        goal_visible=bool(options.goal_visible),
        checksum=sha256(path),
        metadata=metadata | {"observation_keys": ", ".join(keys), "robosuite_env": env_name},
    )
    numbers = number_rows(bounds, rows)
    return build_dataset(
        info, steps, bounds, last_observations, rows=numbers, device=options.device
    )


def _demonstrations(path: Path, file: Any) -> list[Any]:
    """Return the groups of all demonstrations in the order of their names as text."""
    import h5py

    with reading(path, "data"):
        data = file.get("data")
        names = sorted(data) if isinstance(data, h5py.Group) else []
        groups = [data[name] for name in names]
    if not groups or not all(isinstance(group, h5py.Group) for group in groups):
        raise DatasetError(f"{path}: data must hold groups demo_0, ..., found {names[:5]}")
    return groups


def _read_episode(path: Path, group: Any, keys: tuple[str, ...]) -> EpisodeArrays:
    actions = read_floats(path, group, "actions", (None, None))
    num_steps = len(actions)
    observations = [_observe(path, group, "obs", keys, num_steps)]
    if has(path, group, "next_obs"):
        observations.append(_observe(path, group, "next_obs", keys, num_steps)[-1:])
    rewards = np.zeros(num_steps, np.float32)
    if has(path, group, "rewards"):
        rewards = read_floats(path, group, "rewards", (num_steps,))
    is_done = has(path, group, "dones") and read_flags(path, group, "dones", num_steps)[-1]
    return EpisodeArrays(
        observations=np.concatenate(observations),
        actions=actions,
        rewards=rewards,
        terminated=bool(is_done),
    )


def _observe(
    path: Path, group: Any, what: str, keys: tuple[str, ...], num_steps: int
) -> Float32[np.ndarray, "time obs"]:
    """Return observations of one demonstration, all keys side by side."""
    parts = []
    for key in keys:
        num_axes = len(find(path, group, f"{what}/{key}").shape)
        shape = (num_steps,) if num_axes == 1 else (num_steps, None)
        part = read_floats(path, group, f"{what}/{key}", shape)
        parts.append(part.reshape(num_steps, -1))
    return np.concatenate(parts, 1)


def _env_name(path: Path, file: Any) -> str:
    """Return what Robosuite calls the task; nothing where the file does not tell."""
    with reading(path, "data"):
        text = file["data"].attrs.get("env_args")
        if text is None:
            return ""
        args = json.loads(text)
        return str(args.get("env_name", "")) if isinstance(args, dict) else ""


def _name(path: Path) -> str:
    """Return a name like lift-ph from the folders that Robomimic puts its files in."""
    kind, task = path.parent.name, path.parent.parent.name
    return f"{task}-{kind}".lower() if kind in _KINDS and task else path.stem
