"""D4RL's HDF5 files, read without D4RL (Fu et al. 2020)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from pbrl.offline.checks import DatasetError, check_finite, sha256
from pbrl.offline.d4rl_rows import at_step_limit, counted_timeouts
from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.episodes import (
    Steps,
    build_dataset,
    fit_actions,
    number_rows,
    split_episodes,
    without_unknown_ends,
)
from pbrl.offline.hdf5 import find, has, open_hdf5, read_flags, read_floats, read_into
from pbrl.offline.options import LoadOptions
from pbrl.offline.reference_scores import D4RL_DATASETS, d4rl_name, reference_scores

_CHUNK = 65_536  # rows compared at once
_TOLERANCE = 1e-4  # by which an observation may differ from what the step before led to
_MOST_BREAKS = 0.5  # of the steps: beyond, the rows are not in the order of time
_LONGEST_ANT_STEP = 1.0  # metres; a step takes 0.1 s
_POSITION = 2  # the first entries of an ant's observation: x and y


def load_d4rl(path: Path, options: LoadOptions) -> OfflineDataset:
    """Load a D4RL HDF5 file: observations, actions, rewards, terminals and, if there, timeouts.

    An episode ends at a terminal, at a time-out, or with the file. Where the file has
    next_observations, an episode also ends where they are not what is observed next, and its last
    observation is known. Where it has none, an episode that was cut off loses its last step, whose
    outcome nobody knows. Without timeouts the time limit of the dataset's environment tells where
    they were.

    In AntMaze a terminal marks every step at the goal, and the ant walks on: there an episode ends
    at a time-out or where the ant is put somewhere else. Human labels of AntMaze compare segments
    that go on past such terminals.

    The rows are numbered as by D4RL's `qlearning_dataset`, which looks at all rows but the last and
    leaves out those at a time-out, also where the episode terminated there. Terminals stay.

    Actions that the environment would clip are clipped, and counted in the metadata.

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    known = d4rl_name(options.name or path.stem)
    with open_hdf5(path) as file:
        steps = _read_steps(path, file)
        ends = _read_ends(path, file, steps, known, options)
        last_observations = None
        if has(path, file, "next_observations"):
            last_observations = _last_observations(path, file, steps, ends)
    metadata = fit_actions(f"{path}: actions", steps.actions, is_clipped_by_env=known is not None)
    bounds = split_episodes(ends.terminated, ends.truncated)
    if last_observations is None:
        bounds = without_unknown_ends(bounds)
        last_observations = steps.observations[bounds.last + ~bounds.terminated]
    if len(bounds) == 0:
        raise DatasetError(f"{path} holds no transition: every episode is one step that was cut")
    return build_dataset(
        _describe(path, known, options, metadata),
        steps,
        bounds,
        last_observations,
        rows=number_rows(bounds, np.flatnonzero(ends.is_row)),
        device=options.device,
    )


@dataclass(frozen=True)
class _Ends:
    """What each step led to.

    Attributes:
        terminated: a terminal state.
        truncated: a cut.
        is_row: whether the step has a number in D4RL's numbering; one step fewer.
    """

    terminated: Bool[np.ndarray, " step"]
    truncated: Bool[np.ndarray, " step"]
    is_row: Bool[np.ndarray, " all_but_one"]


def _describe(
    path: Path, known: str | None, options: LoadOptions, metadata: dict[str, str]
) -> DatasetInfo:
    return DatasetInfo(
        name=known or options.name or path.stem,
        family="d4rl",
        env=options.env or (D4RL_DATASETS[known].env if known else None),
        goal_visible=bool(options.goal_visible),
        checksum=sha256(path),
        reference=reference_scores(known) if known else None,
        metadata=metadata,
    )


def _read_steps(path: Path, file: Any) -> Steps:
    observations = read_floats(path, file, "observations", (None, None))
    num_steps = len(observations)
    return Steps(
        observations=observations,
        actions=read_floats(path, file, "actions", (num_steps, None)),
        rewards=read_floats(path, file, "rewards", (num_steps,)),
    )


def _read_ends(
    path: Path, file: Any, steps: Steps, known: str | None, options: LoadOptions
) -> _Ends:
    terminated = read_flags(path, file, "terminals", len(steps))
    if has(path, file, "timeouts"):
        truncated = counted = read_flags(path, file, "timeouts", len(steps))
    else:
        limit = _step_limit(path, known, options)
        truncated, counted = at_step_limit(terminated, limit), counted_timeouts(terminated, limit)
    is_row = ~counted[:-1]
    if known is not None and known.startswith("antmaze"):
        truncated = truncated | _is_put_elsewhere(steps.observations)
        terminated &= truncated
    return _Ends(terminated, truncated, is_row)


def _step_limit(path: Path, known: str | None, options: LoadOptions) -> int:
    if options.max_episode_steps is not None:
        return options.max_episode_steps
    if known is None:
        raise DatasetError(
            f"{path} lacks timeouts, and {options.name or path.stem} is no dataset of D4RL's: give "
            "its name or max_episode_steps, the time limit of its environment"
        )
    return D4RL_DATASETS[known].max_episode_steps


def _is_put_elsewhere(observations: Float32[np.ndarray, "step obs"]) -> Bool[np.ndarray, " step"]:
    """Return which steps of an ant are followed by a place where it could not have walked."""
    moved = np.abs(np.diff(observations[:, :_POSITION], axis=0)).max(1)
    is_put: Bool[np.ndarray, " step"] = np.append(moved > _LONGEST_ANT_STEP, True)
    return is_put


def _last_observations(
    path: Path, file: Any, steps: Steps, ends: _Ends
) -> Float32[np.ndarray, "episode obs"]:
    """Return what each episode ended with; steps that lead elsewhere are marked as truncated."""
    dataset = find(path, file, "next_observations")
    where, observations = f"{path}: next_observations", steps.observations
    if dataset.shape != observations.shape:
        raise DatasetError(f"{where} has shape {dataset.shape}, expected {observations.shape}")
    found, num_breaks = [], 0
    for first in range(0, len(steps), _CHUNK):
        part = slice(first, min(first + _CHUNK, len(steps)))
        following = np.empty((part.stop - first, observations.shape[1]), np.float32)
        read_into(path, dataset, following, part)
        check_finite(f"{where}, rows from {first}", following)
        is_last = ends.terminated[part] | ends.truncated[part]
        observed = observations[first + 1 : part.stop + 1]
        led_to = following[: len(observed)]
        scale = np.maximum(1.0, np.abs(observed))
        is_break = (np.abs(led_to - observed) > _TOLERANCE * scale).any(1)
        is_break &= ~is_last[: len(observed)]
        num_breaks += int(is_break.sum())
        is_last[: len(observed)] |= is_break
        ends.truncated[first : first + len(observed)] |= is_break
        is_last[-1] |= part.stop == len(steps)
        found.append(following[is_last])
    if num_breaks > _MOST_BREAKS * len(steps):
        raise DatasetError(
            f"{where} differ from the observations of the next row in {num_breaks} of "
            f"{len(steps)} rows that end no episode: the rows are not in the order of time"
        )
    return np.concatenate(found)
