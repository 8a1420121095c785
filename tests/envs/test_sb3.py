import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from pbrl.envs import EnvironmentFault
from pbrl.envs.sb3 import RecordSegments


@pytest.fixture
def env(clock_constructors):
    return RecordSegments(DummyVecEnv(clock_constructors))


def test_episodes_are_recorded_whole_with_their_true_ends(env, episodes_of):
    env.reset()
    for number in range(16):
        env.step(np.full((2, 1), number % 10, np.float32))
    expected = [(3, number) for number in range(5)] + [(5, number) for number in range(3)]
    assert sorted(episodes_of(env.replay)) == expected
    batch = env.replay.sample(1000, torch.Generator().manual_seed(0))
    assert (batch.next_observations[:, 1] - batch.observations[:, 1] == 1).all()
    terminated = batch.terminated.bool()
    assert terminated.any()
    assert bool((batch.observations[terminated, 1] == 2).all())


def test_a_reset_in_the_middle_truncates(env, episodes_of):
    env.reset()
    env.step(np.zeros((2, 1), np.float32))
    env.reset()
    assert episodes_of(env.replay) == [(1, 0), (1, 0)]


def test_an_algorithm_trains_through_it(env):
    PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(64)
    assert env.replay.num_steps == 64
    assert env.segments(4, 3, torch.Generator().manual_seed(0)).observations.shape == (4, 3, 2)


def test_what_is_not_finite_is_not_recorded(env):
    env.reset()
    env.step(np.zeros((2, 1), np.float32))
    with pytest.raises(EnvironmentFault, match="actions of environment 1 must be finite"):
        env.step(np.array([[0.0], [np.nan]], np.float32))
    assert env.replay.num_steps == 2
