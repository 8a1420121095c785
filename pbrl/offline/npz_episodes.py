"""Episodes in NPZ files: the plain way to bring data of one's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pbrl.offline.checks import DatasetError, as_flags, as_floats, as_lengths, sha256
from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.episode_arrays import EpisodeArrays, join_episodes
from pbrl.offline.episodes import (
    EpisodeBounds,
    Steps,
    build_dataset,
    fit_actions,
    rescale_actions,
)
from pbrl.offline.files import whole_file
from pbrl.offline.npz import npz_names, read_npz
from pbrl.offline.options import LoadOptions

REQUIRED = ("observations", "actions")
OPTIONAL = ("rewards", "lengths", "terminated", "last_observations", "action_low", "action_high")
_SEGMENTS_AXES = 3


def save_episodes(
    path: Path | str,
    episodes: Sequence[EpisodeArrays],
    *,
    action_low: Float[np.ndarray, " act"] | None = None,
    action_high: Float[np.ndarray, " act"] | None = None,
) -> None:
    """Write episodes to an NPZ file that `load_dataset` reads.

    Args:
        path: the file; a file of that name is replaced once the new one is whole.
        episodes: at least one, all with observations and actions of the same sizes. If one lacks
            its last observation, none is written.
        action_low: lower bounds of the actions, if they do not lie in [-1, 1].
        action_high: upper bounds; both or none.

    Raises:
        DatasetError: if the episodes could not be loaded again, naming what is wrong.
    """
    path = Path(path)
    checked = [
        episode.checked(f"{path}: episode {number}") for number, episode in enumerate(episodes)
    ]
    steps, bounds, last_observations = join_episodes(str(path), checked)
    arrays = {**vars(steps), "lengths": bounds.length, "terminated": bounds.terminated}
    if last_observations is not None:
        arrays["last_observations"] = last_observations
    given = {"action_low": action_low, "action_high": action_high}
    arrays |= {name: bound for name, bound in given.items() if bound is not None}
    # The same checks as in loading, on copies: what is written can be read.
    copies = {name: np.array(array) for name, array in arrays.items()}
    _fit_actions(path, copies, Steps(**{name: copies[name] for name in vars(steps)}))
    with whole_file(path) as file:
        np.savez(file, **arrays)


def load_npz(path: Path, options: LoadOptions) -> OfflineDataset:
    """Load episodes from an NPZ file of numeric arrays.

    Either flat arrays with the episodes one after the other:

    - observations `[step, obs]` and actions `[step, act]`,
    - rewards `[step]`; zeros where there are none,
    - lengths `[episode]`, steps of each,
    - terminated `[episode]`, whether each ended in a terminal state; by default none did,
    - last_observations `[episode, obs]`, what each ended with, if known,

    or loose segments of one length, each of which becomes an episode that was cut off:
    observations `[segment, time, obs]`, actions `[segment, time, act]`, rewards `[segment, time]`
    and last_observations `[segment, obs]`, the latter two if known. In both, action_low and
    action_high `[act]` say that the actions lie between these instead of in [-1, 1].

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    arrays = _read(path)
    observations = arrays["observations"]
    if observations.ndim == _SEGMENTS_AXES:
        _unroll(path, arrays)
    steps = _steps(path, arrays)
    bounds = _bounds(path, arrays, len(steps))
    last_observations = None
    if "last_observations" in arrays:
        expected = (len(bounds), steps.observations.shape[1])
        key = "last_observations"
        last_observations = as_floats(f"{path}: {key}", arrays[key], expected)
    metadata = _fit_actions(path, arrays, steps)
    if "rewards" not in arrays:
        metadata["rewards"] = "none, taken as 0"
    info = DatasetInfo(
        name=options.name or path.stem,
        family="npz",
        env=options.env,
        goal_visible=bool(options.goal_visible),
        checksum=sha256(path),
        metadata=metadata,
    )
    return build_dataset(
        info,
        steps,
        bounds,
        last_observations,
        has_last_observations=last_observations is not None,
        device=options.device,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file that belong to its layout; others are not looked at."""
    try:
        names = npz_names(path)
        wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in REQUIRED or name in names]
        return read_npz(path, wanted)
    except FileNotFoundError as error:
        raise DatasetError(f"there is no file {path}") from error
    except (ValueError, OSError) as error:
        raise DatasetError(str(error)) from error


def _unroll(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Turn loose segments into episodes one after the other."""
    num_segments, length = arrays["observations"].shape[:2]
    for name in ("lengths", "terminated"):
        if name in arrays:
            raise DatasetError(
                f"{path}: {name} belongs to flat observations [step, obs], but observations are "
                f"segments of shape {arrays['observations'].shape}"
            )
    for name in {"observations", "actions", "rewards"} & set(arrays):
        found = arrays[name].shape
        if found[:2] != (num_segments, length):
            raise DatasetError(
                f"{path}: {name} has shape {found}, expected {num_segments} segments of {length} "
                "steps as in observations"
            )
        arrays[name] = arrays[name].reshape(num_segments * length, *found[2:])
    arrays["lengths"] = np.full(num_segments, length)


def _steps(path: Path, arrays: dict[str, np.ndarray]) -> Steps:
    observations = as_floats(f"{path}: observations", arrays["observations"], (None, None))
    num_steps = len(observations)
    rewards = arrays.get("rewards", np.zeros(num_steps, np.float32))
    return Steps(
        observations=observations,
        actions=as_floats(f"{path}: actions", arrays["actions"], (num_steps, None)),
        rewards=as_floats(f"{path}: rewards", rewards, (num_steps,)),
    )


def _bounds(path: Path, arrays: dict[str, np.ndarray], num_steps: int) -> EpisodeBounds:
    if "lengths" not in arrays:
        raise DatasetError(f"{path} lacks lengths: the number of steps of each episode")
    length = as_lengths(f"{path}: lengths", arrays["lengths"])
    if length.max() > num_steps or length.sum() != num_steps:
        raise DatasetError(
            f"{path}: lengths of {len(length)} episodes, the longest of {length.max()} steps, must "
            f"add up to the {num_steps} steps of observations"
        )
    terminated = arrays.get("terminated", np.zeros(len(length), bool))
    return EpisodeBounds(
        start=np.cumsum(length) - length,
        length=length,
        terminated=as_flags(f"{path}: terminated", terminated, len(length)),
    )


def _fit_actions(path: Path, arrays: dict[str, np.ndarray], steps: Steps) -> dict[str, str]:
    metadata = {}
    given = [name for name in ("action_low", "action_high") if name in arrays]
    if len(given) == 1:
        raise DatasetError(f"{path} has {given[0]} alone, expected both action_low and action_high")
    if given:
        expected = (steps.actions.shape[1],)
        low, high = (as_floats(f"{path}: {name}", arrays[name], expected) for name in given)
        if not (low < high).all():
            raise DatasetError(f"{path}: action_low {low} must be below action_high {high}")
        metadata = rescale_actions(steps.actions, low, high)
    fitted = fit_actions(f"{path}: actions", steps.actions, is_clipped_by_env=False)
    return metadata | fitted
