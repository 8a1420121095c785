"""Minari's datasets, read from their HDF5 files (Younis et al. 2024)."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool

from pbrl.offline.checks import DatasetError, sha256
from pbrl.offline.dataset import DatasetInfo, OfflineDataset, ReferenceScores
from pbrl.offline.episode_arrays import EpisodeArrays, StepsWriter
from pbrl.offline.episodes import build_dataset, fit_actions, rescale_actions
from pbrl.offline.flatten import check_flat, read_flat
from pbrl.offline.hdf5 import find, open_hdf5, read_flags, read_floats, reading
from pbrl.offline.options import LoadOptions

_KEPT = ("algorithm_name", "author", "code_permalink", "description", "minari_version")
_OURS = "pbrl"  # where our own collection keeps what Minari has no field for


def load_minari(dataset_id: str, options: LoadOptions) -> OfflineDataset:
    """Load a dataset by its Minari id, such as "mujoco/hopper/expert-v0", or from its folder.

    Dict observations become vectors in the order of their sorted keys, as Gymnasium flattens them.
    Actions are scaled from the bounds of their space to [-1, 1], and the bounds are noted in the
    metadata. What lies outside of them is clipped, as the simulators do, and counted.

    Returns:
        The dataset, with its own reference scores if it has any: family "minari".

    Raises:
        DatasetError: naming the file, the key, what came and what was expected; also if the dataset
            is not there and may not be fetched.
    """
    folder = _find(dataset_id, download=options.download)
    described = _read_metadata(folder)
    observation_space, action_space = _spaces(folder, described)
    path = folder / "data" / "main_data.hdf5"
    with open_hdf5(path) as file:
        groups = _groups(path, file, described)
        writer = StepsWriter(str(path), sum(find(path, group, "rewards").size for group in groups))
        for group in groups:
            for episode in _read_episodes(path, group, observation_space, action_space):
                writer.add(episode)
    steps, bounds, last_observations = writer.finish()
    low, high = (bound.reshape(-1).astype(np.float32) for bound in _bounds(action_space))
    metadata = rescale_actions(steps.actions, low, high)
    metadata |= fit_actions(f"{path}: actions", steps.actions, is_clipped_by_env=True)
    metadata |= {key: str(described[key]) for key in _KEPT if key in described}
    ours = described.get(_OURS)
    ours = ours if isinstance(ours, dict) else {}
    env = options.env or ours.get("env") or _environment(described)
    visible = options.goal_visible
    info = DatasetInfo(
        name=options.name or str(described.get("dataset_id", dataset_id)),
        family="minari",
        env=None if env is None else str(env),
        goal_visible=bool(ours.get("goal_visible", False) if visible is None else visible),
        checksum=sha256(path),
        reference=_reference(described),
        metadata=metadata,
    )
    return build_dataset(info, steps, bounds, last_observations, device=options.device)


def is_minari_folder(path: Path) -> bool:
    """Return whether a folder holds a dataset of Minari."""
    return (path / "data" / "metadata.json").is_file()


def _find(dataset_id: str, *, download: bool) -> Path:
    if is_minari_folder(Path(dataset_id)):
        return Path(dataset_id)
    from minari.storage import get_dataset_path

    folder = Path(get_dataset_path(dataset_id))
    if is_minari_folder(folder):
        return folder
    if not download:
        raise DatasetError(
            f"there is no Minari dataset {dataset_id!r} in {folder}; fetch it with download=True "
            f"(--data.download of `pbrl fit`), or by `minari download {dataset_id}`, where there "
            "is a network"
        )
    import minari

    minari.download_dataset(dataset_id)
    return folder


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / "data" / "metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path} must hold a JSON object, found {type(metadata).__name__}")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(
            f"{path}: data_format is {metadata['data_format']!r}; only 'hdf5' is read here"
        )
    return metadata


def _spaces(folder: Path, metadata: Mapping[str, Any]) -> tuple[spaces.Space[Any], spaces.Box]:
    from minari.serialization import deserialize_space

    found = []
    for key in ("observation_space", "action_space"):
        where = f"{folder / 'data' / 'metadata.json'}: {key}"
        try:
            found.append(deserialize_space(metadata[key]))
        except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
            raise DatasetError(f"{where} is no space that Minari knows: {error!r}") from error
    observation_space, action_space = found
    check_flat(f"{folder}: observation_space", observation_space)
    if not isinstance(action_space, spaces.Box) or not action_space.is_bounded():
        raise DatasetError(f"{folder}: action_space must be a bounded Box, found {action_space}")
    low, high = _bounds(action_space)
    if not (low < high).all():
        raise DatasetError(f"{folder}: action_space is empty, its low is not below its high")
    return observation_space, action_space


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    return space.low, space.high


def _groups(path: Path, file: Any, metadata: Mapping[str, Any]) -> list[Any]:
    """Return the groups of all episodes, in the order of their numbers."""
    with reading(path):
        names = [f"episode_{number}" for number in range(len(file))]
        if set(names) != set(file):
            raise DatasetError(f"{path} must hold episode_0, episode_1, ..., found {list(file)}")
        if metadata.get("total_episodes", len(names)) != len(names):
            raise DatasetError(
                f"{path} holds {len(names)} episodes, its metadata.json says "
                f"{metadata['total_episodes']}"
            )
        return [file[name] for name in names]


def _read_episodes(
    path: Path, group: Any, observation_space: spaces.Space[Any], action_space: spaces.Box
) -> Iterator[EpisodeArrays]:
    """Return what a group holds: an episode, or several if it ends in between."""
    rewards = read_floats(path, group, "rewards", (None,))
    num_steps = len(rewards)
    observations = read_flat(path, group, "observations", observation_space, num_steps + 1)
    actions = read_flat(path, group, "actions", action_space, num_steps)
    terminated, truncated = (
        read_flags(path, group, key, num_steps) for key in ("terminations", "truncations")
    )
    first = 0
    for end in _ends(terminated, truncated):
        yield EpisodeArrays(
            observations=observations[first : end + 1],
            actions=actions[first:end],
            rewards=rewards[first:end],
            terminated=bool(terminated[end - 1]),
        )
        first = end


def _ends(terminated: Bool[np.ndarray, " time"], truncated: Bool[np.ndarray, " time"]) -> list[int]:
    """Return how many steps were done when each episode ended."""
    ends: list[int] = (np.flatnonzero((terminated | truncated)[:-1]) + 1).tolist()
    return [*ends, len(terminated)]


def _environment(metadata: Mapping[str, Any]) -> str | None:
    """Return an id for `pbrl.envs.make`, if the environment can be made from its id alone."""
    try:
        spec = json.loads(metadata.get("env_spec") or "{}")
    except (TypeError, ValueError):
        return None
    if not isinstance(spec, dict) or not isinstance(spec.get("id"), str) or spec.get("kwargs"):
        return None
    name, package = spec["id"], str(spec.get("entry_point", "")).partition(".")[0]
    if name in gymnasium.registry:
        return f"gym/{name}"
    is_installed = package.isidentifier() and importlib.util.find_spec(package) is not None
    return f"gym/{package}:{name}" if is_installed else None


def _reference(metadata: Mapping[str, Any]) -> ReferenceScores | None:
    low, high = (_score(metadata.get(key)) for key in ("ref_min_score", "ref_max_score"))
    if low is None or high is None or low == high:
        return None
    return ReferenceScores(random=low, expert=high, family="minari")


def _score(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= sys.float_info.max else None
