"""A point that is to stay at the origin of a square, and algorithms small enough for seconds."""

import gymnasium
import numpy as np
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise

from pbrl import envs
from pbrl.queries import SamplerConfig, ScheduleConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training.config import PreferenceConfig

EPISODE_LENGTH = 10


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.position, {}

    def step(self, action):
        self.position = np.clip(self.position + 0.4 * action, -1, 1).astype(np.float32)
        return self.position, -float(np.linalg.norm(self.position)), False, False, {}


def points(num_envs=1):
    return envs.make(Point, num_envs, max_episode_steps=EPISODE_LENGTH)


def preferences(*, first_step=40, interval=40, session_size=4, budget=8, passes=3, **changes):
    return PreferenceConfig(
        schedule=ScheduleConfig(
            budget=budget, session_size=session_size, first_step=first_step, interval=interval
        ),
        sampler=SamplerConfig(segment_length=5),
        reward=RewardConfig(hidden_sizes=(32, 32)),
        learning=RewardLearningConfig(learning_rate=3e-3, passes=passes),
        warm_up_updates=20,
        **changes,
    )


SMALL = {"gamma": 0.8, "learning_rate": 3e-3, "batch_size": 64, "seed": 0, "device": "cpu"}


def small_model(kind, env, **changes):
    sizes = {"policy_kwargs": {"net_arch": [32, 32]}}
    options = {
        PPO: {"n_steps": 32},
        SAC: {"ent_coef": 0.05, "tau": 0.05},
        TD3: {"tau": 0.05, "action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.5))},
    }[kind]
    return kind("MlpPolicy", env, **SMALL, **sizes, **options, **changes)
