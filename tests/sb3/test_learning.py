"""Algorithms of stable-baselines3 learn from preferences, and nothing from shuffled labels."""

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecMonitor

from pbrl import envs
from pbrl.sb3 import GymnasiumVecEnv, preference_learning
from pbrl.training.presets import make_config
from tests.sb3.point import points, preferences, small_model

NUM_EPISODES = 20


class RandomPolicy:
    def __init__(self, space):
        self.space = space
        self.rng = np.random.default_rng(0)

    def predict(self, observations, **_):
        shape = (len(observations), *self.space.shape)
        return self.rng.uniform(self.space.low, self.space.high, shape).astype(np.float32), None


def true_return(policy, env):
    evaluation = VecMonitor(GymnasiumVecEnv(env))
    evaluation.seed(1)
    return evaluate_policy(policy, evaluation, NUM_EPISODES)[0]


def point_score(kind, control):
    """Train for a few seconds on 60 labels and return the true return."""
    num_envs, first_step, interval = (4, 256, 512) if kind is PPO else (1, 300, 100)
    config = preferences(
        first_step=first_step,
        interval=interval,
        session_size=15,
        budget=60,
        passes=50,
        control=control,
    )
    env, callback, off_policy = preference_learning(points(num_envs), config)
    options = {PPO: {}, TD3: off_policy, SAC: {"train_freq": 2} | off_policy}[kind]
    model = small_model(kind, env, **options)
    model.learn({PPO: 2560, TD3: 1000, SAC: 800}[kind], callback=callback)
    assert callback.source.num_asked == 60
    return true_return(model, points(NUM_EPISODES))


@pytest.mark.many_updates
@pytest.mark.parametrize("kind", [SAC, TD3, PPO])
def test_it_learns_from_preferences_and_not_from_shuffled_labels(kind):
    at_random = true_return(RandomPolicy(points().single_action_space), points(NUM_EPISODES))
    learned, shuffled = (point_score(kind, control) for control in ("none", "shuffled-labels"))
    # Whoever goes straight to the middle loses less than 1; a corner costs 14.
    assert -9 < at_random < -7
    assert learned > 0.6 * at_random
    assert shuffled < 0.75 * at_random


def pendulum_score(kind, control):
    """Train on 100 labels and return the true return."""
    config = make_config("gym/Pendulum-v1", "pebble", control=control).preferences
    noise = {"action_noise": NormalActionNoise(np.zeros(1), np.full(1, 0.1))}
    env, callback, options = preference_learning("gym/Pendulum-v1", config)
    model = kind(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
        **({} if kind is SAC else noise),
        **options,
    )
    model.learn(12_000, callback=callback)
    return true_return(model, envs.make("gym/Pendulum-v1", NUM_EPISODES))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SAC, TD3])
def test_a_pendulum_is_swung_up_for_preferences(kind):
    # Random actions return about -1,300 and good ones -150.
    assert pendulum_score(kind, "none") > -400
    assert pendulum_score(kind, "shuffled-labels") < -700
