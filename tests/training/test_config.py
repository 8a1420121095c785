from dataclasses import replace

import pytest

from pbrl.training.config import EnvironmentConfig, TrainConfig


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"updates_per_step": 0.0},
        {"seed": -1},
        {"replay_capacity": 10},
        {"eval_episodes": 0},
    ],
)
def test_impossible_numbers_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        replace(TrainConfig(env="gym/Pendulum-v1"), **bad)


def test_there_is_at_least_one_environment():
    with pytest.raises(ValueError, match="num_envs"):
        EnvironmentConfig(num_envs=0)


def test_a_rollout_worker_has_at_least_one_environment():
    with pytest.raises(ValueError, match=r"workers must lie in \[0, num_envs 2\], got 3"):
        EnvironmentConfig(num_envs=2, workers=3)
