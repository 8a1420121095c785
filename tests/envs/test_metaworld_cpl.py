import numpy as np
import pytest

from pbrl import envs
from pbrl.envs.metaworld_cpl import with_previous_hand, without_previous_hand

HAND, PREVIOUS_OBJECTS, GOAL = slice(0, 3), slice(18, 32), slice(32, 35)
TASKS = ["drawer-open-v3", "door-open-v3", "plate-slide-v3"]


def official(task, **options):
    """Return Meta-World's own protocol with the goal shown."""
    return envs.make(f"metaworld/{task}", backend="official", goal_visible=True, **options)


@pytest.mark.parametrize("task", TASKS)
def test_steps_are_those_of_the_official_task_without_the_previous_hand(task):
    env, plain = envs.make(f"metaworld/{task}-cpl", seed=3), official(task)
    env.reset()
    plain.reset()
    env.step(np.zeros((1, 4)))
    plain.set_state(0, env.get_state(0))
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1, 4))
    for action in actions:
        observed, reward, terminated, truncated, infos = env.step(action)
        full, ten_times, _, _, plain_infos = plain.step(action)
        expected = np.concatenate([full[0, :18], full[0, 22:39]])
        np.testing.assert_array_equal(observed[0], expected)
        np.testing.assert_allclose(reward, ten_times / 10, rtol=1e-6)
        assert infos["success"] == plain_infos["success"]
        assert not terminated[0]
        assert not truncated[0]


def test_the_first_goal_is_that_of_the_official_task_with_the_same_seed():
    observed, _ = envs.make("metaworld/plate-slide-v3-cpl", seed=5).reset()
    full, _ = official("plate-slide-v3", seed=5).reset()
    np.testing.assert_array_equal(observed[0, GOAL], full[0, 36:39])
    assert np.abs(observed[0, HAND] - full[0, :3]).max() > 0.01


def test_the_hand_starts_anywhere_within_reach():
    env = envs.make("metaworld/drawer-open-v3-cpl", 8, seed=0)
    hands = np.concatenate([env.reset()[0][:, HAND] for _ in range(4)])
    lane = env.lanes[0].env
    low, high = (np.asarray(bound) for bound in (lane.mocap_low, lane.mocap_high))
    assert (hands > low - 0.03).all()  # the arm settles within 3 cm of where it is sent
    assert (hands < high + 0.03).all()
    offset = hands - lane.hand_init_pos
    assert (np.abs(offset) < np.array([0.25, 0.15, 0.2]) + 0.03).all()
    assert (np.ptp(hands, axis=0) > [0.3, 0.2, 0.2]).all()


def test_the_first_observation_has_stood_still():
    observed, _ = envs.make("metaworld/sweep-into-v3-cpl", seed=1).reset()
    assert observed.shape == (1, 35)
    np.testing.assert_array_equal(observed[0, PREVIOUS_OBJECTS], observed[0, 4:18])


def test_the_time_limit_truncates_after_250_steps():
    env = envs.make("metaworld/reach-v3-cpl")
    env.reset()
    for number in range(1, 251):
        _, _, terminated, truncated, infos = env.step(np.zeros((1, 4)))
        assert (bool(truncated[0]), bool(terminated[0])) == (number == 250, False)
    assert "success" in infos["final_info"]
    assert env.record.max_episode_steps == 250
    assert env.record.goal_visible is True
    assert envs.make("metaworld/reach-v3-cpl", max_episode_steps=7).record.max_episode_steps == 7


def test_the_same_seed_gives_the_same_episode_whatever_ran_before():
    fresh, used = (envs.make("metaworld/door-open-v3-cpl") for _ in range(2))
    used.reset(seed=1)
    for _ in range(30):
        used.step(np.ones((1, 4)))
    for env in (fresh, used):
        env.first, _ = env.reset(seed=9)
        env.second = env.step(np.full((1, 4), 0.5))[0]
    np.testing.assert_array_equal(fresh.first, used.first)
    np.testing.assert_array_equal(fresh.second, used.second)


def test_the_layouts_convert_into_each_other():
    full = np.arange(39.0)
    short = without_previous_hand(full)
    assert short.tolist() == [*range(18), *range(22, 39)]
    back = with_previous_hand(short)
    assert back[18:22].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(np.delete(back, range(18, 22)), short)


def test_an_unknown_task_is_refused_and_envpool_has_no_such_protocol():
    with pytest.raises(ValueError, match="did you mean 'metaworld/drawer-open-v3'"):
        envs.make("metaworld/drawer-opn-v3-cpl")
    assert envs.make("metaworld/reach-v3-cpl", backend="auto").record.backend == "official"
