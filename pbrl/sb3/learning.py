"""Everything that a script needs to train on preferences, in one call."""

from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from pbrl import envs
from pbrl.envs.recording import DEFAULT_CAPACITY
from pbrl.queries.teachers import Teacher
from pbrl.sb3.callback import FeedbackCallback
from pbrl.sb3.preference_vec_env import PreferenceVecEnv
from pbrl.sb3.replay_buffer import RelabellingReplayBuffer
from pbrl.training.config import PreferenceConfig


class PreferenceLearning(NamedTuple):
    """What an algorithm of stable-baselines3 needs to learn from preferences.

    Attributes:
        env: to make it with.
        callback: for `learn`.
        off_policy: further arguments of algorithms with a replay buffer.
    """

    env: PreferenceVecEnv
    callback: FeedbackCallback
    off_policy: dict[str, Any]


def preference_learning(
    env: str | VectorEnv[Any, Any, Any] | VecEnv,
    config: PreferenceConfig,
    *,
    num_envs: int = 1,
    teacher: Teacher | None = None,
    seed: int = 0,
    explores: bool = False,
    capacity: int = DEFAULT_CAPACITY,
    device: torch.device | str = "cpu",
) -> PreferenceLearning:
    """Return environment, callback and, for off-policy algorithms, what else they need.

    Args:
        env: id for `pbrl.envs.make`, or a vector environment.
        config: everything between a query and the learned reward.
        num_envs: number of environments, where `env` is an id.
        teacher: answers instead of the configured simulated teacher.
        seed: of environments, queries and reward model; the algorithm has a seed of its own.
        explores: whether the algorithm learns from PEBBLE's intrinsic reward before the first
            session. Otherwise an off-policy one acts at random until then.
        capacity: steps that are kept.
        device: where the steps and the reward model live.
    """
    made = envs.make(env, num_envs, seed=seed) if isinstance(env, str) else env
    wrapped = PreferenceVecEnv(made, capacity=capacity, device=device)
    off_policy: dict[str, Any] = {
        "replay_buffer_class": RelabellingReplayBuffer,
        "buffer_size": capacity,
    }
    if not explores:
        off_policy["learning_starts"] = config.schedule.first_step
    callback = FeedbackCallback(wrapped, config, teacher=teacher, seed=seed, explores=explores)
    return PreferenceLearning(wrapped, callback, off_policy)
