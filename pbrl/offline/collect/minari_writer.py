"""Episodes as a Minari dataset: whole or not there at all."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from pbrl.envs.checks import check_action_space
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.episodes import Episode

METADATA_KEY = "pbrl"
STATE_INFO = "state"
_BATCH = 50  # episodes handed to Minari at once


def write_minari(
    folder: Path,
    dataset_id: str,
    episodes: Iterable[tuple[Episode, Mapping[str, Any]]],
    env: SerialVectorEnv,
    metadata: Mapping[str, Any],
) -> str:
    """Write a Minari dataset into `folder/data` and return the SHA-256 of its content.

    Actions are stored in the environment's own unit, with its own action space. What is known of
    every step lies in the infos: `success`, from the first observation on, and `state`, see
    `Episode.states`. Under `pbrl` the metadata hold what `metadata` does and the checksum.

    Args:
        folder: of the dataset, `MINARI_DATASETS_PATH/dataset_id` for Minari to find it. It is put
            in place when it is complete.
        dataset_id: Minari's name of the dataset, with its version: `hopper/medium-v0`.
        episodes: the episodes, in order, each with attributes to store beside it.
        env: where they were collected.
        metadata: Minari's own fields, and under `pbrl` ours; values that JSON knows.

    Raises:
        FileExistsError: if there is such a dataset.
        ValueError: if there is no episode.
    """
    from minari.dataset.minari_storage import MinariStorage  # noqa: PLC0415

    if folder.exists():
        raise FileExistsError(f"there is a dataset in {folder}; choose another name")
    folder = folder.resolve()  # Minari loses its way in relative ones
    partial = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    space = check_action_space(env.lanes[0].action_space, env.record.id)
    storage = MinariStorage.new(
        partial / "data",
        observation_space=env.single_observation_space,
        action_space=space,
        env_spec=_env_spec(env),
    )
    digest = hashlib.sha256()
    writer = _Writer(storage, space)
    for episode, attributes in episodes:
        update_checksum(digest, episode)
        writer.add(episode, attributes)
    writer.flush()
    if storage.total_episodes == 0:
        raise ValueError("there is no episode to write")
    checksum = digest.hexdigest()
    ours = {**metadata.get(METADATA_KEY, {}), "checksum": checksum}
    storage.update_metadata(
        {"dataset_id": dataset_id, "minari_version": _version(), **metadata, METADATA_KEY: ours}
    )
    partial.rename(folder)
    return checksum


def update_checksum(digest: Any, episode: Episode) -> None:
    """Add an episode to a hash: its arrays as little-endian numbers, and how it ended."""
    for array in (episode.observations, episode.actions, episode.rewards):
        digest.update(np.asarray(array.shape, "<i8").tobytes())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    digest.update(bytes([episode.terminated]))


class _Writer:
    """Hands episodes to Minari's storage in batches: opening its file takes longer than writing."""

    def __init__(self, storage: Any, space: spaces.Box) -> None:
        from minari.data_collector.episode_buffer import EpisodeBuffer  # noqa: PLC0415

        self._storage = storage
        self._buffer_type = EpisodeBuffer
        self._centre = (space.high + space.low).ravel() / 2
        self._half_range = (space.high - space.low).ravel() / 2
        self._shape = space.shape
        self._buffers: list[Any] = []
        self._attributes: list[dict[str, Any]] = []

    def add(self, episode: Episode, attributes: Mapping[str, Any]) -> None:
        is_last = np.arange(len(episode)) == len(episode) - 1
        actions = episode.actions * self._half_range + self._centre
        infos: dict[str, Any] = {}
        if episode.successes is not None:
            infos["success"] = np.concatenate([[False], episode.successes])
        if episode.states:
            infos[STATE_INFO] = dict(episode.states)
        self._buffers.append(
            self._buffer_type(
                observations=episode.observations,
                actions=actions.astype(np.float32).reshape(-1, *self._shape),
                rewards=episode.rewards,
                terminations=is_last & episode.terminated,
                truncations=is_last & (not episode.terminated),
                infos=infos or None,
            )
        )
        self._attributes.append(dict(attributes))
        if len(self._buffers) == _BATCH:
            self.flush()

    def flush(self) -> None:
        if not self._buffers:
            return
        first = self._storage.total_episodes
        self._storage.update_episodes(self._buffers)
        numbers = range(first, first + len(self._buffers))
        self._storage.update_episode_metadata(self._attributes, numbers)
        self._buffers, self._attributes = [], []


def _env_spec(env: SerialVectorEnv) -> Any:
    """Return Gymnasium's own description of the environment, where it describes the same spaces."""
    source, _, name = env.record.id.partition("/")
    if source != "gym" or env.record.options:
        return None
    spec = gymnasium.spec(name.rpartition(":")[2])  # an id may name the module that registers it
    if callable(spec.entry_point):
        return None  # it would not survive a file
    bare = gymnasium.make(spec)
    fits = bare.observation_space.shape == env.single_observation_space.shape
    bare.close()
    return spec if fits else None


def _version() -> str:
    from minari import __version__  # noqa: PLC0415

    return str(__version__)
