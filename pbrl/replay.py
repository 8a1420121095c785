"""The replay buffer: steps of episodes on one device, with windows and relabelling."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from pbrl.batches import ONE_STEP, Batch, BatchSteps, Rollout
from pbrl.episodes import EpisodeTable
from pbrl.retained import RetainedSegments
from pbrl.ring import StepRing
from pbrl.segments import SegmentIndex, Segments
from pbrl.transitions import multistep_transitions, newest_steps, transitions
from pbrl.window_starts import WindowStarts

__all__ = ["Batch", "ReplayBuffer", "RewardFunction"]

BYTES_AT_ONCE = 2**28  # of stacked images, where steps are read in chunks
RewardFunction = Callable[[Tensor, Tensor], Tensor]


class ReplayBuffer:
    """Steps of many environments in one ring, every observation stored once.

    Row `p` of the ring holds one step of every environment. The next observation of a step is the
    observation in the next row, or, at the end of an episode, the episode's own last observation,
    which the episode table keeps. Every filled place is a valid transition, episodes may have any
    length, and once the ring wraps the oldest steps of an episode vanish one by one.

    Observations that are stacks of frames are stored frame by frame, each once, and stacked when
    they are read. Once the ring has wrapped, its oldest rows, one fewer than a stack has frames,
    only serve as the past of the next ones.

    Args:
        capacity: number of steps kept, rounded up to a whole number of rows.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        num_envs: how many environments write at once.
        device: where everything lives.
        observation_dtype: float32, or uint8 for flat images, which then take a quarter of the
            memory.
        num_frames: frames of which each observation is made, the newest last. At the beginning of
            an episode the first one stands for those before it.

    Raises:
        ValueError: if a size is not positive, the type another one, or observations cannot be
            such stacks.
    """

    def __init__(
        self,
        capacity: int,
        observation_dim: int,
        action_dim: int,
        *,
        num_envs: int = 1,
        device: torch.device | str = "cpu",
        observation_dtype: torch.dtype = torch.float32,
        num_frames: int = 1,
    ) -> None:
        sizes = {
            "capacity": capacity,
            "observation_dim": observation_dim,
            "action_dim": action_dim,
            "num_envs": num_envs,
            "num_frames": num_frames,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if observation_dtype not in (torch.float32, torch.uint8):
            raise ValueError(
                f"observation_dtype must be torch.float32 or torch.uint8, got {observation_dtype}"
            )
        if observation_dim % num_frames:
            raise ValueError(
                f"observation_dim must be a multiple of the {num_frames} frames of a stack, "
                f"got {observation_dim}"
            )
        self.device = torch.device(device)
        self._ring = StepRing(
            max(-(-capacity // num_envs), num_frames),
            num_envs,
            observation_dim=observation_dim,
            action_dim=action_dim,
            device=self.device,
            observation_dtype=observation_dtype,
            num_frames=num_frames,
        )
        self._episodes = EpisodeTable(
            num_envs, self._ring.frame_dim, device=self.device, observation_dtype=observation_dtype
        )
        self._retained = RetainedSegments(self.device)
        self._known_starts: tuple[tuple[int, bool], Tensor | None, WindowStarts] | None = None

    @classmethod
    def from_episodes(  # noqa: PLR0913  one field of a dataset each
        cls,
        *,
        observations: Real[Tensor, "step frame"],
        actions: Float[Tensor, "step act"],
        true_rewards: Float[Tensor, " step"],
        last_observations: Real[Tensor, "episode frame"],
        lengths: Int[Tensor, " episode"],
        terminated: Bool[Tensor, " episode"],
        rewards: Float[Tensor, " step"] | None = None,
        device: torch.device | str = "cpu",
        copy: bool = True,
        num_frames: int = 1,
    ) -> "ReplayBuffer":
        """Return a full buffer of complete episodes, as if they had been added step by step.

        Episodes get the identifiers 0, 1, ... in their order; one that did not terminate counts as
        truncated.

        Args:
            observations: what the agent saw in each step, one episode after the other; uint8 makes
                a buffer of images.
            actions: what it did, in [-1, 1].
            true_rewards: the environment's own reward.
            last_observations: what each episode ended with, after its last action.
            lengths: steps of each episode.
            terminated: whether each episode ended in a terminal state.
            rewards: reward to learn from; by default zeros until `relabel`, so that no learner
                sees the true reward by oversight.
            device: where everything lives.
            copy: whether to copy the steps. Without, tensors that need no conversion become part of
                the buffer, which takes half the memory; nobody else may use them then.
            num_frames: how many of the frames given are one observation, see `ReplayBuffer`.

        Raises:
            ValueError: if a value is not finite, an episode is empty, or the lengths do not add up
                to the number of steps.
        """
        num_steps = len(observations)
        if int(lengths.sum()) != num_steps:
            raise ValueError(
                f"the lengths of the {len(lengths)} episodes add up to {int(lengths.sum())} steps, "
                f"but {num_steps} observations were given"
            )
        if num_steps == 0:
            raise ValueError("there must be at least one step, got none")
        is_image = observations.dtype == torch.uint8
        buffer = cls(
            1,
            observations.shape[1] * num_frames,
            actions.shape[1],
            device=device,
            observation_dtype=torch.uint8 if is_image else torch.float32,
            num_frames=num_frames,
        )
        lengths = lengths.to(buffer.device, torch.int64)
        buffer._episodes.fill(lengths, terminated, last_observations)
        ids = torch.arange(len(lengths), dtype=torch.int32, device=buffer.device)
        buffer._ring.fill(
            copy=copy,
            observations=observations,
            actions=actions,
            rewards=torch.zeros_like(true_rewards) if rewards is None else rewards,
            true_rewards=true_rewards,
            episode=ids.repeat_interleave(lengths),
        )
        return buffer

    @property
    def observation_dim(self) -> int:
        """Size of an observation, with all its frames."""
        return self._ring.frame_dim * self._ring.num_frames

    @property
    def num_envs(self) -> int:
        """How many environments write at once."""
        return self._ring.num_envs

    @property
    def num_steps(self) -> int:
        """Number of steps in the buffer."""
        return self._ring.num_steps

    @property
    def open_episodes(self) -> Int[Tensor, " env"]:
        """Identifier of the episode in progress of each environment."""
        return self._episodes.open_ids

    @property
    def num_steps_added(self) -> int:
        """Number of steps ever added, those overwritten included."""
        return self._ring.rows_written * self.num_envs

    def add(  # noqa: PLR0913  one field of a transition each
        self,
        observations: Real[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        rewards: Float[Tensor, " env"],
        true_rewards: Float[Tensor, " env"],
        next_observations: Real[Tensor, "env obs"],
        terminated: Bool[Tensor, " env"],
        truncated: Bool[Tensor, " env"],
        *,
        may_end: bool = True,
    ) -> None:
        """Append one step of every environment.

        Args:
            observations: what the agent saw; within an episode the next observations of the step
                before, which are stored only once.
            actions: what it did, in [-1, 1].
            rewards: reward to learn from; `relabel` replaces it.
            true_rewards: the environment's own reward.
            next_observations: what came of it; at the end of an episode the true last observation,
                never the one after the reset.
            terminated: the episode ended in a terminal state.
            truncated: the episode was cut off, for instance by the time limit; where it terminated
                in the same step, it counts as terminated.
            may_end: False where it is known that no episode ended, which is then not waited for.

        Raises:
            ValueError: if a shape does not fit the buffer; nothing is added then.
        """
        ring, self._known_starts = self._ring, None
        ring.check_row(
            {
                "observations": observations,
                "actions": actions,
                "rewards": rewards,
                "true_rewards": true_rewards,
                "next_observations": next_observations,
                "terminated": terminated,
                "truncated": truncated,
            }
        )
        if ring.rows_written >= ring.num_rows:
            self._retained.rescue(ring.leaving_row, ring.num_rows, self._read_windows)
        ring.append(observations, actions, rewards, true_rewards, self._episodes.open_ids)
        last_frames = ring.newest_frames(next_observations)
        self._episodes.extend(
            last_frames, terminated, truncated, ring.rows_written, may_end=may_end
        )
        if self._episodes.is_full:
            self._episodes.make_room(ring.oldest_row)

    def sample(  # noqa: PLR0913  keyword-only
        self,
        batch_size: int,
        generator: torch.Generator,
        episodes: Int[Tensor, " episode"] | None = None,
        *,
        last_steps: bool = True,
        steps: BatchSteps = ONE_STEP,
    ) -> Batch:
        """Draw transitions uniformly with replacement.

        Args:
            batch_size: how many.
            generator: source of randomness, on the buffer's device.
            episodes: draw only from these episodes, uniformly over their steps in the buffer;
                those overwritten meanwhile are passed over.
            last_steps: also draw the last step of an episode; False where what came of it is
                unknown, and then only complete episodes are drawn from.
            steps: how far transitions reach. Those of several steps are a `MultiStepBatch`; the n
                steps of their reward lie in one episode, complete or not. The code of DrQ-v2
                (Yarats et al. 2022) draws from complete ones alone.

        Raises:
            ValueError: if there is nothing to draw from.
        """
        ring = self._ring
        if self.num_steps == 0:
            raise ValueError("cannot sample from an empty replay buffer")
        if episodes is None and last_steps and steps.length == 1:
            return transitions(ring, self._episodes, ring.draw(batch_size, generator))
        length = steps.num_rewards + (not last_steps)  # a window with a step to spare
        starts = self._starts(length, episodes, complete=not last_steps)
        index = starts.draw(batch_size, generator)
        if steps.length == 1:
            place = ring.place(*self._episodes.locate(index))
            return transitions(ring, self._episodes, place)
        return multistep_transitions(ring, self._episodes, index, steps, last_steps=last_steps)

    def newest(self, num_steps: int) -> Rollout:
        """Return the newest steps of every environment, in the order in which they were taken.

        Args:
            num_steps: of every environment.

        Raises:
            ValueError: if the buffer holds fewer.
        """
        num_held = self._ring.rows_written - self._ring.oldest_row
        if not 1 <= num_steps <= num_held:
            raise ValueError(
                f"num_steps must lie in [1, {num_held}], the steps of every environment in the "
                f"buffer, got {num_steps}"
            )
        return newest_steps(self._ring, self._episodes, num_steps)

    def completed_episodes(self, last: int | None = None) -> Int[Tensor, " episode"]:
        """Return the ids of complete episodes with steps in the buffer, oldest completion first.

        Args:
            last: only this many, the most recently completed ones.
        """
        ids = self._episodes.completed_ids(self._ring.oldest_row)
        return ids if last is None else ids[max(0, len(ids) - last) :]

    def episode_lengths(self, episodes: Int[Tensor, " episode"]) -> Int[Tensor, " episode"]:
        """Return the number of steps of each episode, those overwritten included.

        Raises:
            ValueError: if an episode is not in the buffer.
        """
        return self._episodes.lengths(episodes)

    def have_terminated(self, episodes: Int[Tensor, " episode"]) -> Bool[Tensor, " episode"]:
        """Return which of these episodes, all in the buffer, ended in a terminal state."""
        return self._episodes.terminated(episodes)

    def sample_segments(
        self,
        number: int,
        length: int,
        generator: torch.Generator,
        episodes: Int[Tensor, " episode"] | None = None,
    ) -> SegmentIndex:
        """Draw segments uniformly over all windows of `length` steps inside one episode.

        Only complete episodes are drawn from; every step of an episode can be in a segment, and of
        a partly overwritten one every step that is left.

        Args:
            number: how many segments, drawn with replacement.
            length: steps of each segment.
            generator: source of randomness, on the buffer's device.
            episodes: draw only from these complete episodes; by default from all.

        Raises:
            ValueError: if no episode has `length` steps in the buffer, naming the longest.
        """
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if episodes is None:
            episodes = self.completed_episodes()
        starts = self._episodes.window_starts(episodes, length, self._ring.oldest_row)
        return starts.draw(number, generator)

    def longest_segment(self) -> int:
        """Return the length of the longest segment that can be drawn; 0 if there is none."""
        return self._episodes.longest_window(self.completed_episodes(), self._ring.oldest_row)

    def _starts(
        self, length: int, episodes: Int[Tensor, " episode"] | None, *, complete: bool
    ) -> WindowStarts:
        """Return where windows begin; asked again while no step is added, it waits for nothing.

        Args:
            length: steps of a window.
            episodes: that they lie in; None takes all.
            complete: of all, only the complete ones.
        """
        known, asked = self._known_starts, (length, complete)
        if known is None or known[0] != asked or known[1] is not episodes:
            ids = episodes
            if ids is None:
                ids = self.completed_episodes() if complete else self._episodes.ids()
            found = self._episodes.window_starts(ids, length, self._ring.oldest_row)
            self._known_starts = known = (asked, episodes, found)
        return known[2]

    def gather(self, index: SegmentIndex) -> Segments:
        """Read segments; the result has the shape of the index plus time, padded to the longest.

        Args:
            index: segments of any shape, in the buffer or kept by `retain`.

        Raises:
            ValueError: if a segment was overwritten and never retained, or was never there.
        """
        flat = index.reshape(-1).to(self.device)
        horizon = int(flat.length.max()) if len(flat) else 1
        gone = self._episodes.is_gone(flat, self._ring.oldest_row)
        if bool(gone.any()):
            segments = self._retained.read(flat, gone, horizon, self._read_windows)
        else:
            segments = self._read_windows(flat, horizon)
        return segments.reshape(*index.shape)

    def holds(self, index: SegmentIndex) -> bool:
        """Return whether all these segments lie in the buffer, none only kept by `retain`."""
        flat = index.reshape(-1).to(self.device)
        return not bool(self._episodes.is_gone(flat, self._ring.oldest_row).any())

    def read(self, index: SegmentIndex, length: int) -> Segments:
        """Read segments of one length that the buffer is known to hold, without waiting for it.

        Args:
            index: segments of any shape, see `holds`.
            length: steps of each of them.
        """
        flat = index.reshape(-1).to(self.device)
        mask = torch.ones(len(flat), length, dtype=torch.bool, device=self.device)
        rows, envs = self._episodes.locate(flat)
        return self._ring.read_windows(rows, envs, mask, is_whole=True).reshape(*index.shape)

    def _read_windows(self, index: SegmentIndex, horizon: int) -> Segments:
        mask = torch.arange(horizon, device=self.device) < index.length[:, None]
        return self._ring.read_windows(*self._episodes.locate(index), mask)

    def retain(self, index: SegmentIndex) -> None:
        """Keep these segments readable for ever.

        They cost nothing but their index until the ring is about to overwrite them; then they are
        copied aside. To retain a segment again changes nothing.

        Raises:
            ValueError: if a segment can be read no more, or was never there; none is retained then.
        """
        flat = index.reshape(-1).to(self.device)
        gone = self._episodes.is_gone(flat, self._ring.oldest_row)
        self._retained.require(flat[gone])
        held = flat[~gone]
        rows, _ = self._episodes.locate(held)
        self._retained.add(held, rows)

    def relabel(self, reward_function: RewardFunction, chunk_size: int = 16_384) -> None:
        """Replace the reward of every step in the buffer, in chunks on the device.

        Args:
            reward_function: maps observations `[n, obs]` and actions `[n, act]` to rewards `[n]`.
            chunk_size: steps per call; bounds the memory of the pass.

        Raises:
            ValueError: if `chunk_size` is not positive or the function returns another shape.
        """
        if chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        ring = self._ring
        if ring.num_frames > 1:
            chunk_size = min(chunk_size, max(1, BYTES_AT_ONCE // self.observation_dim))
        with torch.no_grad():
            for start in range(0, self.num_steps, chunk_size):
                chunk = slice(start, min(start + chunk_size, self.num_steps))
                rewards = reward_function(self._observations(chunk), ring.actions[chunk])
                if rewards.shape != ring.rewards[chunk].shape:
                    raise ValueError(
                        "the reward function must return one reward per step, shape "
                        f"{tuple(ring.rewards[chunk].shape)}, got {tuple(rewards.shape)}"
                    )
                ring.rewards[chunk] = rewards

    def _observations(self, places: slice) -> Real[Tensor, "step obs"]:
        ring = self._ring
        if ring.num_frames == 1:
            return ring.observations[places]  # a view
        return ring.stacks(torch.arange(places.start, places.stop, device=self.device))

    def all_observations(self) -> Real[Tensor, "step frame"]:
        """Return a view of every observation, of stacks the newest frames, in storage order."""
        return self._ring.observations[: self.num_steps]

    def all_actions(self) -> Float[Tensor, "step act"]:
        """Return a view of the action of every step, in storage order."""
        return self._ring.actions[: self.num_steps]

    def all_rewards(self) -> Float[Tensor, " step"]:
        """Return a view of the reward to learn from of every step, in storage order."""
        return self._ring.rewards[: self.num_steps]

    def with_own_rewards(self) -> "ReplayBuffer":
        """Return a buffer that shares everything but the rewards to learn from.

        For several learners on the complete episodes of one dataset; steps are added to neither.
        """
        made = copy.copy(self)
        made._ring = copy.copy(self._ring)
        made._ring.rewards = self._ring.rewards.clone()
        return made

    def all_true_rewards(self) -> Float[Tensor, " step"]:
        """Return a view of the environment's reward of every step, in storage order."""
        return self._ring.true_rewards[: self.num_steps]

    def all_episodes(self) -> Int[Tensor, " step"]:
        """Return a view of the episode of every step, in storage order."""
        return self._ring.episode[: self.num_steps]

    def close_open_episodes(self) -> None:
        """Mark the episodes in progress as truncated, as after an interruption."""
        self._known_starts = None
        self._episodes.close_open(self._ring.rows_written)

    def state_dict(self) -> dict[str, Any]:
        """Return everything, without the unused part of the ring.

        The tensors are views, which change when steps are added or relabelled.
        """
        return {
            "ring": self._ring.state_dict(),
            "episodes": self._episodes.state_dict(),
            "retained": self._retained.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, to a buffer of the same sizes.

        Raises:
            ValueError: if the state belongs to a buffer of another shape; nothing is restored then.
        """
        self._known_starts = None
        self._ring.load_state_dict(state["ring"])
        self._episodes.load_state_dict(state["episodes"])
        self._retained.load_state_dict(state["retained"])
