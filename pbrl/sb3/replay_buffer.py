"""The replay buffer that off-policy algorithms of stable-baselines3 draw from."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from pbrl import replay as steps
from pbrl.replay import Batch

DrawBatch = Callable[[int], Batch]
"""Maps a batch size to transitions whose rewards are to be learned from."""


class RelabellingReplayBuffer(ReplayBuffer):
    """Serves the steps that a `PreferenceVecEnv` recorded, always with the present reward.

    It holds no data: the environment has recorded each step already, and `FeedbackCallback` says
    how to draw from its replay buffer. What the callback relabels is relabelled here. A time limit
    is never taken for a terminal state, and every observation is stored once.

    Pass the class, not an instance: `SAC("MlpPolicy", env,
    replay_buffer_class=RelabellingReplayBuffer)`. The callback saves and loads the steps; the
    model's `save` leaves them out as always.

    Args:
        buffer_size: steps kept; as large as the capacity of the environment's replay buffer.
        observation_space: of the environment.
        action_space: of the environment.
        device: where the algorithm learns.
        n_envs: number of environments.
        optimize_memory_usage: changes nothing.
        handle_timeout_termination: must be true.

    Raises:
        ValueError: if `handle_timeout_termination` is false.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        *,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
    ) -> None:
        if not handle_timeout_termination:
            raise ValueError(
                "handle_timeout_termination must be true: the end of the time limit is not a "
                "terminal state"
            )
        # Not the parent's: it would reserve arrays for the steps that the replay buffer has.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = True
        self._replay: steps.ReplayBuffer | None = None
        self._draw_batch: DrawBatch | None = None

    def bind(self, replay: steps.ReplayBuffer, capacity: int, draw_batch: DrawBatch) -> None:
        """Say where the transitions come from.

        Args:
            replay: where they lie.
            capacity: how many steps it keeps.
            draw_batch: draws from it.

        Raises:
            ValueError: if the capacity is not the `buffer_size`.
        """
        if capacity != self.buffer_size:
            raise ValueError(
                f"buffer_size is {self.buffer_size:,}, but the environment keeps {capacity:,} "
                f"steps: pass buffer_size={capacity} to the algorithm, or "
                f"capacity={self.buffer_size} to the environment"
            )
        self._replay, self._draw_batch = replay, draw_batch

    def size(self) -> int:
        """Return the number of rows, one step of every environment each."""
        return 0 if self._replay is None else self._replay.num_steps // self.n_envs

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store nothing: the environment has recorded this step.

        Raises:
            ValueError: if no `FeedbackCallback` has said where.
        """
        del obs, next_obs, action, reward, done, infos
        self._require_draw_batch()

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions; `dones` marks terminal states only.

        Args:
            batch_size: how many.
            env: normalises observations and rewards.
        """
        batch = self._require_draw_batch()(batch_size)
        actions = batch.actions
        if isinstance(self.action_space, spaces.Discrete):
            actions = actions.argmax(1, keepdim=True)
        rewards = batch.rewards[:, None]
        observations, next_observations = batch.observations, batch.next_observations
        if env is not None:
            observations, next_observations = (
                torch.as_tensor(env.normalize_obs(seen.cpu().numpy()))
                for seen in (observations, next_observations)
            )
            rewards = torch.as_tensor(env.normalize_reward(rewards.cpu().numpy()))
        fields = (observations, actions, next_observations, batch.terminated[:, None], rewards)
        return ReplayBufferSamples(*(self._move(field) for field in fields))

    def _move(self, field: Tensor) -> Tensor:
        dtype = torch.float32 if field.is_floating_point() else None
        return field.to(self.device, dtype)

    def _require_draw_batch(self) -> DrawBatch:
        if self._draw_batch is None:
            raise ValueError(
                "a RelabellingReplayBuffer needs learn(..., callback=FeedbackCallback(...)) with "
                "the environment that the model trains on"
            )
        return self._draw_batch

    def reset(self) -> NoReturn:
        """Refuse: the steps belong to the environment."""
        raise NotImplementedError("make a new PreferenceVecEnv to start from an empty buffer")

    def __getstate__(self) -> NoReturn:
        raise TypeError("save the replay buffer with FeedbackCallback.save, which also loads it")
