"""The batched tasks are those of dm_control: in one step from equal states, and for many steps."""

import numpy as np
import pytest

import pbrl.envs
from pbrl.envs.mjx.tasks import EPISODE_STEPS, TASKS

TOLERANCE = 1e-4
NUM_WORLDS = 2
# Steps for which all worlds agree under random actions. Without contacts, and with the cheetah's
# soft ones, that is the whole episode; where feet strike the ground, the solver's last digits grow.
# Measured with six worlds: walker 203 to 308, hopper 380 and more, quadruped 59 to 189 steps.
AGREEING_STEPS = {
    "cartpole-swingup": 1000,
    "cheetah-run": 1000,
    "hopper-hop": 200,
    "hopper-stand": 200,
    "quadruped-run": 30,
    "quadruped-walk": 30,
    "reacher-easy": 1000,
    "reacher-hard": 100,
    "walker-run": 100,
    "walker-stand": 100,
    "walker-walk": 100,
}


def pair(task):
    """Return the suite's environments and the batched ones, both begun."""
    suite = pbrl.envs.make(f"dmc/{task}", NUM_WORLDS, backend="official", seed=3)
    batched = pbrl.envs.make(f"mjx/{task}", NUM_WORLDS, backend="rollout", num_threads=1)
    suite.reset()
    batched.reset()
    return suite, batched


def random_actions(env, count):
    random = np.random.default_rng(0)
    shape = (count, *env.action_space.shape)
    return random.uniform(-1, 1, shape).astype(np.float32)


def test_every_task_is_compared():
    assert AGREEING_STEPS.keys() == TASKS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_one_step_from_equal_states(task, copy_states):
    suite, batched = pair(task)
    for actions in random_actions(suite, 25):
        copy_states(suite, batched)
        theirs, their_rewards, *_ = suite.step(actions)
        ours, our_rewards, *_ = batched.step(actions)
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
        np.testing.assert_allclose(our_rewards, their_rewards, atol=TOLERANCE)


@pytest.mark.parametrize("task", TASKS)
def test_many_steps_with_equal_actions(task, copy_states):
    suite, batched = pair(task)
    copy_states(suite, batched)
    num_steps = AGREEING_STEPS[task]
    for actions in random_actions(suite, num_steps - 1):
        theirs, their_rewards, *_ = suite.step(actions)
        ours, our_rewards, *_ = batched.step(actions)
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
        np.testing.assert_allclose(our_rewards, their_rewards, atol=TOLERANCE)


@pytest.mark.parametrize("task", TASKS)
def test_spaces_and_times_are_the_suites(task):
    suite, batched = pair(task)
    environment = suite.lanes[0].env
    assert batched.single_observation_space == suite.single_observation_space
    assert batched.single_action_space == suite.single_action_space
    assert batched.env.task.num_substeps == environment._n_sub_steps
    assert environment._step_limit == EPISODE_STEPS == batched.record.max_episode_steps


@pytest.mark.parametrize("task", ["walker-run", "cheetah-run", "hopper-hop"])
def test_rewards_reach_high_speeds(task, copy_states):
    # Random actions never get far: give both a speed that counts.
    suite, batched = pair(task)
    for speed, lane in zip((0.5, 3.0), suite.lanes, strict=True):
        with lane.env.physics.reset_context():
            lane.env.physics.named.data.qpos["rootz"] += 0.5
            lane.env.physics.named.data.qvel["rootx"] = speed
    copy_states(suite, batched)
    actions = np.zeros(suite.action_space.shape, np.float32)
    _, theirs, *_ = suite.step(actions)
    _, ours, *_ = batched.step(actions)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    if task != "hopper-hop":  # it has to stand as well
        assert ours[0] < ours[1]


def test_rewards_of_a_quadruped_on_its_feet(copy_states):
    # Random beginnings lie on some side and hardly move.
    suite, batched = pair("quadruped-walk")
    for speed, lane in zip((0.2, 0.4), suite.lanes, strict=True):
        with lane.env.physics.reset_context():
            data = lane.env.physics.data
            data.qpos[2:7] = (0.6, 1, 0, 0, 0)
            data.qvel[0] = speed
    copy_states(suite, batched)
    actions = np.zeros(suite.action_space.shape, np.float32)
    theirs, their_rewards, *_ = suite.step(actions)
    ours, our_rewards, *_ = batched.step(actions)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    np.testing.assert_allclose(our_rewards, their_rewards, atol=TOLERANCE)
    assert 0.5 < our_rewards[0] < our_rewards[1] < 1
