"""The replay buffer: steps of episodes on one device, with windows and relabelling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.episodes import EpisodeTable
from pbrl.retained import RetainedSegments
from pbrl.segments import SegmentIndex, Segments

RewardFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Transitions for an agent's update.

    Attributes:
        observations: `[batch, obs]`.
        actions: `[batch, act]`, in [-1, 1].
        rewards: the reward that the agent learns from, `[batch]`.
        next_observations: `[batch, obs]`; at the end of an episode its true last observation.
        terminated: 1.0 where the episode ended in a terminal state, so nothing is bootstrapped.
            The end of the time limit is not a terminal state.
    """

    observations: Float[Tensor, "batch obs"]
    actions: Float[Tensor, "batch act"]
    rewards: Float[Tensor, " batch"]
    next_observations: Float[Tensor, "batch obs"]
    terminated: Float[Tensor, " batch"]


class ReplayBuffer:
    """Steps of many environments in one ring, every observation stored once.

    Row `p` of the ring holds one step of every environment. The next observation of a step is the
    observation in the next row, or, at the end of an episode, the episode's own last observation,
    which the episode table keeps. Every filled place is a valid transition, episodes may have any
    length, and once the ring wraps the oldest steps of an episode vanish one by one.

    Args:
        capacity: number of steps kept, rounded up to a whole number of rows.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        num_envs: how many environments write at once.
        device: where everything lives.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        capacity: int,
        observation_dim: int,
        action_dim: int,
        *,
        num_envs: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        sizes = {
            "capacity": capacity,
            "observation_dim": observation_dim,
            "action_dim": action_dim,
            "num_envs": num_envs,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.num_envs = num_envs
        self.num_rows = -(-capacity // num_envs)
        self.device = torch.device(device)
        shape = (self.num_rows, num_envs)
        self._observations = torch.zeros(*shape, observation_dim, device=device)
        self._actions = torch.zeros(*shape, action_dim, device=device)
        self._rewards = torch.zeros(shape, device=device)
        self._true_rewards = torch.zeros(shape, device=device)
        self._episode = torch.zeros(shape, dtype=torch.int32, device=device)
        self._rows_written = 0  # counted since the beginning; row r lives at place r % num_rows
        self._episodes = EpisodeTable(num_envs, observation_dim, device=self.device)
        self._retained = RetainedSegments(self.device)

    @property
    def num_steps(self) -> int:
        """Number of steps in the buffer."""
        return self._filled * self.num_envs

    @property
    def num_steps_added(self) -> int:
        """Number of steps ever added, those overwritten included."""
        return self._rows_written * self.num_envs

    @property
    def _filled(self) -> int:
        return min(self._rows_written, self.num_rows)

    @property
    def _oldest_row(self) -> int:
        return max(0, self._rows_written - self.num_rows)

    def add(  # noqa: PLR0913  one field of a transition each
        self,
        observations: Float[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        rewards: Float[Tensor, " env"],
        true_rewards: Float[Tensor, " env"],
        next_observations: Float[Tensor, "env obs"],
        terminated: Bool[Tensor, " env"],
        truncated: Bool[Tensor, " env"],
    ) -> None:
        """Append one step of every environment.

        Args:
            observations: what the agent saw.
            actions: what it did, in [-1, 1].
            rewards: reward to learn from; `relabel` replaces it.
            true_rewards: the environment's own reward.
            next_observations: what came of it; at the end of an episode the true last observation,
                never the one after the reset.
            terminated: the episode ended in a terminal state.
            truncated: the episode was cut off, for instance by the time limit.
        """
        if self._rows_written >= self.num_rows:
            self._retained.rescue(self._oldest_row, self.num_rows, self._read_windows)
        place = self._rows_written % self.num_rows
        self._observations[place] = observations
        self._actions[place] = actions
        self._rewards[place] = rewards
        self._true_rewards[place] = true_rewards
        self._episode[place] = self._episodes.open_ids
        self._rows_written += 1
        self._episodes.extend(next_observations, terminated, truncated, self._rows_written)
        if self._episodes.is_full:
            self._episodes.make_room(self._oldest_row)

    def sample(
        self,
        batch_size: int,
        generator: torch.Generator,
        episodes: Int[Tensor, " episode"] | None = None,
    ) -> Batch:
        """Draw transitions uniformly with replacement.

        Args:
            batch_size: how many.
            generator: source of randomness, on the buffer's device.
            episodes: draw only from these episodes, uniformly over their steps.

        Raises:
            ValueError: if there is nothing to draw from.
        """
        if self.num_steps == 0:
            raise ValueError("cannot sample from an empty replay buffer")
        if episodes is None:
            flat = torch.randint(
                self.num_steps, (batch_size,), generator=generator, device=self.device
            )
            return self._transitions(flat // self.num_envs, flat % self.num_envs)
        index = self._draw_windows(batch_size, 1, generator, episodes)
        rows, env = self._episodes.locate(index)
        return self._transitions(rows % self.num_rows, env)

    def _transitions(self, place: Tensor, env: Tensor) -> Batch:
        """Read the steps at ring places `place` of environments `env`."""
        newest = self._rows_written - 1
        row = newest - (newest - place) % self.num_rows
        is_last, last_observations, terminated = self._episodes.at_end(
            self._episode[place, env].long(), row
        )
        following = self._observations[(place + 1) % self.num_rows, env]
        return Batch(
            observations=self._observations[place, env],
            actions=self._actions[place, env],
            rewards=self._rewards[place, env],
            next_observations=torch.where(is_last[:, None], last_observations, following),
            terminated=terminated.to(torch.float32),
        )

    def completed_episodes(self, last: int | None = None) -> Int[Tensor, " episode"]:
        """Return the ids of complete episodes with steps in the buffer, oldest completion first.

        Args:
            last: only this many, the most recently completed ones.
        """
        ids = self._episodes.completed_ids(self._oldest_row)
        return ids if last is None else ids[max(0, len(ids) - last) :]

    def episode_lengths(self, episodes: Int[Tensor, " episode"]) -> Int[Tensor, " episode"]:
        """Return the number of steps of each episode, those overwritten included."""
        return self._episodes.lengths(episodes)

    def sample_segments(
        self,
        number: int,
        length: int,
        generator: torch.Generator,
        episodes: Int[Tensor, " episode"] | None = None,
    ) -> SegmentIndex:
        """Draw segments uniformly over all windows of `length` steps inside one episode.

        Only complete episodes are drawn from; every step of an episode can be in a segment.

        Args:
            number: how many segments.
            length: steps of each segment.
            generator: source of randomness, on the buffer's device.
            episodes: draw only from these complete episodes; by default from all.

        Raises:
            ValueError: if no episode has `length` steps.
        """
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if episodes is None:
            episodes = self.completed_episodes()
        return self._draw_windows(number, length, generator, episodes)

    def _draw_windows(
        self, number: int, length: int, generator: torch.Generator, episodes: Tensor
    ) -> SegmentIndex:
        first, num_starts = self._episodes.window_starts(episodes, length, self._oldest_row)
        bounds = num_starts.cumsum(0)  # [episode]
        total = int(bounds[-1]) if len(bounds) else 0
        if total == 0:
            longest = int(self.episode_lengths(episodes).max()) if len(episodes) else 0
            raise ValueError(
                f"no episode holds a segment of {length} steps: there are {len(episodes)} "
                f"episodes to draw from and the longest has {longest} steps; "
                "choose shorter segments or collect longer episodes first"
            )
        flat = torch.randint(total, (number,), generator=generator, device=self.device)
        which = torch.searchsorted(bounds, flat, right=True)
        start = first[which] + flat - (bounds - num_starts)[which]
        return SegmentIndex(episodes[which], start, torch.full_like(start, length))

    def gather(self, index: SegmentIndex) -> Segments:
        """Read segments; the result has the shape of the index plus time, padded to the longest.

        Args:
            index: segments of any shape, in the buffer or kept by `retain`.

        Raises:
            ValueError: if a segment was overwritten and never retained, or was never there.
        """
        shape = index.shape
        flat = index.reshape(-1).to(self.device)
        horizon = int(flat.length.max()) if len(flat) else 1
        gone = self._episodes.is_gone(flat, self._oldest_row)
        if not bool(gone.any()):
            segments = self._read_windows(flat, horizon)
        else:
            segments = self._retained.read(flat, gone, horizon, self._read_windows)
        return Segments(
            segments.observations.reshape(*shape, horizon, -1),
            segments.actions.reshape(*shape, horizon, -1),
            segments.mask.reshape(*shape, horizon),
            segments.true_rewards.reshape(*shape, horizon),
        )

    def _read_windows(self, index: SegmentIndex, horizon: int) -> Segments:
        rows, env = self._episodes.locate(index)
        time = torch.arange(horizon, device=self.device)
        mask = time < index.length[:, None]  # [segment, time]
        place = (rows[:, None] + torch.where(mask, time, 0)) % self.num_rows
        env = env[:, None]
        keep = mask[..., None]
        return Segments(
            self._observations[place, env] * keep,
            self._actions[place, env] * keep,
            mask,
            self._true_rewards[place, env] * mask,
        )

    def retain(self, index: SegmentIndex) -> None:
        """Keep these segments readable for ever.

        They cost nothing but their index until the ring is about to overwrite them; then they are
        copied aside.
        """
        flat = index.reshape(-1).to(self.device)
        rows, _ = self._episodes.locate(flat)
        self._retained.add(flat, rows)

    def relabel(self, reward_function: RewardFunction, chunk_size: int = 16_384) -> None:
        """Replace the reward of every step in the buffer, in chunks on the device.

        Args:
            reward_function: maps observations `[n, obs]` and actions `[n, act]` to rewards `[n]`.
            chunk_size: steps per call; bounds the memory of the pass.
        """
        observations = self.all_observations()
        actions = self._actions[: self._filled].flatten(0, 1)
        rewards = self._rewards[: self._filled].view(-1)
        with torch.no_grad():
            for start in range(0, self.num_steps, chunk_size):
                chunk = slice(start, start + chunk_size)
                rewards[chunk] = reward_function(observations[chunk], actions[chunk])

    def all_observations(self) -> Float[Tensor, "step obs"]:
        """Return a view of every observation in the buffer, in storage order."""
        return self._observations[: self._filled].flatten(0, 1)

    def close_open_episodes(self) -> None:
        """Mark the episodes in progress as truncated, as after an interruption."""
        self._episodes.close_open(self._rows_written)

    def state_dict(self) -> dict[str, Any]:
        """Return everything, without the unused part of the ring."""
        filled = self._filled
        return {
            "rows_written": self._rows_written,
            "num_rows": self.num_rows,
            "num_envs": self.num_envs,
            "observations": self._observations[:filled],
            "actions": self._actions[:filled],
            "rewards": self._rewards[:filled],
            "true_rewards": self._true_rewards[:filled],
            "episode": self._episode[:filled],
            "episodes": self._episodes.state_dict(),
            "retained": self._retained.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if the state belongs to a buffer of another shape.
        """
        for name, mine in (
            ("num_rows", self.num_rows),
            ("num_envs", self.num_envs),
        ):
            if state[name] != mine:
                raise ValueError(f"the stored replay has {name} {state[name]}, this one {mine}")
        self._rows_written = int(state["rows_written"])
        filled = self._filled
        self._observations[:filled] = state["observations"]
        self._actions[:filled] = state["actions"]
        self._rewards[:filled] = state["rewards"]
        self._true_rewards[:filled] = state["true_rewards"]
        self._episode[:filled] = state["episode"]
        self._episodes.load_state_dict(state["episodes"])
        self._retained.load_state_dict(state["retained"])
