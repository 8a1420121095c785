"""Recording the vector environments of stable-baselines3, whose interface is another."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from pbrl.envs.checks import check_action_space
from pbrl.envs.recording import EpisodeWriter, Step, flat, new_replay, unit_actions
from pbrl.replay import ReplayBuffer
from pbrl.segments import Segments


class RecordSegments(VecEnvWrapper):
    """Records every step that passes through a `VecEnv`; see `pbrl.envs.RecordSegments`.

    `SAC("MlpPolicy", RecordSegments(vec_env))` records what SAC does. Wrap it around the
    environment before `VecNormalize`, otherwise the recorded rewards are normalised ones.

    Args:
        venv: vector environment with arrays as observations and bounded continuous actions.
        replay: where the steps go; by default a new one for a million steps.

    Attributes:
        replay: the replay buffer.
    """

    def __init__(self, venv: VecEnv, replay: ReplayBuffer | None = None) -> None:
        super().__init__(venv)
        self._bounds = check_action_space(venv.action_space, str(venv))
        self.replay = (
            replay
            if replay is not None
            else new_replay(venv.observation_space, self._bounds, venv.num_envs)
        )
        self._writer = EpisodeWriter(self.replay, venv.num_envs)
        self._observations = torch.empty(0)
        self._actions = torch.empty(0)

    def reset(self) -> Any:
        """As `reset` of the environment; episodes in progress count as truncated."""
        self._writer.truncate(np.ones(self.num_envs, np.bool_))
        observations = self.venv.reset()
        self._observations = flat(observations, self.replay.device)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """As `step_async` of the environment."""
        self._actions = unit_actions(actions, self._bounds, self.replay.device)
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """As `step_wait` of the environment."""
        device = self.replay.device
        observations, rewards, dones, infos = self.venv.step_wait()
        following, is_cut = true_ends(observations, dones, infos)
        true_rewards = torch.as_tensor(rewards).to(device, torch.float32)
        step = Step(
            self._observations,
            self._actions,
            true_rewards,
            true_rewards,
            flat(following, device),
            torch.as_tensor(dones & ~is_cut).to(device),
            torch.as_tensor(is_cut).to(device),
        )
        self._writer.add(step, np.ones(self.num_envs, np.bool_))
        self._observations = flat(observations, device)
        return observations, rewards, dones, infos

    def segments(self, number: int, length: int, generator: torch.Generator) -> Segments:
        """Return segments of complete episodes, drawn uniformly over all windows."""
        return self.replay.gather(self.replay.sample_segments(number, length, generator))


def true_ends(
    observations: Any, dones: Bool[np.ndarray, " env"], infos: list[dict[str, Any]]
) -> tuple[np.ndarray, Bool[np.ndarray, " env"]]:
    """Return the true next observations of a step, and in which environments time was up.

    Args:
        observations: what the environment returned, after the reset of finished episodes.
        dones: which episodes have ended.
        infos: what else the environment returned.
    """
    following = np.array(observations)
    for index in np.flatnonzero(dones):
        following[index] = infos[index]["terminal_observation"]
    is_cut = np.array([info.get("TimeLimit.truncated", False) for info in infos], np.bool_)
    return following, is_cut & dones
