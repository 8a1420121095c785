import gymnasium
import numpy as np
import pytest

from pbrl.agents.sac import SACConfig
from pbrl.queries.samplers import SamplerConfig
from pbrl.queries.schedules import ScheduleConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training.config import PreferenceConfig, TrainConfig

EPISODE_STEPS = 20


class Follow(gymnasium.Env):
    """The reward of a step is how near the action comes to the first observation."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    faulty_at: int | None = None
    num_steps = 0

    def _observe(self):
        self.target = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.target

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        reward = 1.0 - abs(float(action[0]) - float(self.target[0]))
        Follow.num_steps += 1
        if Follow.faulty_at is not None and Follow.num_steps == Follow.faulty_at:
            reward = float("nan")
        return self._observe(), reward, False, False, {}


gymnasium.register("Follow-v0", entry_point=Follow, max_episode_steps=EPISODE_STEPS)


@pytest.fixture
def tiny_config():
    """A run of a few seconds in which learning shows."""
    return TrainConfig(
        env="gym/Follow-v0",
        agent="pebble",
        steps=800,
        seed_steps=50,
        batch_size=64,
        sac=SACConfig(
            hidden_sizes=(32, 32), actor_lr=3e-3, critic_lr=3e-3, temperature_lr=3e-3, discount=0.0
        ),
        preferences=PreferenceConfig(
            schedule=ScheduleConfig(
                budget=60, session_size=20, first_step=100, interval=100, total_steps=800
            ),
            sampler=SamplerConfig(segment_length=5),
            reward=RewardConfig(num_members=2, hidden_sizes=(32, 32)),
            learning=RewardLearningConfig(
                learning_rate=3e-3, batch_size=32, passes=100, target_accuracy=0.99
            ),
            warm_up_updates=10,
        ),
        eval_every=200,
        eval_episodes=5,
        checkpoint_every=300,
        log_every=100,
    )
