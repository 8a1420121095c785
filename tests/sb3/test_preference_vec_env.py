import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from pbrl.envs import EnvironmentFault
from pbrl.sb3 import GymnasiumVecEnv, PreferenceVecEnv
from tests.envs.conftest import LENGTHS, Clock, recorded_episodes
from tests.sb3.point import EPISODE_LENGTH, points


def dummy_clocks():
    return DummyVecEnv([lambda kind=kind: Clock(*kind) for kind in LENGTHS])


def monitored_clocks():
    return DummyVecEnv([lambda kind=kind: Monitor(Clock(*kind)) for kind in LENGTHS])


def gymnasium_clocks():
    constructors = [lambda kind=kind: Clock(*kind) for kind in LENGTHS]
    return SyncVectorEnv(constructors, autoreset_mode=AutoresetMode.SAME_STEP)


SOURCES = [dummy_clocks, monitored_clocks, gymnasium_clocks]


def drive(env, num_calls):
    """Step with actions 0, 1, 2, ... (modulo 10) and return what came of it."""
    env.reset()
    return [env.step(np.full((2, 1), number % 10, np.float32)) for number in range(num_calls)]


@pytest.mark.parametrize("source", SOURCES)
def test_episodes_are_recorded_whole_with_their_true_ends(source):
    env = PreferenceVecEnv(source(), capacity=100)
    drive(env, 16)
    expected = [(3, number) for number in range(5)] + [(5, number) for number in range(3)]
    assert sorted(recorded_episodes(env.replay)) == expected
    batch = env.replay.sample(1000, torch.Generator().manual_seed(0))
    assert (batch.next_observations[:, 1] - batch.observations[:, 1] == 1).all()
    # The episodes of three steps end in a terminal state, those of five by the time limit.
    assert set(batch.next_observations[batch.terminated.bool(), 1].tolist()) == {3.0}


@pytest.mark.parametrize("source", SOURCES)
def test_the_algorithm_gets_the_learned_reward_and_the_infos_the_true_one(source):
    env = PreferenceVecEnv(source(), capacity=100)
    env.step_rewards = lambda observations, actions, true: observations[:, 1] + actions[:, 0]
    results = drive(env, 6)
    for number, (_, rewards, _, infos) in enumerate(results):
        times = np.array([number % 3, number % 5])
        np.testing.assert_allclose(rewards, times + number / 5 - 1, atol=1e-6)
        assert [info["true_reward"] for info in infos] == [number, number]
    segments = env.replay.gather(
        env.replay.sample_segments(20, 3, torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close((segments.actions[..., 0] + 1) * 5, segments.true_rewards)
    batch = env.replay.sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch.rewards, batch.observations[:, 1] + batch.actions[:, 0])


@pytest.mark.parametrize("source", SOURCES)
def test_finished_episodes_report_their_true_return(source):
    env = PreferenceVecEnv(source(), capacity=100)
    episodes = [
        info["episode"] for *_, infos in drive(env, 6) for info in infos if "episode" in info
    ]
    assert [(episode["r"], episode["l"]) for episode in episodes] == [(3, 3), (10, 5), (12, 3)]
    assert env.progress.recent_return == (3 + 10 + 12) / 3
    assert env.progress.episode_length == 5
    env.reset()
    assert env.step(np.zeros((2, 1), np.float32))[3][0].keys() >= {"true_reward"}
    env.step(np.zeros((2, 1), np.float32))
    assert env.step(np.zeros((2, 1), np.float32))[3][0]["episode"]["r"] == 0  # a new count


def test_episode_length_is_the_time_limit_where_it_is_known():
    env = PreferenceVecEnv(points(), capacity=100)
    assert env.progress.episode_length == EPISODE_LENGTH


def test_rewards_belong_to_the_algorithm():
    env = PreferenceVecEnv(points(2), capacity=100)
    served = torch.zeros(2)
    env.step_rewards = lambda observations, actions, true: served
    env.reset()
    _, rewards, _, _ = env.step(np.zeros((2, 2), np.float32))
    rewards += 100.0  # PPO adds the value after a time limit in place
    assert served.tolist() == [0.0, 0.0]
    assert env.replay.sample(10, torch.Generator()).rewards.tolist() == [0.0] * 10


def test_a_reset_in_the_middle_truncates():
    env = PreferenceVecEnv(dummy_clocks(), capacity=100)
    drive(env, 2)
    env.reset()
    assert sorted(recorded_episodes(env.replay)) == [(2, 0), (2, 0)]
    assert not env.replay.sample(100, torch.Generator()).terminated.any()


def test_discrete_actions_are_one_hot():
    env = PreferenceVecEnv(make_vec_env("CartPole-v1", 2), capacity=100)
    env.reset()
    env.step(np.array([0, 1]))
    batch = env.replay.sample(50, torch.Generator())
    assert {tuple(row) for row in batch.actions.tolist()} == {(1.0, 0.0), (0.0, 1.0)}


def test_a_restored_environment_goes_on_counting():
    env, other = (PreferenceVecEnv(dummy_clocks(), capacity=100) for _ in range(2))
    drive(env, 7)
    other.load_state_dict(env.state_dict())
    assert other.progress == env.progress
    assert other.replay.num_steps == 14
    lengths = other.replay.episode_lengths(other.replay.completed_episodes())
    assert sorted(lengths.tolist()) == [1, 2, 3, 3, 5]  # those in progress were cut


class Faulty(Clock):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if self.time == 2 else reward, *rest


def test_what_is_not_finite_is_refused_with_its_place():
    env = PreferenceVecEnv(DummyVecEnv([lambda: Faulty(3, True)]), capacity=100)
    with pytest.raises(EnvironmentFault, match=r"sub-environment 0 .* nan in step 2"):
        env.reset(), [env.step(np.zeros((1, 1), np.float32)) for _ in range(2)]
    assert env.replay.num_steps == 1


class Space(Clock):
    def __init__(self, **changes):
        super().__init__(3, True)
        for name, value in changes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_space": gymnasium.spaces.Box(0, 1, (4, 4))}, "flat arrays"),
        ({"observation_space": gymnasium.spaces.Dict(a=Clock.observation_space)}, "Flatten"),
        ({"action_space": gymnasium.spaces.MultiBinary(3)}, "only continuous"),
        ({"action_space": gymnasium.spaces.Box(-np.inf, np.inf, (1,))}, "finite"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PreferenceVecEnv(DummyVecEnv([lambda: Space(**changes)]))


def test_a_vector_environment_of_gymnasium_is_adapted():
    assert isinstance(PreferenceVecEnv(gymnasium_clocks(), capacity=10).venv, GymnasiumVecEnv)
