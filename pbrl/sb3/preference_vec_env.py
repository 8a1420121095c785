"""The vector environment that serves a learned reward and records what really happened."""

from collections import deque
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from pbrl.envs.checks import check_finite
from pbrl.envs.recording import DEFAULT_CAPACITY, flat
from pbrl.envs.sb3 import true_ends
from pbrl.replay import ReplayBuffer
from pbrl.sb3.gymnasium_vec_env import GymnasiumVecEnv
from pbrl.sb3.spaces import action_encoder, observation_size
from pbrl.training.collector import NUM_RECENT_EPISODES, StepRewards
from pbrl.training.reward_source import TrainingProgress


def no_reward(observations: Tensor, actions: Tensor, true_rewards: Tensor) -> Tensor:
    """Return zeros: nothing has been learned yet."""
    del observations, actions
    return torch.zeros_like(true_rewards)


class PreferenceVecEnv(VecEnvWrapper):
    """Gives an algorithm learned rewards instead of the environment's, and records every step.

    The algorithm's rewards come from `step_rewards`, which a `FeedbackCallback` sets. The true
    reward stays in the infos (`true_reward`), and so does the true return of a finished episode
    (`episode`, as `Monitor` writes it), from which stable-baselines3 logs `rollout/ep_rew_mean`.
    The replay buffer holds both rewards, the true last observation of each episode, and a time
    limit as truncation.

    Wrap this environment in `VecNormalize` if you want that, never the other way round: the reward
    model has to see the same observations throughout.

    Args:
        env: a vector environment of `pbrl.envs.make` or of stable-baselines3, with flat
            observations, and actions that are bounded and continuous, or discrete.
        capacity: steps that the replay buffer keeps.
        device: where the replay buffer and the reward model live.

    Attributes:
        replay: every step taken through this environment.
        capacity: as given.
        observation_dim, action_dim: sizes of an observation and of an action in it.
        step_rewards: maps observations, actions `[env, act]` in [-1, 1] and true rewards to the
            rewards served; zeros by default.
        recent_returns: true returns of the last ten episodes.

    Raises:
        ValueError: if the spaces do not fit.
    """

    def __init__(
        self,
        env: VecEnv | VectorEnv[Any, Any, Any],
        *,
        capacity: int = DEFAULT_CAPACITY,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(env if isinstance(env, VecEnv) else GymnasiumVecEnv(env))
        self.observation_dim = observation_size(self.observation_space)
        self.action_dim, self._encode_actions = action_encoder(self.action_space)
        self.capacity = capacity
        self.replay = ReplayBuffer(
            capacity,
            self.observation_dim,
            self.action_dim,
            num_envs=self.num_envs,
            device=device,
        )
        self.step_rewards: StepRewards = no_reward
        record = getattr(getattr(self.unwrapped, "env", None), "record", None)
        self._time_limit: int | None = getattr(record, "max_episode_steps", None)
        self._name = str(getattr(record, "id", None) or type(self.unwrapped).__name__)
        self._observations = torch.empty(0)
        self._actions = torch.empty(0)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self.recent_returns: deque[float] = deque(maxlen=NUM_RECENT_EPISODES)
        self.recent_lengths: deque[int] = deque(maxlen=NUM_RECENT_EPISODES)

    @property
    def progress(self) -> TrainingProgress:
        """What teachers scale their thresholds by.

        Where nothing says how long a full episode is, it is the longest of the last ten.
        """
        returns = self.recent_returns
        recent_return = sum(returns) / len(returns) if returns else 0.0
        length = self._time_limit or max(self.recent_lengths, default=1)
        return TrainingProgress(recent_return, length)

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; those in progress count as truncated."""
        self.replay.close_open_episodes()
        observations: np.ndarray = self.venv.reset()  # type: ignore[assignment]
        self._observations = flat(observations, self.replay.device)
        self._check(self._observations)
        self._returns[:] = 0.0
        self._lengths[:] = 0
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """As `step_async` of the environment."""
        self._actions = self._encode_actions(actions, self.replay.device)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """As `step_wait` of the environment, with the rewards of `step_rewards`.

        Raises:
            EnvironmentFault: if an observation or a reward is not finite.
        """
        observations, paid, dones, infos = self.venv.step_wait()
        device = self.replay.device
        following, is_cut = true_ends(observations, dones, infos)
        next_observations = flat(following, device)
        true_rewards = torch.as_tensor(paid).to(device, torch.float32)
        self._check(next_observations, true_rewards)
        rewards = self.step_rewards(self._observations, self._actions, true_rewards)
        self.replay.add(
            self._observations,
            self._actions,
            rewards,
            true_rewards,
            next_observations,
            torch.as_tensor(dones & ~is_cut).to(device),
            torch.as_tensor(is_cut).to(device),
        )
        self._observations = flat(observations, device)
        self._account(paid, dones, infos)
        # A copy of its own: on-policy algorithms add to the rewards they are given.
        return observations, np.array(rewards.cpu(), np.float32), dones, infos

    def _check(self, observations: Tensor, true_rewards: Tensor | None = None) -> None:
        step = self.replay.num_steps_added // self.num_envs + 1
        rewards = None if true_rewards is None else true_rewards.cpu().numpy()
        check_finite(self._name, step, observations.cpu().numpy(), rewards)

    def _account(self, paid: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        self._returns += paid
        self._lengths += 1
        for index, info in enumerate(infos):
            info["true_reward"] = float(paid[index])
            if dones[index]:
                true_return, length = float(self._returns[index]), int(self._lengths[index])
                info.setdefault("episode", {"r": true_return, "l": length})
                self.recent_returns.append(true_return)
                self.recent_lengths.append(length)
        self._returns[dones] = 0.0
        self._lengths[dones] = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the replay buffer and how the last episodes went, all but those in progress."""
        return {
            "replay": self.replay.state_dict(),
            "recent_returns": list(self.recent_returns),
            "recent_lengths": list(self.recent_lengths),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; open episodes become truncated ones.

        Raises:
            ValueError: if the replay buffer is of another size; nothing is restored then.
        """
        self.replay.load_state_dict(state["replay"])
        self.replay.close_open_episodes()
        self.recent_returns.extend(state["recent_returns"])
        self.recent_lengths.extend(state["recent_lengths"])
