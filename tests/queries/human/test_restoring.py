import gymnasium
import numpy as np
import pytest

from pbrl.queries.human.restoring import HIDDEN_POSITIONS, Layout, num_hidden, restore


@pytest.mark.parametrize("task", HIDDEN_POSITIONS)
def test_the_simulator_is_brought_back(task):
    env = gymnasium.make(f"{task}-v5")
    simulator = env.unwrapped
    observation, _ = env.reset(seed=0)
    env.action_space.seed(0)
    observations, positions, velocities = [], [], []
    for _ in range(10):
        observations.append(observation)
        positions.append(simulator.data.qpos.copy())
        velocities.append(simulator.data.qvel.copy())
        observation, *_ = env.step(0.3 * env.action_space.sample())
    hidden = num_hidden(f"gym/{task}-v5")
    layout = Layout(
        num_positions=simulator.model.nq,
        num_velocities=simulator.model.nv,
        num_hidden=hidden,
        step_seconds=simulator.dt,
    )
    restored = list(restore(np.array(observations, np.float32), layout))
    for (qpos, qvel), true_qpos, true_qvel in zip(restored, positions, velocities, strict=True):
        np.testing.assert_allclose(qpos[hidden:], true_qpos[hidden:], atol=1e-5)
        np.testing.assert_allclose(*np.clip([qvel, true_qvel], -10, 10), atol=1e-5)
    # The way is the integral of the velocity: right but for the size of a step.
    way = np.array([qpos[:hidden] for qpos, _ in restored])
    true_way = np.array([qpos[:hidden] - positions[0][:hidden] for qpos in positions])
    speed = np.abs(np.array(velocities)[:, :hidden]).max(initial=0.0)
    assert np.abs(way - true_way).max(initial=0.0) <= 3 * simulator.dt * speed + 1e-6


def test_the_way_by_hand():
    layout = Layout(num_positions=2, num_velocities=2, num_hidden=1, step_seconds=0.5)
    observations = np.array([[7.0, 1.0, 0.0], [8.0, 2.0, 0.0], [9.0, 4.0, 0.0]])
    positions = [qpos.tolist() for qpos, _ in restore(observations, layout)]
    assert positions == [[0.0, 7.0], [0.5, 8.0], [1.5, 9.0]]


@pytest.mark.parametrize("env", ["dmc/walker-walk", "gym/Pendulum-v1", "metaworld/reach-v3"])
def test_other_observations_hold_no_state(env):
    assert num_hidden(env) is None


def test_short_observations_are_refused():
    layout = Layout(num_positions=6, num_velocities=6, num_hidden=1, step_seconds=0.1)
    with pytest.raises(ValueError, match="observations of 3 numbers cannot hold the state"):
        next(restore(np.zeros((2, 3)), layout))
