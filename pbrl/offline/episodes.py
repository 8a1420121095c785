"""Where episodes begin and end: one splitter for the steps of every source."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8

from pbrl.offline.checks import DatasetError
from pbrl.offline.dataset import DatasetInfo, OfflineDataset, RowNumbers
from pbrl.replay import ReplayBuffer

_CHUNK = 65_536  # steps moved at once
_ROUNDING = 1e-4  # by which an action may lie outside of its range


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps of a source, one episode after the other.

    Attributes:
        observations: what the agent saw before each action; of images a frame each.
        actions: what it did.
        rewards: the environment's.
    """

    observations: Float32[np.ndarray, "step obs"] | UInt8[np.ndarray, "step frame"]
    actions: Float32[np.ndarray, "step act"]
    rewards: Float32[np.ndarray, " step"]

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, kw_only=True)
class EpisodeBounds:
    """Where the episodes lie in the rows of a source.

    Attributes:
        start: row of each episode's first step.
        length: its number of steps.
        terminated: whether it ended in a terminal state; otherwise it was cut off.
    """

    start: Int[np.ndarray, " episode"]
    length: Int[np.ndarray, " episode"]
    terminated: Bool[np.ndarray, " episode"]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def last(self) -> Int[np.ndarray, " episode"]:
        """Row of each episode's last step."""
        last: Int[np.ndarray, " episode"] = self.start + self.length - 1
        return last


def split_episodes(
    terminated: Bool[np.ndarray, " step"], truncated: Bool[np.ndarray, " step"]
) -> EpisodeBounds:
    """Return the episodes of steps in a row, of which the last ends with the data.

    Args:
        terminated: the step led to a terminal state.
        truncated: the step was the last one before a cut; where it terminated too, it counts as
            terminated.
    """
    is_last = terminated | truncated
    is_last[-1] = True
    last = np.flatnonzero(is_last)
    start = np.concatenate([[0], last[:-1] + 1])
    return EpisodeBounds(start=start, length=last - start + 1, terminated=terminated[last])


def without_unknown_ends(bounds: EpisodeBounds) -> EpisodeBounds:
    """Return the episodes without the last step of those that were cut off.

    For sources that do not hold what came after an episode's last action. Then the last
    observation of a cut episode takes that place for the step before it, and every transition that
    is left is known, as in D4RL's `qlearning_dataset`. A terminal step stays: nobody asks what came
    after it. Episodes of one cut step vanish.
    """
    length = np.where(bounds.terminated, bounds.length, bounds.length - 1)
    kept = length > 0
    return EpisodeBounds(
        start=bounds.start[kept], length=length[kept], terminated=bounds.terminated[kept]
    )


def number_rows(bounds: EpisodeBounds, rows: Int[np.ndarray, " row"]) -> RowNumbers:
    """Return the numbering that counts these rows of the source.

    Args:
        bounds: the episodes.
        rows: rows of the source, in increasing order. One outside of every episode belongs to
            episode -1, which no replay buffer has.
    """
    episode = np.searchsorted(bounds.start, rows, side="right") - 1
    step = rows - bounds.start[episode]
    is_outside = (episode < 0) | (step >= bounds.length[episode])
    episode[is_outside] = -1
    return RowNumbers(episode=episode.astype(np.int32), step=step.astype(np.int32))


def pick_steps(steps: Steps, bounds: EpisodeBounds) -> Steps:
    """Return the steps inside the episodes; they are moved together in place."""
    num_kept = int(bounds.length.sum())
    if num_kept == len(steps):
        return steps
    is_kept = np.zeros(len(steps) + 1, np.int8)
    is_kept[bounds.start] = 1
    is_kept[bounds.start + bounds.length] -= 1
    rows = np.flatnonzero(np.cumsum(is_kept[:-1], dtype=np.int8))
    fields = {name: _compact(array, rows) for name, array in vars(steps).items()}
    return Steps(**fields)


def _compact(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Move rows to the front; they increase, so none is overwritten before it is moved."""
    for first in range(0, len(rows), _CHUNK):
        part = rows[first : first + _CHUNK]
        array[first : first + len(part)] = array[part]
    return array[: len(rows)]


def fit_actions(
    where: str, actions: Float32[np.ndarray, "step act"], *, is_clipped_by_env: bool
) -> dict[str, str]:
    """Clip actions to [-1, 1] in place and return what to note of it.

    Args:
        where: file and key, for the message.
        actions: in the unit [-1, 1].
        is_clipped_by_env: whether the environment takes what lies beyond for the bound itself.
            Otherwise only rounding is forgiven.

    Raises:
        DatasetError: if an action lies outside and the environment would not clip it.
    """
    low, high = float(actions.min()), float(actions.max())
    if low >= -1 and high <= 1:
        return {}
    if not is_clipped_by_env and max(-low, high) > 1 + _ROUNDING:
        raise DatasetError(f"{where} must lie in [-1, 1], found {low:g} to {high:g}")
    num_outside = int((np.abs(actions) > 1).sum())
    np.clip(actions, -1, 1, out=actions)
    return {"clipped_actions": f"{num_outside} of {actions.size} numbers, {low:g} to {high:g}"}


def rescale_actions(
    actions: Float32[np.ndarray, "step act"],
    low: Float32[np.ndarray, " act"],
    high: Float32[np.ndarray, " act"],
) -> dict[str, str]:
    """Scale actions from [low, high] to [-1, 1] in place and return what to note of it."""
    if (low == -1).all() and (high == 1).all():
        return {}
    actions -= (low + high) / 2
    actions /= (high - low) / 2
    return {"action_low": str(low.tolist()), "action_high": str(high.tolist())}


def build_dataset(  # noqa: PLR0913  one part of a dataset each
    info: DatasetInfo,
    steps: Steps,
    bounds: EpisodeBounds,
    last_observations: Float32[np.ndarray, "episode obs"]
    | UInt8[np.ndarray, "episode frame"]
    | None,
    *,
    rows: RowNumbers | None = None,
    has_last_observations: bool = True,
    device: torch.device | str = "cpu",
    num_frames: int = 1,
) -> OfflineDataset:
    """Return a dataset of the steps inside the episodes.

    Args:
        info: where the data come from.
        steps: of the source; they become part of the dataset.
        bounds: the episodes.
        last_observations: what each ended with. None repeats what the agent saw in the last step.
        rows: the source's own numbering.
        has_last_observations: see `OfflineDataset`.
        device: where the episodes shall live.
        num_frames: how many of the frames given are one observation.
    """
    if last_observations is None:
        last_observations = steps.observations[bounds.last]
    steps = pick_steps(steps, bounds)
    replay = ReplayBuffer.from_episodes(
        observations=torch.from_numpy(steps.observations),
        actions=torch.from_numpy(steps.actions),
        true_rewards=torch.from_numpy(steps.rewards),
        last_observations=torch.from_numpy(last_observations),
        lengths=torch.from_numpy(bounds.length),
        terminated=torch.from_numpy(bounds.terminated),
        device=device,
        copy=False,
        num_frames=num_frames,
    )
    return OfflineDataset(info, replay, has_last_observations, rows)
