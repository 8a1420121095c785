import numpy as np
import pytest
from metaworld.policies import ENV_POLICY_MAP

from pbrl import envs

GOAL = slice(36, 39)


def make(env_id, num_envs=1, **options):
    return envs.make(env_id, num_envs, backend="official", **options)


@pytest.mark.parametrize("task", ["window-open-v3", "reach-v3"])
def test_the_scripted_policy_succeeds_and_success_does_not_end_the_episode(task):
    env = make(f"metaworld/{task}", goal_visible=True, seed=2)
    policy = ENV_POLICY_MAP[task]()
    observations, _ = env.reset()
    successes = []
    for _ in range(130):
        action = policy.get_action(observations[0].astype(np.float64))
        observations, rewards, terminated, truncated, infos = env.step(action[None])
        successes.append(bool(infos["success"][0]))
        assert 0.0 <= rewards[0] <= 10.0
        assert not terminated[0]
        assert not truncated[0]
    assert not successes[0]
    assert successes[-1]


def test_an_episode_is_truncated_after_500_steps():
    env = make("metaworld/reach-v3")
    env.reset()
    for number in range(1, 501):
        following, _, terminated, truncated, infos = env.step(np.full((1, 4), 0.2))
        assert bool(truncated[0]) is (number == 500)
        assert not terminated[0]
    last = envs.final_observations(following, infos)[0]
    assert not np.allclose(last[:3], following[0, :3])  # the hand is back
    assert "success" in infos["final_info"]


def test_the_goal_is_hidden_unless_asked_for():
    hidden, visible = make("metaworld/reach-v3"), make("metaworld/reach-v3", goal_visible=True)
    assert (hidden.record.goal_visible, visible.record.goal_visible) == (False, True)
    for env, is_seen in ((hidden, False), (visible, True)):
        observations, _ = env.reset()
        assert env.observation_space.contains(observations)
        assert bool(observations[0, GOAL].any()) is is_seen
        following = env.step(np.zeros((1, 4)))[0]
        assert bool(following[0, GOAL].any()) is is_seen
        assert env.observation_space.contains(following)


def test_the_goal_moves_at_every_reset_and_differs_between_environments():
    env = make("metaworld/reach-v3", 2, goal_visible=True)
    goals = np.concatenate([env.reset()[0][:, GOAL] for _ in range(3)])
    assert len(np.unique(goals, axis=0)) == 6


def test_goals_do_not_touch_the_global_generator():
    np.random.seed(0)  # noqa: NPY002  the global generator is what is tested
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make("metaworld/reach-v3").reset()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_shorter_and_longer_episodes():
    env = make("metaworld/reach-v3", max_episode_steps=3)
    env.reset()
    assert [bool(env.step(np.zeros((1, 4)))[3][0]) for _ in range(3)] == [False, False, True]
    assert make("metaworld/reach-v3", max_episode_steps=600).record.max_episode_steps == 600


def test_reward_versions_differ():
    rewards = []
    for version in ("v2", "v1"):
        env = make("metaworld/reach-v3", reward_version=version)
        env.reset()
        rewards.append(float(env.step(np.zeros((1, 4)))[1][0]))
    assert rewards[0] != rewards[1]
    with pytest.raises(ValueError, match=r"reward_version must be one of \('v2', 'v1'\), got 'v3'"):
        make("metaworld/reach-v3", reward_version="v3")


@pytest.mark.slow
@pytest.mark.parametrize("env_id", envs.list_ids("metaworld"))
def test_every_task_steps_and_restores_its_state(env_id):
    env, other = make(env_id, seed=1), make(env_id, seed=2)
    observations, _ = env.reset()
    other.reset()
    assert observations.shape == (1, 39)
    assert env.record.max_episode_steps == 500
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 1, 4))
    env.step(actions[0])
    other.set_state(0, env.get_state(0))
    for action in actions[1:]:
        expected, got = env.step(action), other.step(action)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])
