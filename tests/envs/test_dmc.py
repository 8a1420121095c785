import numpy as np
import pytest
from dm_control import suite

from pbrl import envs
from pbrl.envs.vector import lane_seeds


def make(env_id, num_envs=1, **options):
    return envs.make(env_id, num_envs, backend="official", **options)


def flatten(observation):
    return np.concatenate([np.ravel(value) for value in observation.values()]).astype(np.float32)


def test_steps_are_those_of_the_suite():
    env = make("dmc/walker-walk", seed=3)
    observations, _ = env.reset()
    (seed,) = lane_seeds(3, 1)
    plain = suite.load("walker", "walk", task_kwargs={"random": seed})
    assert list(plain.observation_spec()) == ["orientations", "height", "velocity"]
    np.testing.assert_array_equal(observations[0], flatten(plain.reset().observation))
    rng = np.random.default_rng(0)
    for _ in range(30):
        action = rng.uniform(-1, 1, (1, 6)).astype(np.float32)
        observations, rewards, *_ = env.step(action)
        step = plain.step(action[0])
        np.testing.assert_array_equal(observations[0], flatten(step.observation))
        assert rewards[0] == np.float32(step.reward)


def test_an_episode_is_truncated_after_1000_steps_with_its_true_last_observation():
    env = make("dmc/pendulum-swingup", seed=0)
    env.reset()
    plain = suite.load("pendulum", "swingup", task_kwargs={"random": lane_seeds(0, 1)[0]})
    plain.reset()
    for number in range(1, 1001):
        following, _, terminated, truncated, infos = env.step(np.full((1, 1), 0.3))
        step = plain.step(np.full(1, np.float32(0.3)))
        assert bool(truncated[0]) is (number == 1000) is step.last()
        assert not terminated[0]
    last = envs.final_observations(following, infos)[0]
    np.testing.assert_array_equal(last, flatten(step.observation))
    assert step.discount == 1.0
    assert not np.array_equal(following[0], last)


def test_discount_zero_terminates():
    env = make("dmc/lqr-lqr_2_1")
    env.reset()
    state = env.get_state(0)
    num_positions = 2
    physics = state["physics"].copy()
    physics[1 : 1 + 2 * num_positions] = 0.0  # after the time: all positions and velocities
    env.set_state(0, {**state, "physics": physics})
    _, _, terminated, truncated, _ = env.step(np.zeros((1, 1)))
    assert (terminated[0], truncated[0]) == (True, False)


def test_endless_tasks_are_truncated_and_unbounded_actions_taken_as_they_are():
    env = make("dmc/lqr-lqr_2_1", max_episode_steps=4)
    assert make("dmc/lqr-lqr_2_1").record.max_episode_steps == 1000
    observations, _ = env.reset()
    for _ in range(4):
        following, _, _, truncated, _ = env.step(np.ones((1, 1)))
        assert np.abs(following).max() < 10
    assert truncated[0]


def test_max_episode_steps_shortens_an_episode():
    env = make("dmc/walker-walk", max_episode_steps=5)
    env.reset()
    assert [bool(env.step(np.zeros((1, 6)))[3][0]) for _ in range(5)] == [False] * 4 + [True]


def test_task_kwargs_reach_the_task():
    env = make("dmc/walker-walk", task_kwargs={"time_limit": 0.25})
    assert env.record.max_episode_steps == 10
    assert env.record.options == {"task_kwargs": "{'time_limit': 0.25}"}


def test_a_diverged_simulation_is_a_fault_of_the_environment():
    env = make("dmc/cartpole-swingup")
    env.reset()
    state = env.get_state(0)
    physics = state["physics"].copy()
    physics[1] = np.nan
    env.set_state(0, {**state, "physics": physics})
    with pytest.raises(envs.EnvironmentFault, match="dmc/cartpole-swingup"):
        env.step(np.zeros((1, 1)))


@pytest.mark.parametrize("env_id", ["dmc/quadruped-escape", "dmc/ball_in_cup-catch"])
def test_tasks_with_quirks_can_be_run(env_id):
    env = make(env_id, 1, seed=1)
    observations, _ = env.reset()
    following = env.step(np.zeros(env.action_space.shape))[0]
    assert following.shape == observations.shape


@pytest.mark.slow
@pytest.mark.parametrize("env_id", envs.list_ids("dmc"))
def test_every_task_has_1000_steps_and_restores_its_state(env_id):
    env, other = make(env_id, seed=1), make(env_id, seed=2)
    assert env.record.max_episode_steps == 1000
    env.reset()
    other.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (8, *env.action_space.shape))
    env.step(actions[0])
    other.set_state(0, env.get_state(0))
    for action in actions[1:]:
        expected, got = env.step(action), other.step(action)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])
